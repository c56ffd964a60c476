# layer: read_only
# record: file /mnt/bait/file
try:
    open("/mnt/bait/file", "w").close()
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
