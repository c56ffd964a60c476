from multiprocessing import shared_memory, Lock, Value
block = shared_memory.SharedMemory(create=True, size=4096)
block.buf[:3] = b"abc"
other = shared_memory.SharedMemory(name=block.name)
assert bytes(other.buf[:3]) == b"abc"
other.close(); block.close(); block.unlink()
v = Value("i", 3)
with v.get_lock():
    v.value += 1
assert v.value == 4
print("ok")
