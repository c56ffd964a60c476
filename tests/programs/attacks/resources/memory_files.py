# layer: cgroup
# record: limit memory
import os
files = []
for number in range(60):
    fd = os.memfd_create(f"m{number}")
    os.write(fd, b"x" * (3 * 1024 * 1024))
    files.append(fd)
print("SUCCESS")
