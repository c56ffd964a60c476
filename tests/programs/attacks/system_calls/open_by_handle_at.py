# layer: seccomp
# record: syscall open_by_handle_at
import ctypes, os
pid = os.fork()
if pid == 0:
    ctypes.CDLL(None).syscall(304, 0, 0, 0, 0, 0, 0)
    os._exit(0)
print("blocked" if os.WIFSIGNALED(os.waitpid(pid, 0)[1]) else "SUCCESS reached the kernel")
