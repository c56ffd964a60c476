import fcntl, os, struct
place = "/work/counter"
with open(place, "w") as file:
    file.write("0")
for lock, unlock in ((fcntl.flock, fcntl.flock), (fcntl.lockf, fcntl.lockf)):
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            for _ in range(30):
                with open(place, "r+") as file:
                    lock(file, fcntl.LOCK_EX)
                    count = int(file.read())
                    file.seek(0)
                    file.write(str(count + 1))
                    file.flush()
                    unlock(file, fcntl.LOCK_UN)
            os._exit(0)
        children.append(child)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
assert open(place).read() == "180"
with open(place) as one, open(place) as two:
    fcntl.flock(one, fcntl.LOCK_EX)
    try:
        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise SystemExit("taken twice")
    except BlockingIOError:
        pass
    assert struct.unpack("i", fcntl.ioctl(one, 0x541B, bytes(4))) == (3,)
print("ok")
