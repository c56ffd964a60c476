"""Takes memory until it is stopped."""

hoard = []
while True:
    hoard.append(bytearray(8 * 1024 * 1024))
