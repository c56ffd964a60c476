# layer: own_file_systems
# record: before artefact left
# before: leave.py
import os
found = [path for path in ("/tmp/left", "/dev/shm/left", "/work/left", "/work/out/left") if os.path.exists(path)]
print("SUCCESS" if found else "blocked", found)
