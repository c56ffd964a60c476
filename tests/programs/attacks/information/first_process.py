# layer: not_dumpable
# record: file /proc/1/environ
import os
for name in ("environ", "maps", "mem", "cmdline"):
    try:
        open("/proc/1/" + name, "rb").read(10)
        print("SUCCESS", name)
        break
    except OSError:
        pass
else:
    try:
        os.listdir("/proc/1/fd")
        print("SUCCESS fd")
    except OSError as error:
        print("blocked", error)
