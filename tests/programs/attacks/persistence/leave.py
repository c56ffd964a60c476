import os, sys
for path in ("/tmp/left", "/dev/shm/left", "/work/left", "/work/out/left", "/environment/left.py"):
    try:
        with open(path, "w") as file:
            file.write("LEFT = True\n")
        os.chmod(path, 0o666)
    except OSError:
        pass
