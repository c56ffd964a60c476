# layer: mounts
# record: file /dev/kmsg
import os
found = sorted(set(os.listdir("/dev")) - {"null", "zero", "urandom", "shm"})
try:
    os.stat("/dev/kmsg")
    found.append("kmsg")
except OSError:
    pass
try:
    open("/dev/kmsg").close()
except OSError:
    pass
print("SUCCESS" if found else "blocked")
