"""Process events: a process belongs to the jail if a chain of forks leads from nsjail to it."""

import os
import socket
import struct
import subprocess
import tracemalloc
from dataclasses import replace
from pathlib import Path

from custody.sandbox.commands import CommandWatch, Starts, count_commands, merge_commands
from custody.sandbox.types import ObservedCommand

NSJAIL, FIRST, PROGRAM = 2_000_000_001, 2_000_000_002, 2_000_000_003
NOBODY = 2_000_000_009


def event(what: int, *fields: int, at: int = 0) -> bytes:
    return bytes(36) + struct.pack("=IIQ", what, 0, at) + struct.pack(f"={len(fields)}I", *fields).ljust(24, b"\0")


def fork(parent: int, child: int) -> bytes:
    return event(0x1, parent, parent, child, child)


def watched(*messages: bytes) -> CommandWatch:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    watch = CommandWatch(near)
    watch.follow(NSJAIL)
    for message in messages:
        far.send(message)
        watch.drain()
    far.close()
    watch.close()
    return watch


def test_the_program_and_what_it_starts_are_told_but_not_our_own_processes() -> None:
    child = os.getpid()
    watch = watched(
        event(0x2, NSJAIL, NSJAIL),
        fork(NSJAIL, FIRST),
        event(0x2, FIRST, FIRST),
        fork(FIRST, PROGRAM),
        fork(PROGRAM, child),
        event(0x2, child, child, at=1_000_000),
        event(0x80000000, child, child, 3 << 8, 17, at=6_000_000),
    )
    assert [(c.exit_status, c.wall_ms, c.program_controlled) for c in watch.commands] == [(3, 5, False)]
    assert watch.commands[0].path == str(Path("/proc/self/exe").readlink())


def test_processes_of_others_are_nobodys() -> None:
    assert watched(fork(1, PROGRAM), event(0x2, PROGRAM, PROGRAM)).commands == []


def test_a_program_that_is_gone_already_is_unknown_and_a_signal_is_told() -> None:
    watch = watched(
        fork(NSJAIL, FIRST),
        fork(FIRST, PROGRAM),
        event(0x2, PROGRAM, PROGRAM),
        event(0x80000000, PROGRAM, PROGRAM, 9, 17),
    )
    assert [(c.path, c.arguments, c.exit_status) for c in watch.commands] == [("unknown", None, 137)]


def test_an_end_by_the_signal_of_the_processor_limit_is_known_also_where_the_process_is_gone() -> None:
    alive, end = os.getpid(), 24
    above = (fork(NSJAIL, FIRST), fork(FIRST, PROGRAM))
    watch = watched(*above, fork(PROGRAM, alive), event(0x80000000, alive, alive, end, 17))
    assert (watch.burnt.seconds > 0, watch.burnt.unknown) == (True, False)
    gone = 2**22 + 1  # more than Linux gives
    watch = watched(*above, fork(PROGRAM, gone), event(0x80000000, gone, gone, end, 17))
    assert (watch.burnt.seconds, watch.burnt.unknown) == (0.0, True)
    watch = watched(fork(NSJAIL, FIRST), fork(FIRST, gone), event(0x80000000, gone, gone, end, 17))
    assert (watch.burnt.seconds, watch.burnt.unknown) == (0.0, False)  # the program: the first process tells


def test_a_process_lives_until_its_last_thread_has_ended() -> None:
    child = os.getpid()
    thread = 2_000_000_009
    watch = watched(
        fork(NSJAIL, FIRST),
        fork(FIRST, child),
        event(0x1, child, child, thread, child),
        event(0x80000000, child, child, 0, 17),  # its first thread
        event(0x2, child, child),  # started from the other, which has taken the number of the first
        event(0x80000000, child, child, 5 << 8, 17),
        event(0x2, child, child),  # a number that is nobody's any more
    )
    assert [(c.exit_status, c.program_controlled) for c in watch.commands] == [(5, False)]


def test_a_number_that_another_process_got_is_not_the_jails() -> None:
    watch = watched(fork(NSJAIL, FIRST), fork(FIRST, PROGRAM), fork(1, PROGRAM), event(0x2, PROGRAM, PROGRAM))
    assert watch.commands == []
    watch = watched(fork(1, NSJAIL), fork(NSJAIL, FIRST), fork(FIRST, PROGRAM), event(0x2, PROGRAM, PROGRAM))
    assert len(watch.commands) == 1


def test_threads_short_and_odd_messages_do_no_harm() -> None:
    watch = watched(b"", b"x" * 40, event(0x1, NSJAIL, NSJAIL, 5, FIRST), event(0x99, 1, 2), event(0x80000000, 1, 2, 3))
    assert (watch.commands, watch.total, watch.lost) == ([], 0, False)


