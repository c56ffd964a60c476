import contextlib, faulthandler, sched, signal, threading, time
class TooSlow(Exception):
    pass
@contextlib.contextmanager
def at_most(seconds):
    def ring(*_):
        raise TooSlow
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
try:
    with at_most(0.02):
        threading.Event().wait()
    raise SystemExit("nothing rang")
except TooSlow:
    pass
with at_most(60):
    sum(range(1000))
assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
for timer, number in ((signal.ITIMER_VIRTUAL, signal.SIGVTALRM), (signal.ITIMER_PROF, signal.SIGPROF)):
    rung = []
    signal.signal(number, lambda *_: rung.append(1))
    signal.setitimer(timer, 0.01, 0.01)
    while not rung:
        sum(range(100))
    signal.setitimer(timer, 0)
done = []
plan = sched.scheduler(time.monotonic, time.sleep)
for delay in (0.02, 0.01):
    plan.enter(delay, 1, done.append, (delay,))
plan.run()
assert done == [0.01, 0.02]
rung = threading.Event()
threading.Timer(0.01, rung.set).start()
assert rung.wait(20)
faulthandler.enable()
faulthandler.dump_traceback_later(3600)
faulthandler.cancel_dump_traceback_later()
print("ok")
