"""The first process in every jail: trusted, it forks the program, reaps, relays the end, and outlives everything.

Started as `python -I -S first.py CONTROL RELAY EVENTS` (descriptors). From CONTROL come the program and its input files, by
content; its end of file means that the runner is gone or wants the end. RELAY carries words to the runner and is closed
before a byte of the program runs. EVENTS goes to the program's process: what the audit hook writes there is controlled by
the program. Standard library only, few imports: this is on the way of every start.

It must never run a line of the program in its own process, and never be traceable from inside (PR_SET_DUMPABLE 0).
"""

import errno
import marshal
import os
import resource
import select
import signal
import sys

import _ctypes

PR_SET_DUMPABLE = 4
WORK = "/work"
OUT = "/work/out"
CHUNK = 65536
FIELD = 400
RECORDS_REMEMBERED = 4096
EVERY_COUNT_UP_TO = 8


def set_dumpable(value):
    """prctl by the address alone: the ctypes package would cost more than the rest of this start."""
    address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
    if _ctypes.call_function(address, (PR_SET_DUMPABLE, value, 0, 0, 0)) != 0:
        os._exit(70)


def read_exactly(descriptor, count):
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            os._exit(71)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def receive(control):
    """The job: a length, a header of plain values, then the files one after the other."""
    length = int.from_bytes(read_exactly(control, 8), "big")
    job = marshal.loads(read_exactly(control, length))
    for name, size in job["files"]:
        path = os.path.join(WORK, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        content = read_exactly(control, size)
        while content:
            content = content[os.write(descriptor, content) :]
        os.close(descriptor)
    return job


def attend(job, control, relay, wake):
    """Reaps until the program has ended, then kills and reaps whatever it left; never returns."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    poll.register(control, select.POLLIN)
    ended = False
    while not ended:
        for descriptor, _ in poll.poll():
            if descriptor == control and not os.read(control, CHUNK):
                kill_all()
                os._exit(72)
            if descriptor == wake:
                os.read(wake, CHUNK)
        while not ended:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == job:
                ended = True
                micro = [int(seconds * 1_000_000) for seconds in (usage.ru_utime, usage.ru_stime)]
                os.write(relay, b"exit %d %d %d %d\n" % (status, micro[0], micro[1], usage.ru_maxrss))
    os.write(relay, b"empty %d\n" % kill_all())
    os._exit(0)


def kill_all():
    """Kills every other process of the jail and says how many there were."""
    count = 0
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            pid, _ = os.waitpid(-1, 0)
        except ChildProcessError:
            return count
        count += 1


def install_hook(events, quiet):
    """Reports what the interpreter is asked to do: first sightings at once, repeats ever more rarely."""
    identity = os.fstat(events)[1:3]
    seen = {}
    owner = [os.getpid()]
    folders = tuple(quiet[0])
    exact = frozenset(quiet[1])

    def emit(*fields):
        if os.getpid() != owner[0]:
            seen.clear()
            owner[0] = os.getpid()
        if fields not in seen and len(seen) >= RECORDS_REMEMBERED:
            fields = ("overflow",)
        count = seen[fields] = seen.get(fields, 0) + 1
        if count > EVERY_COUNT_UP_TO and count & (count - 1):
            return
        line = "\x1f".join((str(owner[0]), str(count), *fields)).replace("\n", "\\n") + "\n"
        # the program may have closed the descriptor and opened a file of its own under the same number
        if os.fstat(events)[1:3] == identity:
            os.write(events, line.encode("utf-8", "backslashreplace")[:4000].rstrip(b"\n") + b"\n")

    def text(value):
        if isinstance(value, (bytes, bytearray)):
            value = bytes(value).decode("utf-8", "backslashreplace")
        return str(value)[:FIELD].replace("\x1f", " ")

    def words(values):
        return [text(value) for value in list(values)[:24]] if isinstance(values, (list, tuple)) else [text(values)]

    def address(event, args):
        place = args[-1]
        if isinstance(place, tuple) and len(place) >= 2:
            emit("egress", event, text(place[0]), text(place[1]))
        else:
            emit("egress", event, "unix:" + text(place), "0")

    def lookup(event, args):
        port = args[1] if len(args) > 1 else 0
        emit("egress", event, text(args[0]), text(port if port is not None else 0))

    def command(event, args):
        path = args[0]
        if event == "subprocess.Popen" and not path:
            path = args[1][0] if isinstance(args[1], (list, tuple)) and args[1] else args[1]
        emit("command", event, text(path), *words(args[1]))

    def shell(event, args):
        emit("command", event, "/bin/sh", "-c", text(args[0]))

    def fork(event, args):
        emit("command", event, "(fork)")

    def opened(event, args):
        path = args[0]
        if not isinstance(path, (str, bytes)):
            return
        path = text(path)
        if not path.startswith("/"):
            path = os.path.join(os.getcwd(), path)
        if "/." in path or "//" in path:
            path = os.path.normpath(path)
        if path.startswith(folders) or path in exact:
            return
        emit("file", event, path)

    kinds = {
        "socket.connect": address,
        "socket.sendto": address,
        "socket.getaddrinfo": lookup,
        "socket.gethostbyname": lookup,
        "subprocess.Popen": command,
        "os.exec": command,
        "os.posix_spawn": command,
        "os.system": shell,
        "os.fork": fork,
        "os.forkpty": fork,
        "open": opened,
    }

    def hook(event, args, find=kinds.get):
        act = find(event)
        if act is not None:
            try:
                act(event, args)
            except Exception:  # noqa: BLE001, S110 - watching must never change what the program does
                pass

    sys.addaudithook(hook)
    return emit


def become_program(job, events):
    """Runs the program as `__main__`; from here on nothing is trusted."""
    path = os.path.join(WORK, job["file_name"])
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_seconds"], resource.getrlimit(resource.RLIMIT_CPU)[1]))
    import site  # noqa: PLC0415 - only names for the prompt; no startup file of an environment is run

    site.setquit()
    site.setcopyright()
    site.sethelper()
    sys.argv = [path, *job["arguments"]]
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path[:0] = [WORK]
    sys.path += job["sys_path"]
    sys.dont_write_bytecode = True
    sys.stdout.reconfigure(line_buffering=True)
    main = type(sys)("__main__")
    main.__file__ = path
    main.__builtins__ = __builtins__
    sys.modules["__main__"] = main
    main.__dict__.setdefault("__annotations__", {})
    with open(path, "rb") as file:
        source = file.read()
    emit = install_hook(events, job["quiet"])
    try:
        exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)  # noqa: S102 - the program, in its own process
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the last frame before the interpreter's own
        tell_limit(emit, error)
        # tracebacks begin with the program's own first line
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)


def tell_limit(emit, error):
    """A limit that ended the program, in its own words."""
    if isinstance(error, MemoryError):
        emit("limit", "memory")
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG):
        emit("limit", "disk")
    elif isinstance(error, BlockingIOError) or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
        emit("limit", "processes")


def start():
    control, relay, events = (int(word) for word in sys.argv[1:4])
    set_dumpable(0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for descriptor in (control, relay, events):
        os.set_inheritable(descriptor, False)
    os.mkdir(OUT, 0o700)
    os.write(relay, b"ready\n")
    job = receive(control)
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    pid = os.fork()
    if pid:
        os.close(events)
        os.write(relay, b"started\n")
        attend(pid, control, relay, wake)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor in (control, relay, wake, woken):
        os.close(descriptor)
    os.setsid()
    set_dumpable(1)
    become_program(job, events)


start()
