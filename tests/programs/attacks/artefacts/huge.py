# layer: caps
# record: refused more than 8 artefacts
# success: count
import os
with open("/work/out/huge", "wb") as file:
    file.truncate(3 * 1024 * 1024)
for number in range(20):
    open(f"/work/out/{number:02d}", "w").close()
path = "/work/out/d"
for _ in range(12):
    os.mkdir(path)
    path += "/d"
os.mkfifo("/work/out/fifo")
print("blocked")
