# layer: seccomp
# record: syscall mmap
import mmap
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
