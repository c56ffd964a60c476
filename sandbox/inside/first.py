"""The first process in every jail: trusted, it forks the program, reaps, relays the end, and outlives everything.

Compiled beforehand by the same interpreter, and read from CONTROL by a few lines on the command line, whose last words are
CTYPES SELECT CONTROL RELAY EVENTS (two paths of extension modules, three descriptors). From CONTROL come then the program and
its input files, by content; its end of file means that the runner is gone or wants the end. RELAY carries words to the runner and is closed before a byte of the program
runs. EVENTS goes to the program's process: what the audit hook writes there is controlled by the program.

This is on the way of every start: what is imported here is built in or named by its path, and `os` is left to programs that
want it (measured: the imports of `os`, `site`, `resource` and `errno` were a fifth of the interpreter's start; that of
`__future__` alone is a fortieth, so annotations are quoted where their names are for the type checker only). It is one long
file because it goes into the jail as one piece: there is nothing beside it to import that is not the interpreter's own.

It must never run a line of the program in its own process, and never be traceable from inside (PR_SET_DUMPABLE 0).
"""

# ruff: noqa: SLF001 - the interpreter keeps what is needed here under names of its own
import _frozen_importlib as importing
import _frozen_importlib_external as finding
import _signal as signal  # type: ignore[import-not-found]  # has no stub; the module `signal` imports enum, which costs as much as the start of the interpreter
import _sitebuiltins
import _thread
import atexit
import gc
import marshal
import posix as os
import sys
import time

FIRST = "first.py"
"""Under which name this is compiled."""
PR_SET_DUMPABLE = 4
WORK = "/work"
OUT = "/work/out"
CHUNK = 65536
FIELD = 400
WORDS = 24
LINE = 4000
CUT = "…"
KINDS_REMEMBERED = 4096
EVERY_COUNT_UP_TO = 8
HOST_AND_PORT = 2
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ENOSPC, EFBIG = 28, 27
CDECL, HOLDS_THE_LOCK = 1, 4
FILE_INPUT = 257
END_OF_FILE = "Ctrl-D (i.e. EOF)"


TYPE_CHECKING = False
if TYPE_CHECKING:
    import _ctypes
    import select
    from collections.abc import Callable
    from types import CodeType
    from typing import Any
else:

    def extension(name: str, path: str) -> object:
        """An extension module from the file where it is known to lie: no directory is searched."""
        return importing._load(finding.spec_from_file_location(name, path)) if path else __import__(name)

    _ctypes, select = map(extension, ("_ctypes", "select"), sys.argv[-5:-3])


def symbol(name: str) -> int:
    """The address of a C function."""
    return _ctypes.dlsym(_ctypes.dlopen(None, 0), name)  # type: ignore[arg-type]  # None is the program itself


def native(name: str, *arguments: object) -> int:
    """Calls a C function by its address alone: the ctypes package would cost more than the rest of this start."""
    result: int = _ctypes.call_function(symbol(name), arguments)
    return result


def set_dumpable(*, dumpable: bool) -> None:
    """Whether other processes of the same user may look into this one and trace it."""
    if native("prctl", PR_SET_DUMPABLE, int(dumpable), 0, 0, 0) != 0:
        os._exit(70)


