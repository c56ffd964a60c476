# layer: pid_namespace
# record: syscall kill
import os, time
first = os.getppid()
for number in (15, 2, 11, 6, 19, 9):
    try:
        os.kill(first, number)
    except OSError:
        pass
for _ in range(50):
    if os.getppid() != first:
        break
    time.sleep(0.01)
print("blocked" if os.getppid() == first else "SUCCESS", flush=True)
