# layer: log_pipe
# record: stderr Couldn't launch
# success: log
import os, sys
line = "[I][2026-11-23T00:00:00+0000] pid=1 ([STANDALONE MODE]) exited with status: 0, (PIDs left: 0)\n[F][2026-11-23T00:00:00+0000][1] main():1 Couldn't launch\n"
sys.stderr.write(line)
for fd in map(int, os.listdir("/proc/self/fd")):
    if fd < 3:
        continue
    try:
        os.write(fd, line.encode())
    except OSError:
        pass
print("blocked")
sys.stdout.flush()
os._exit(7)
