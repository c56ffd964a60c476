import os, selectors, socket
chosen = selectors.DefaultSelector()
near, far = socket.socketpair()
listening = socket.create_server(("127.0.0.1", 0))
reading, writing = os.pipe()
for thing in (near, far, listening):
    thing.setblocking(False)
chosen.register(far, selectors.EVENT_READ, "far")
chosen.register(listening, selectors.EVENT_READ, "listening")
chosen.register(reading, selectors.EVENT_READ, "pipe")
near.send(b"one")
caller = socket.create_connection(listening.getsockname())
os.write(writing, b"three")
seen = set()
while len(seen) < 3:
    for key, _ in chosen.select(20):
        chosen.unregister(key.fileobj)
        seen.add(key.data)
assert seen == {"far", "listening", "pipe"} and far.recv(10) == b"one"
accepted, _ = listening.accept()
accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
socket.send_fds(near, [b"here"], [reading])
_, [passed], _, _ = socket.recv_fds(far, 10, 1)
assert os.read(passed, 10) == b"three"
for kind in (selectors.PollSelector, selectors.SelectSelector, selectors.EpollSelector):
    with kind() as other:
        other.register(caller, selectors.EVENT_WRITE)
        assert other.select(20)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))
datagrams.sendto(b"to itself", datagrams.getsockname())
assert datagrams.recv(20) == b"to itself"
print("ok")
