import ctypes
libc = ctypes.CDLL(None)
assert libc.abs(-3) == 3
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))(lambda a, b: a[0] - b[0])
values = (ctypes.c_int * 4)(4, 2, 3, 1)
libc.qsort(values, 4, 4, compare)
assert list(values) == [1, 2, 3, 4]
print("ok")
