# layer: read_only_root
# record: file /new
try:
    open("/new", "w").close()
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
