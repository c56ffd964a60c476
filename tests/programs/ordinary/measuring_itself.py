import cProfile, gc, io, os, platform, pstats, resource, sys, sysconfig, timeit, trace, tracemalloc, weakref
profile = cProfile.Profile()
profile.runcall(sorted, range(1000), key=lambda x: -x)
text = io.StringIO()
pstats.Stats(profile, stream=text).sort_stats("cumulative").print_stats(3)
assert "sorted" in text.getvalue()
tracemalloc.start()
kept = [bytes(1000) for _ in range(100)]
assert tracemalloc.take_snapshot().statistics("lineno")[0].size >= 100_000
tracemalloc.stop()
assert timeit.timeit("x = 1", number=1000) >= 0
assert trace.Trace(count=1, trace=0).runfunc(abs, -1) == 1
usage = resource.getrusage(resource.RUSAGE_SELF)
assert usage.ru_maxrss > 0 and resource.getpagesize() == os.sysconf("SC_PAGE_SIZE")
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
assert os.cpu_count() >= 1 and len(os.sched_getaffinity(0)) >= 1 and platform.python_version() == sys.version.split()[0]
assert platform.system() == "Linux" and os.uname().machine == platform.machine() and sysconfig.get_path("stdlib")
class Node:
    pass
a = Node()
a.itself, gone = a, weakref.ref(a)
del a
gc.collect()
assert gone() is None and os.getloadavg() if os.path.exists("/proc/loadavg") else gone() is None
os.nice(1)
print("ok")
