# layer: rlimits
# record: none
import os
try:
    for _ in range(1000):
        os.dup(0)
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