def read_exactly(descriptor: int, count: int) -> bytes:
    """Reads that many bytes; ends the jail if the runner is gone."""
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            os._exit(71)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def receive(control: int) -> "dict[str, Any]":
    """The job: a length, a header of plain values, then the files one after the other."""
    length = int.from_bytes(read_exactly(control, 8), "big")
    job: dict[str, Any] = marshal.loads(read_exactly(control, length))  # noqa: S302 - from the runner, before the program
    for number, (name, size) in enumerate(job["files"]):
        path = f"{WORK}/{name}".split("/")
        for depth in range(3, len(path)):
            try:  # noqa: SIM105 - contextlib costs more than the rest of this start
                os.mkdir("/".join(path[:depth]))
            except FileExistsError:
                pass
        descriptor = os.open("/".join(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        content = read_exactly(control, size)
        if number == 0:
            job["source"] = content
        while content:
            content = content[os.write(descriptor, content) :]
        os.close(descriptor)
    return job


def attend(program: int, control: int, relay: int, wake: int) -> None:
    """Reaps until the program has ended, then kills and reaps whatever it left; never returns."""
    wait = waiting()  # while the program starts
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
        ended = reap(program, relay, wait)
    os.write(relay, b"empty %d %d\n" % (kill_all(), waited_for_us()))
    os._exit(0)


def waiting() -> "Callable[[int], tuple[int, int, int]]":
    """Makes a `wait4` that gives the wait status and the microseconds of user and system time of one that is dead.

    The interpreter's own looks for the module `resource`, to make its answer, when the program has ended and all wait for it.
    """

    class Number(_ctypes._SimpleCData):  # type: ignore[type-arg]  # a C int
        _type_ = "i"

    class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]  # a C long
        _type_ = "l"

    class Usage(_ctypes.Array):  # type: ignore[type-arg]  # struct rusage: two times of two, fourteen counts (getrusage(2))
        _type_ = Long
        _length_ = 18

    status, usage = Number(), Usage()

    def wait(process: int) -> tuple[int, int, int]:
        if native("wait4", process, _ctypes.byref(status), 0, _ctypes.byref(usage)) != process:
            os._exit(73)
        return status.value, usage[0] * 1_000_000 + usage[1], usage[2] * 1_000_000 + usage[3]

    return wait


def reap(program: int, relay: int, wait: "Callable[[int], tuple[int, int, int]]") -> bool:
    """Reaps everything that has died; whether the program was among it."""
    while True:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if dead is None:
            return False
        try:
            # what the kernel holds against its limit of processor time, which a zombie still has: the clock CPUCLOCK_PROF
            counted = time.clock_gettime_ns(~dead.si_pid << 3) // 1000
        except OSError:  # on Linux; others pass for it
            counted = None
        status, user, system = wait(dead.si_pid)
        if dead.si_pid == program:
            os.write(
                relay, b"exit %d %d %d %d\n" % (status, user, system, user + system if counted is None else counted)
            )
            return True


def kill_all() -> int:
    """Kills every other process of the jail and says how many there were."""
    try:  # noqa: SIM105 - contextlib costs more than the rest of this start
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    count = 0
    while (
        True
    ):  # once is enough: the kernel lets none that has the signal start another, and all that is left becomes ours
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return count
        count += 1


def waited_for_us() -> int:
    """Microseconds of processor time of everything that was reaped, here or by who was: only what is ignored by its parent is missing."""
    times = os.times()
    return int((times.children_user + times.children_system) * 1_000_000)


class Witness:
    """Reports what the interpreter is asked to do: first sightings at once, repeats ever more rarely."""

    def __init__(self, events: int, quiet_folders: list[str], quiet_files: list[str], own_folders: list[str]) -> None:
        self.events = events
        self.identity = identity(events)
        self.seen: dict[tuple[str, ...], int] = {}
        self.owner = os.getpid()
        self.folders = tuple(quiet_folders)
        self.files = frozenset(quiet_files)
        self.own = tuple(own_folders)
        self.acts = {
            "socket.connect": self.address,
            "socket.bind": self.address,
            "socket.sendto": self.address,
            "socket.getaddrinfo": self.lookup,
            "socket.gethostbyname": self.lookup,
            "subprocess.Popen": self.command,
            "os.exec": self.command,
            "os.posix_spawn": self.command,
            "os.system": self.shell,
            "os.fork": self.fork,
            "os.forkpty": self.fork,
            "open": self.opened,
            "os.listdir": self.opened,
            "os.scandir": self.opened,
        }

    def hook(self, event: str, args: tuple[object, ...]) -> None:
        """The audit hook."""
        act = self.acts.get(event)
        if act is not None:
            try:  # noqa: SIM105 - contextlib costs more than the rest of this start
                act(event, args)
            except Exception:  # noqa: BLE001, S110 - whatever goes wrong here must not change what the program does
                pass

    def tell(self, *fields: str) -> None:
        """Writes one record, if this count of it is to be told."""
        process = os.getpid()
        if process != self.owner:
            self.seen.clear()
            self.owner = process
        if fields not in self.seen and len(self.seen) >= KINDS_REMEMBERED:
            fields = ("overflow",)
        count = self.seen[fields] = self.seen.get(fields, 0) + 1
        if count > EVERY_COUNT_UP_TO and count & (count - 1):
            return
        line = "\x1f".join((str(process), str(count), *fields)).replace("\n", "\\n")
        # the program may have closed the descriptor and opened a file of its own under the same number
        if identity(self.events) == self.identity:
            record = line.encode("utf-8", "backslashreplace")
            if len(record) > LINE:
                record = record[:LINE].decode("utf-8", "ignore").encode() + CUT.encode()
            os.write(self.events, record + b"\n")

    def address(self, event: str, args: tuple[object, ...]) -> None:
        """A connection, a datagram, or a place of the program's own."""
        place = args[-1]
        kind = "bind" if event == "socket.bind" else "egress"
        if isinstance(place, tuple) and len(place) >= HOST_AND_PORT:
            self.tell(kind, event, text(place[0]), text(place[1]))
        else:
            self.tell(kind, event, "unix:" + text(place), "0")

    def lookup(self, event: str, args: tuple[object, ...]) -> None:
        """A name that is to be resolved."""
        port = args[1] if len(args) > 1 and args[1] is not None else 0
        self.tell("egress", event, text(args[0]), text(port))

    def command(self, event: str, args: tuple[object, ...]) -> None:
        """A program that is to be started."""
        words = args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
        beyond = (f"… and {len(words) - WORDS} more",) if len(words) > WORDS else ()
        self.tell("command", event, text(args[0] or (words[0] if words else "")), *map(text, words[1:WORDS]), *beyond)

    def shell(self, event: str, args: tuple[object, ...]) -> None:
        """A line for the shell."""
        self.tell("command", event, "/bin/sh", "-c", text(args[0]))

    def fork(self, event: str, args: tuple[object, ...]) -> None:  # noqa: ARG002 - every act takes the same
        """A copy of the program."""
        self.tell("command", event, "(fork)")

    def opened(self, event: str, args: tuple[object, ...]) -> None:
        """What is to be opened or listed, unless that is the interpreter's own business; or written, unless it is the program's own."""
        if isinstance(args[0], (str, bytes)):
            path = absolute(args[0])
            writes = event == "open" and isinstance(args[2], int) and args[2] & WRITES
            if not f"{path}/".startswith(self.own if writes else self.folders) and path not in self.files:
                self.tell("file", event, path)

    def limit(self, error: BaseException) -> None:
        """A limit that ended the program, in the program's own words."""
        if isinstance(error, MemoryError):
            self.tell("limit", "memory")
        elif isinstance(error, OSError) and error.errno in {ENOSPC, EFBIG}:
            self.tell("limit", "disk")
        elif isinstance(error, BlockingIOError) or (
            isinstance(error, RuntimeError) and "start new thread" in str(error)
        ):
            self.tell("limit", "processes")


def text(value: object) -> str:
    """A bounded string of whatever the program passed; a cut is shown."""
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value[: FIELD + 1]).decode("utf-8", "backslashreplace")
    value = str(value)
    return (value if len(value) <= FIELD else value[:FIELD] + CUT).replace("\x1f", "\\x1f")


