import atexit, sys
print("before")
atexit.register(lambda: print("ok"))
exit(0)
