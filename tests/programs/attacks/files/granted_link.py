# layer: mounts
# record: file /mnt/bait/way-out
try:
    print("SUCCESS" if open("/mnt/bait/way-out").read() else "blocked")
except OSError as error:
    print("blocked", error)
