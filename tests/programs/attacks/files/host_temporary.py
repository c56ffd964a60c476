# layer: mounts
# record: file {secret}
import sys
try:
    print("SUCCESS" if open(sys.argv[1]).read() else "blocked")
except OSError as error:
    print("blocked", error)
