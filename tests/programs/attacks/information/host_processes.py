# layer: none
# record: none
import os
own = {1, os.getpid()}
others = [int(n) for n in os.listdir("/proc") if n.isdigit() and int(n) not in own]
print("SUCCESS" if others else "blocked")
