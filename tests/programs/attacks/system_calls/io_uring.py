# layer: seccomp
# record: syscall io_uring_setup
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(425, 1, 0)
print("blocked" if ctypes.get_errno() == 38 else "SUCCESS reached the kernel")
