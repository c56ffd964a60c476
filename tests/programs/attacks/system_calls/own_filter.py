# layer: seccomp
# record: syscall prctl
# a filter of the program's own could answer before ours, so that what it tries is not on record
import ctypes, struct
PR_SET_SECCOMP, FILTER, ALLOW = 22, 2, 0x7FFF0000
libc = ctypes.CDLL(None, use_errno=True)
rules = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, ALLOW))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(rules)))
print("SUCCESS" if libc.prctl(PR_SET_SECCOMP, FILTER, program, 0, 0) == 0 else "blocked", ctypes.get_errno())
