import threading, time
def late():
    time.sleep(0.05)
    print("ok")
threading.Thread(target=late).start()
