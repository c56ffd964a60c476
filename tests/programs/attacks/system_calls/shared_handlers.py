# layer: seccomp
# record: syscall clone
# a process that shares how signals are taken with another could change what a trace has just seen of that one
import ctypes
CLONE_VM, CLONE_SIGHAND, SIGCHLD = 0x100, 0x800, 17
libc = ctypes.CDLL(None, use_errno=True)
libc.clone.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
stack = ctypes.create_string_buffer(65536)
child = libc.clone(ctypes.cast(libc._exit, ctypes.c_void_p), ctypes.addressof(stack) + 65536 - 64, CLONE_VM | CLONE_SIGHAND | SIGCHLD, None)
if child > 0:
    libc.waitpid(child, None, 0)
print("SUCCESS" if child > 0 else "blocked", child, ctypes.get_errno())
