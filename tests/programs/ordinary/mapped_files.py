import mmap, os
with open("/work/m", "w+b") as file:
    file.truncate(65536)
    with mmap.mmap(file.fileno(), 65536) as m:
        m[:5] = b"hello"
        m.flush()
with open("/work/m", "rb") as file:
    assert file.read(5) == b"hello"
anonymous = mmap.mmap(-1, 1 << 20)
anonymous[:1] = b"x"
print("ok")
