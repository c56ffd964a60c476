# layer: seccomp
# record: syscall mount
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
pid = os.fork()
if pid == 0:
    libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)
    os._exit(0 if ctypes.get_errno() == 1 else 3)
status = os.waitpid(pid, 0)[1]
# without the filter the call is reached: the kernel alone refuses it, for the lack of capabilities
print("blocked" if os.WIFSIGNALED(status) else "SUCCESS")
