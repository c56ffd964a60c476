# layer: reaping
# record: explanation process(es) that it left behind were killed
import os, signal, time
print("blocked", flush=True)
if os.fork() == 0:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        time.sleep(0.3)
        os.write(1, b"SUCCESS\n")
        time.sleep(30)
    os._exit(0)
