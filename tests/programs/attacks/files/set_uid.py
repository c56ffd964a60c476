# layer: seccomp
# record: syscall chmod
import os
open("/tmp/x", "w").close()
try:
    os.chmod("/tmp/x", 0o6755)
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
