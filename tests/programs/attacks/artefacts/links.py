# layer: collector
# record: refused link
# success: content
import os, sys
os.symlink(sys.argv[1], "/work/out/link")
os.symlink("/etc", "/work/out/folder")
print("blocked")
