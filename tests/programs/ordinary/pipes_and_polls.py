import os, select, selectors, socket, fcntl
r, w = os.pipe()
os.write(w, b"x")
assert select.select([r], [], [], 1)[0] == [r]
a, b = socket.socketpair()
s = selectors.DefaultSelector(); s.register(a, selectors.EVENT_READ)
b.send(b"y")
assert s.select(1) and a.recv(1) == b"y"
server = socket.socket(socket.AF_UNIX); server.bind("/tmp/s"); server.listen(1)
c = socket.socket(socket.AF_UNIX); c.connect("/tmp/s")
with open("/work/lock", "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
print("ok")
