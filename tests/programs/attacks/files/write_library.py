# layer: none
# record: none
import os
try:
    open(os.__file__, "ab").close()
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
