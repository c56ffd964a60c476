import multiprocessing as mp
def square(x, out):
    out.put(x * x)
if __name__ == "__main__":
    ctx = mp.get_context("spawn")
    out = ctx.Queue()
    p = ctx.Process(target=square, args=(7, out))
    p.start()
    assert out.get() == 49
    p.join()
    assert p.exitcode == 0
    print("ok")