def absolute(name: str | bytes) -> str:
    """The whole path of a name, as the program would reach it, without dots and doubled slashes."""
    path = text(name)
    if not path.startswith("/"):
        path = f"{os.getcwd()}/{path}"
    parts: list[str] = []
    if "/." not in path and "//" not in path:
        return path
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def identity(descriptor: int) -> tuple[int, int]:
    """What a descriptor points at."""
    found = os.fstat(descriptor)
    return (found.st_dev, found.st_ino)


def prepare() -> "Callable[[bytes, bytes], CodeType]":
    """Makes ready what the program will need, while the runner gets ready to send it; gives back how it is compiled.

    Not by `compile`, which makes the classes of syntax trees first, of which a program has no use (half a millisecond).
    """
    builtins = sys.modules["builtins"]
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, END_OF_FILE))
    builtins.help = _sitebuiltins._Helper()  # type: ignore[attr-defined]  # what `site` puts there
    sys.dont_write_bytecode = True
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a TextIOWrapper at this point

    class Object(_ctypes._SimpleCData):  # type: ignore[type-arg]  # a Python object
        _type_ = "O"

    class Function(_ctypes.CFuncPtr):
        _flags_ = CDECL | HOLDS_THE_LOCK
        _restype_ = Object

    function = Function(symbol("Py_CompileStringExFlags"))
    return lambda source, path: function(source, path, FILE_INPUT, None, -1)


