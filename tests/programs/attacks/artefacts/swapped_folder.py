# layer: none
# record: none
import os
os.rename("/work/out", "/work/old")
os.symlink("/etc", "/work/out")
print("blocked")
