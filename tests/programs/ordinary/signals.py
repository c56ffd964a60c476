import signal, os, time
hits = []
signal.signal(signal.SIGUSR1, lambda *a: hits.append("usr1"))
os.kill(os.getpid(), signal.SIGUSR1)
signal.signal(signal.SIGALRM, lambda *a: hits.append("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
assert hits == ["usr1", "alarm"]
print("ok")
