"""Records of the program's interpreter are hostile: bounded, and never more than what the program let us see."""

from hypothesis import given
from hypothesis import strategies as st

from custody.sandbox.observe import Recorder


def line(*fields: object) -> bytes:
    return "\x1f".join(map(str, fields)).encode() + b"\n"


def test_counts_are_the_highest_of_each_process_added_up() -> None:
    recorder = Recorder()
    for process, count in ((5, 1), (5, 4), (6, 2), (5, 3)):
        recorder.feed(line(process, count, "egress", "socket.connect", "example.org", 25))
    observed = recorder.finish()
    assert [(e.host, e.port, e.count, e.allowed, e.program_controlled) for e in observed.egress] == [
        ("example.org", 25, 6, False, True)
    ]
    assert not observed.lost


def test_a_name_that_was_only_looked_up_is_told_once_with_its_port() -> None:
    recorder = Recorder()
    recorder.feed(
        line(5, 1, "egress", "socket.gethostbyname", "example.org", 0)
        + line(5, 1, "egress", "socket.getaddrinfo", "example.org", "https")
    )
    assert [(e.host, e.port) for e in recorder.finish().egress] == [("example.org", 443)]


def test_records_in_pieces_are_put_together() -> None:
    recorder = Recorder()
    for byte in line(5, 1, "file", "open", "/etc/shadow"):
        recorder.feed(bytes([byte]))
    assert [f.path for f in recorder.finish().files] == ["/etc/shadow"]


def test_control_characters_do_not_come_through() -> None:
    recorder = Recorder()
    recorder.feed(line(5, 1, "command", "os.exec", "/bin/x\x1b[31m", "\u202e", "\0"))
    (command,) = recorder.finish().commands
    assert all(text.isprintable() for text in (command.path, *(command.arguments or ())))


def test_lists_are_capped_and_totals_are_true() -> None:
    recorder = Recorder()
    for number in range(500):
        recorder.feed(line(5, 1, "file", "open", f"/etc/{number}"))
    observed = recorder.finish()
    assert (len(observed.files), observed.totals["files"]) == (200, 500)


def test_a_flood_of_kinds_is_given_up_and_said() -> None:
    recorder = Recorder()
    for number in range(5000):
        recorder.feed(line(5, 1, "file", "open", f"/{number}"))
    assert recorder.finish().lost


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_are_too_odd(parts: list[bytes]) -> None:
    recorder = Recorder()
    for part in parts:
        recorder.feed(part)
    observed = recorder.finish()
    assert all(e.program_controlled for e in observed.egress)


def test_a_line_without_an_end_costs_bounded_memory() -> None:
    recorder = Recorder()
    for _ in range(100):
        recorder.feed(b"x" * 10000)
    assert recorder.finish().lost
    assert len(recorder._rest) <= 10000 + 4096
