# layer: rlimits
# record: none
# why: the kernel tells nobody that a process has as many open files as it may
import os
try:
    for _ in range(1000):
        os.dup(0)
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
