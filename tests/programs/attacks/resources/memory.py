# layer: cgroup
# record: limit memory
import os
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        block = bytearray(48 * 1024 * 1024)
        block[::4096] = b"x" * len(block[::4096])
        os._exit(0)
    children.append(pid)
ends = [os.waitpid(pid, 0)[1] for pid in children]
block = [bytearray(40 * 1024 * 1024) for _ in range(4)]
print("SUCCESS")