def test_thousands_of_starts_are_listed_and_beyond_that_they_cost_nothing_but_a_count() -> None:
    starts = Starts("test")
    listed = [starts.begin(NOBODY, 0, parent=0) for _ in range(20_000)]
    assert None not in listed
    tracemalloc.start()
    try:
        for _ in range(100_000):
            assert starts.begin(NOBODY, 0, parent=0) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(starts.commands), starts.total) == (20_000, 120_000)
    assert peak < 64 * 1024


def test_the_list_is_bounded_in_size_too() -> None:
    with subprocess.Popen(["/bin/cat", *["-"] * 5, *["x" * 390] * 18], stdin=subprocess.PIPE) as process:
        starts = Starts("test")
        while starts.begin(process.pid, 0, parent=0) is not None:
            assert len(starts.commands) < 2000
        process.kill()
    size = sum(len(c.path) + sum(map(len, c.arguments or ())) for c in starts.commands)
    assert 5 * 1024 * 1024 < size < 7 * 1024 * 1024
    assert starts.total == len(starts.commands) + 1


def test_what_the_interpreter_told_is_kept_only_where_the_kernel_saw_nothing_of_it() -> None:
    def command(path: str, *arguments: str, kernel: bool = False) -> ObservedCommand:
        return ObservedCommand(
            path=path,
            arguments=arguments,
            source="process_connector" if kernel else "audit_hook",
            program_controlled=not kernel,
        )

    seen = [command("/usr/bin/python3.11", "-c", "pass", kernel=True)]
    told = (command("python3", "-c", "pass"), command("curl", "x"), command("(fork)"))
    assert merge_commands(seen, told) == (seen[0], told[1])
    long = command("/usr/bin/python3.11", *["a" * 399] * 24, kernel=True)
    assert merge_commands([long], (command("python3", *["a" * 399] * 9, "a" * 200 + "…"),)) == (long,)
    assert len(merge_commands(seen, (command("python3"), command("python3", "-c")))) == 3
    many = [command("/usr/bin/python3.11", str(number), kernel=True) for number in range(5000)]
    assert merge_commands(many, (command("python3", "4999"), command("python", "5000"))) == (
        *many,
        command("python", "5000"),
    )
    unknown = replace(seen[0], path="unknown", arguments=None)
    assert merge_commands([unknown], (told[0],)) == (unknown, told[0])


def test_what_the_interpreter_cut_is_found_among_the_kernels_and_the_other_way_round() -> None:
    def command(*arguments: str, more: int = 0) -> ObservedCommand:
        return ObservedCommand(path="x", arguments=arguments, source="", program_controlled=False, more=more)

    pairs = [
        (command("a" * 900, "b"), command("a" * 400 + "…", "b")),
        (command(*map(str, range(3000))), command(*map(str, range(23)), more=2977)),
        (command("a" * 500 + "…", *"b" * 23, more=7), command("a" * 400 + "…", *"b" * 22, more=8)),
        (command("a" * 900, "b" * 900, "c"), command("a" * 400 + "…", "b" * 100 + "…")),
        (command("a", "", ""), command("a", "", "")),
    ]
    for seen, told in pairs:
        assert merge_commands([seen], (told,)) == (seen,)
    different = [
        (command("a", ""), command("a")),
        (command("a" * 900, "b"), command("a" * 399 + "b…", "b")),
        (command("a" * 900, "b"), command("a" * 400 + "…", "b", more=1)),
        (command("a" * 300 + "…"), command("a" * 200)),
    ]
    for seen, told in different:
        assert merge_commands([seen], (told,)) == (seen, told)


def test_every_argument_is_listed_that_there_is_room_for_and_the_others_are_counted() -> None:
    words = ["x" * 1000, *map(str, range(50)), "", "", "y" * 100_000, *["z"] * 4000, ""]
    with subprocess.Popen(["/bin/cat", "-", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        os.write(process.stdin.fileno(), b"it runs")
        assert os.read(process.stdout.fileno(), 7) == b"it runs"
        starts = Starts("test")
        assert starts.begin(process.pid, 0, parent=0) is not None
        process.kill()
    [seen] = starts.commands
    assert seen.arguments is not None
    assert seen.arguments[:54] == ("-", *words[:53])
    assert seen.arguments[54].endswith("y…")
    assert len(seen.arguments[54]) > 90_000
    assert len(seen.arguments) + seen.more == 1 + len(words)


def test_a_start_that_the_kernel_saw_too_late_and_the_interpreter_told_of_is_counted_once() -> None:
    starts = Starts("test")
    assert starts.begin(NOBODY, 0, parent=0) is not None  # gone already: unknown
    assert starts.begin(os.getpid(), 0, parent=0) is not None
    told = tuple(
        ObservedCommand(path="x", arguments=(str(number),), source="audit_hook", program_controlled=True)
        for number in range(3)
    )
    assert count_commands(starts, merge_commands(starts.commands, told[:1])) == 2
    assert count_commands(starts, merge_commands(starts.commands, told)) == 4
