import os, socket, sys, time
with socket.socket(socket.AF_UNIX) as abstract, socket.socket() as port:
    abstract.bind("\0run-" + sys.argv[1])
    abstract.listen()
    port.bind(("127.0.0.1", int(sys.argv[2])))
    port.listen()
    with open("/dev/shm/" + sys.argv[1], "w") as file:
        file.write("of another run")
    os.chmod("/dev/shm/" + sys.argv[1], 0o666)
    print("ready", flush=True)
    time.sleep(60)
