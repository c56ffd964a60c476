# layer: processes
# record: limit processes
import os, time
count = 0
try:
    while count < 60:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        count += 1
except BlockingIOError:
    print("blocked", count)
    raise
print("SUCCESS", count)
