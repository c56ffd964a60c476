block = bytearray(200 * 1024 * 1024)
block[::4096] = b"x" * len(block[::4096])
print("ok")
