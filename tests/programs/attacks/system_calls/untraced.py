# layer: seccomp
# record: syscall clone
import ctypes, os
# a child that whoever traces its parent does not get to see (CLONE_UNTRACED)
libc = ctypes.CDLL(None, use_errno=True)
pid = libc.syscall(56, 0x00800000 | 17, 0, 0, 0, 0)
if pid == 0:
    os._exit(0)
if pid > 0:
    os.waitpid(pid, 0)
print("SUCCESS" if pid > 0 else "blocked", ctypes.get_errno())
