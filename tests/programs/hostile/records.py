import os
for fd in map(int, os.listdir("/proc/self/fd")):
    if fd < 3:
        continue
    try:
        os.write(fd, b"1\x1f999999999999999\x1fegress\x1fx\x1finvented.example\x1f1\n" + b"\xff" * 5000 + b"\n" + b"garbage\n" * 100)
    except OSError:
        pass
