# layer: collector
# record: none
# success: content
import os, sys
os.rename("/work/out", "/work/old")
os.symlink(os.path.dirname(sys.argv[1]), "/work/out")
print("blocked")
