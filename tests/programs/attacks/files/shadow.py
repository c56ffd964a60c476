# layer: mounts
# record: file /etc/shadow
import os
try:
    open("/etc/shadow").close()
    print("SUCCESS")
except FileNotFoundError as error:
    print("blocked", error)
except PermissionError:
    # it is there: that is what the removed layer is about
    print("SUCCESS")
