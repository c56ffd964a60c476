# layer: seccomp
# record: syscall inotify_init1
# beside: listen.py
# what is counted per user is counted for the runner's user, and so for every other run
import ctypes
libc, taken = ctypes.CDLL(None), 0
while taken < 20 and libc.inotify_init1(0) >= 0:
    taken += 1
print("SUCCESS" if taken == 20 else "blocked", taken)
