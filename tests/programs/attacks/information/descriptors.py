# layer: closed_descriptors
# record: file /proc/self/fd
import os, stat
extra = []
for name in os.listdir("/proc/self/fd"):
    fd = int(name)
    try:
        kind = os.fstat(fd).st_mode
    except OSError:
        continue
    # 0 to 2, the listing itself, and the one pipe for observations, which can only be written
    if fd > 2 and not stat.S_ISFIFO(kind):
        extra.append(name)
    if fd > 2 and stat.S_ISFIFO(kind):
        try:
            os.set_blocking(fd, False)
            os.read(fd, 1)
            extra.append(name)
        except BlockingIOError:
            extra.append(name)
        except OSError:
            pass
print("SUCCESS " + ",".join(extra) if extra else "blocked")
