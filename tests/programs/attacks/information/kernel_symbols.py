# layer: proc
# record: file /proc/kallsyms
try:
    open("/proc/kallsyms").read(10)
    print("SUCCESS")
except OSError as error:
    print("blocked", error)
