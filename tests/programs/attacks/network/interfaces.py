# layer: network_namespace
# record: none
# why: the kernel answers the question what interfaces there are, and tells nobody that it was asked
import os, fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
found = []
for index in range(1, 20):
    try:
        name = fcntl.ioctl(s.fileno(), 0x8910, struct.pack("16sI12x", b"", index))[:16].rstrip(b"\0")
        found.append(name)
    except OSError:
        pass
print("SUCCESS" if found not in ([b"lo"], []) else "blocked")
