# layer: seccomp
# record: syscall open
import os
try:
    os.close(os.open("/tmp/x", os.O_CREAT | os.O_WRONLY, 0o6755))
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
