# layer: disk
# record: limit disk
try:
    for number in range(16):
        with open(f"/tmp/{number}", "wb") as file:
            file.write(b"x" * 1024 * 1024)
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
    raise