def become_program(job: "dict[str, Any]", compiled: "Callable[[bytes, bytes], CodeType]", events: int) -> None:
    """Runs the program, as `__main__` or by another interpreter; from here on nothing is trusted."""
    path = f"{WORK}/{job['file_name']}"
    if job["command"]:
        command = [str(word) for word in [*job["command"], path, *job["arguments"]]]
        os.execv(command[0], command)
    sys.argv = [path, *job["arguments"]]
    sys.path = [WORK, *sys.path, *job["sys_path"]]
    main = type(sys)("__main__")
    main.__file__ = path
    main.__annotations__ = {}
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main
    witness = Witness(events, *job["quiet"])
    known = frozenset(sys.modules)
    sys.addaudithook(witness.hook)
    try:
        exec(compiled(job["source"], path.encode()), main.__dict__)  # noqa: S102 - the program, in its own process
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the last frame before the interpreter's own
        witness.limit(error)
        # tracebacks begin with the program's own first line
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == FIRST:
            trace = trace.tb_next
        error.__traceback__ = trace
        sys.excepthook(type(error), error, trace)
        sys.exit(1)
    del main
    try:  # noqa: SIM105 - contextlib costs more than the rest of this start
        end(known)
    except BaseException:  # noqa: BLE001, S110 - the interpreter's own end, which comes now, meets it again and says so
        pass


def end(known: frozenset[str]) -> None:
    """Ends a program that came to its last line, as the interpreter would; returns where only the interpreter can.

    Left out is taking the interpreter and the standard library apart, which nobody sees: in a process that was forked every
    page of that would be copied first (measured: an eighth of a whole run). Programs that use packages or modules of their
    own, whose objects could have something to say, or leave threads behind, have the interpreter's own end.
    """
    modules = sys.modules
    for name in modules.keys() - known:
        own = str(getattr(modules[name], "__file__", "")).startswith(WORK)
        if own or name.partition(".")[0] not in sys.stdlib_module_names:
            return
    if "threading" in modules:
        modules["threading"]._shutdown()
    atexit._run_exitfuncs()
    if _thread._count():
        return
    modules.pop("__main__", None)
    gc.collect()
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed:
            stream.flush()
    native("exit", 0)


def start() -> None:
    """Gets ready, says so, takes the job, forks."""
    control, relay, events = (int(word) for word in sys.argv[-3:])
    set_dumpable(dumpable=False)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for descriptor in (control, relay, events):
        os.set_inheritable(descriptor, False)
    os.mkdir(OUT, 0o700)
    os.write(relay, b"ready\n")
    compiled = prepare()
    job = receive(control)
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.freeze()  # what is there by now is never looked at again: pages that nobody touches are not copied
    program = os.fork()
    if program:
        os.close(events)
        os.write(relay, b"started\n")
        attend(program, control, relay, wake)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor in (control, relay, wake, woken):
        os.close(descriptor)
    os.setsid()
    set_dumpable(dumpable=True)
    become_program(job, compiled, events)


if __name__ == "__main__":
    start()
