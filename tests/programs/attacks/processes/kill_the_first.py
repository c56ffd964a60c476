# layer: none
# record: none
import os, signal, time
for number in range(1, 65):
    try:
        os.kill(1, number)
    except (OSError, ValueError):
        pass
time.sleep(0.1)
try:
    os.kill(1, 0)
    print("blocked")
except ProcessLookupError:
    print("SUCCESS")
