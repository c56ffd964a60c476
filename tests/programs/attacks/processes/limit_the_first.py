# layer: seccomp
# record: syscall prlimit64
import os, resource
# without open files or memory the first process could not say how this one ended
try:
    resource.prlimit(1, resource.RLIMIT_NOFILE, (4, 4))
    print("SUCCESS", resource.prlimit(1, resource.RLIMIT_NOFILE), flush=True)
except (OSError, ValueError) as error:
    print("blocked", error)
for act in (
    lambda: os.sched_setaffinity(1, {0}),
    lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
    lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
    lambda: os.setpriority(os.PRIO_USER, 0, 19),
    lambda: os.setpriority(os.PRIO_PGRP, 0, 19),
):
    try:
        act()
        print("SUCCESS", flush=True)
    except OSError:
        pass
