# layer: own_file_systems
# record: none
# why: opening a name in a /dev/shm of its own is every program's business, also a name that is not there
# beside: listen.py
import sys
try:
    print("SUCCESS" if open("/dev/shm/" + sys.argv[1]).read() else "blocked")
except OSError as error:
    print("blocked", error)
