# layer: closed_descriptors
# record: unobserved unreadable
# success: exit
import os, sys
for fd in map(int, os.listdir("/proc/self/fd")):
    if fd < 3:
        continue
    try:
        os.write(fd, b"exit 0 1 1 1\nempty 0\n")
    except OSError:
        pass
print("blocked")
sys.stdout.flush()
os._exit(9)
