# layer: seccomp
# record: syscall perf_event_open
import ctypes, os
pid = os.fork()
if pid == 0:
    ctypes.CDLL(None).syscall(298, 0, 0, 0, 0, 0, 0)
    os._exit(0)
print("blocked" if os.WIFSIGNALED(os.waitpid(pid, 0)[1]) else "SUCCESS reached the kernel")
