from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
import math, multiprocessing, os
def count_primes(limit):
    return sum(all(n % d for d in range(2, math.isqrt(n) + 1)) for n in range(2, limit))
if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            assert list(pool.map(count_primes, [10, 100, 1000], chunksize=2)) == [4, 25, 168]
            waiting = {pool.submit(count_primes, n): n for n in (20, 30)}
            assert {waiting[done]: done.result() for done in as_completed(waiting)} == {20: 8, 30: 10}
    pool = ProcessPoolExecutor(1)
    try:
        pool.submit(os._exit, 3).result()
    except BrokenProcessPool:
        print("ok")
