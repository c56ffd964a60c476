# layer: own_file_systems
# record: none
# beside: listen.py
import sys
try:
    print("SUCCESS" if open("/dev/shm/" + sys.argv[1]).read() else "blocked")
except OSError as error:
    print("blocked", error)
