# layer: seccomp
# record: syscall arch
import ctypes, mmap, os
# getpid by `int 0x80`, which asks through the 32-bit table
code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
with open("/tmp/code", "wb") as file:
    file.write(code.ljust(4096, b"\x90"))
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
page.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
if ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_EXEC) != 0:
    print("blocked")
    raise SystemExit
pid = os.fork()
if pid == 0:
    ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    os._exit(0)
print("blocked" if os.WIFSIGNALED(os.waitpid(pid, 0)[1]) else "SUCCESS")
