# layer: seccomp
# record: syscall unshare
import ctypes
print("SUCCESS" if ctypes.CDLL(None).unshare(0x10000000) == 0 else "blocked")
