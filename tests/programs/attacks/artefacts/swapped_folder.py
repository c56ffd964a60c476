# layer: collector
# record: refused out the directory was replaced by a symbolic link
# success: content
import os, sys
os.rename("/work/out", "/work/old")
os.symlink(os.path.dirname(sys.argv[1]), "/work/out")
print("blocked")
