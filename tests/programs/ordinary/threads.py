import threading, queue
from concurrent.futures import ThreadPoolExecutor
q = queue.Queue()
ts = [threading.Thread(target=q.put, args=(i,)) for i in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]
assert sorted(q.get() for _ in ts) == list(range(8))
with ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(lambda x: x * x, range(100))) == 328350
print("ok")
