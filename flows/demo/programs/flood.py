"""Writes output until it is stopped."""

line = "all work and no play " * 40
while True:
    print(line)
