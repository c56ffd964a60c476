import multiprocessing as mp, os
def square(x):
    return x * x
def fail(x):
    raise ValueError(x)
def start(value):
    global offset
    offset = value
def moved(x, y):
    return offset + x + y
if __name__ == "__main__":
    with mp.Pool(3, initializer=start, initargs=(100,), maxtasksperchild=5) as pool:
        assert pool.map(square, range(50), chunksize=4) == [x * x for x in range(50)]
        assert sorted(pool.imap_unordered(square, range(10))) == [x * x for x in range(10)]
        assert pool.starmap(moved, [(1, 2), (3, 4)]) == [103, 107]
        later = pool.apply_async(fail, (7,))
        try:
            later.get(20)
            raise SystemExit("no exception came back")
        except ValueError as error:
            assert error.args == (7,)
        assert pool.apply(os.getpid) != os.getpid()
    print("ok")
