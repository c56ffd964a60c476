# what numeric libraries do with memory: large mapped blocks, advice, views of other types, blocks given back and taken again
import array, mmap, struct
block = mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE)
block.madvise(mmap.MADV_HUGEPAGE)
numbers = memoryview(block).cast("d")
numbers[: 1 << 16] = array.array("d", range(1 << 16))
assert sum(numbers[: 1 << 16]) == (1 << 15) * ((1 << 16) - 1)
block.madvise(mmap.MADV_DONTNEED)
assert numbers[5] == 0.0
numbers.release()
block.resize(32 << 20)
block[-8:] = struct.pack("d", 1.5)
for _ in range(50):
    bytearray(4 << 20)[::4096] = b"x" * 1024
rows = [array.array("d", (i * j for j in range(64))) for i in range(64)]
product = [[sum(a * b for a, b in zip(row, column)) for column in zip(*rows)] for row in rows]
assert product[1][1] == sum(i * i for i in range(64))
print("ok")
