# layer: pid_namespace
# record: none
# why: a signal to a process that is not there is an error like any other: the kernel tells nobody
import os
others = 0
for pid in range(2, 40000):
    if pid not in (os.getpid(), os.getppid()):
        try:
            os.kill(pid, 0)
            others += 1
        except PermissionError:
            others += 1
        except ProcessLookupError:
            pass
print("SUCCESS" if others else "blocked", others)
