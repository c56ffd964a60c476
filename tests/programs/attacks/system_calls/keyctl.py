# layer: seccomp
# record: syscall keyctl
import ctypes, os
pid = os.fork()
if pid == 0:
    ctypes.CDLL(None).syscall(250, 0, 0, 0, 0, 0, 0)
    os._exit(0)
print("blocked" if os.WIFSIGNALED(os.waitpid(pid, 0)[1]) else "SUCCESS reached the kernel")
