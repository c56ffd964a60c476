# layer: none
# record: refused link
import os
os.symlink("/etc/shadow", "/work/out/link")
os.symlink("/etc", "/work/out/folder")
print("blocked")
