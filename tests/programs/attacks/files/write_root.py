# layer: none
# record: file /new
try:
    open("/new", "w").close()
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
