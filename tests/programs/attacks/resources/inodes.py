# layer: disk
# record: limit inodes
try:
    for number in range(1000):
        open(f"/work/{number}", "w").close()
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
    raise
