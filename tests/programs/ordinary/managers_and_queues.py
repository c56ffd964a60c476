import multiprocessing as mp
from multiprocessing import shared_memory
def work(tasks, results, totals, lock, name):
    block = shared_memory.SharedMemory(name=name)
    for task in iter(tasks.get, None):
        with lock:
            block.buf[task] = task
            totals[task] = task * 2
        results.put(task)
    block.close()
if __name__ == "__main__":
    with mp.Manager() as manager:
        tasks, results, totals, lock = mp.JoinableQueue(), mp.SimpleQueue(), manager.dict(), mp.Lock()
        block = shared_memory.SharedMemory(create=True, size=64)
        workers = [mp.Process(target=work, args=(tasks, results, totals, lock, block.name)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for task in range(20):
            tasks.put(task)
        for _ in workers:
            tasks.put(None)
        assert sorted(results.get() for _ in range(20)) == list(range(20))
        for worker in workers:
            worker.join()
        assert dict(totals) == {n: n * 2 for n in range(20)}
        assert bytes(block.buf[:20]) == bytes(range(20))
        block.close()
        block.unlink()
    print("ok")
