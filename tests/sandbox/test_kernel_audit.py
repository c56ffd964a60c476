"""Kernel audit records are attributed by the run's own outside uid."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from custody.sandbox.audit import AuditReader, Denial, _Silence, fold_denials
from custody.sandbox.sources import Sources
from custody.sandbox.syscalls import syscall_name

UID = 0x70000001


def record(
    uid: int = UID, number: int = 101, sig: int = 31, comm: str = '"python3"', arch: str = "c000003e", kind: int = 1326
) -> bytes:
    text = f'audit(1795424112.847:316): auid=1 uid={uid} gid=1 ses=1 pid=9 comm={comm} exe="/x" sig={sig} arch={arch} syscall={number} compat=0 ip=0x7 code=0x80000000'
    return len(text).to_bytes(4, "little") + kind.to_bytes(2, "little") + bytes(10) + text.encode()


def read(*messages: bytes) -> AuditReader:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    reader = AuditReader(near, UID)
    for message in messages:
        far.send(message)
        reader.drain()
    far.close()
    reader.close()
    return reader


def test_only_records_of_the_filter_and_of_the_uid_count() -> None:
    reader = read(record(), record(uid=UID + 1), record(uid=1000), record(kind=1300), b"short", record())
    assert reader.counts == {Denial(101, "ptrace", True, "python3"): 2}
    assert not reader.lost


def test_a_process_name_of_odd_bytes_is_decoded() -> None:
    assert next(iter(read(record(comm="FF0A41")).counts)).command == "\ufffd\nA"


def test_the_32_bit_abi_is_called_by_its_architecture() -> None:
    assert next(iter(read(record(arch="40000003", number=20)).counts)).name == "arch 40000003"


def test_killing_denials_come_first_and_probes_of_libraries_are_left_out() -> None:
    folded = fold_denials(
        {Denial(41, "socket", False, "p"): 3, Denial(435, "clone3", False, "p"): 9, Denial(101, "ptrace", True, "p"): 1}
    )
    assert [(d.name, d.action, d.count) for d in folded] == [("ptrace", "killed", 1), ("socket", "refused", 3)]


def test_past_a_number_of_kinds_records_are_lost_and_that_is_said() -> None:
    reader = read(*(record(number=n % 300, comm=f'"p{n}"', sig=0) for n in range(250)))
    assert len(reader.counts) == 200
    assert reader.lost


def test_however_many_kinds_are_refused_the_call_that_kills_is_told() -> None:
    reader = read(*(record(number=41, comm=f'"p{n}"', sig=0) for n in range(250)), record())
    assert reader.counts[Denial(101, "ptrace", True, "python3")] == 1
    reader = read(*(record(comm=f'"p{n}"') for n in range(500)))
    assert (len(reader.counts), reader.lost) == (400, True)


def test_names_of_calls() -> None:
    assert [syscall_name(n) for n in (0, 59, 101, 334, 435, 9999, -1)] == [
        "read",
        "execve",
        "ptrace",
        "rseq",
        "clone3",
        "unknown",
        "unknown",
    ]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AuditReader]]:
    """Makes readers of a kernel that has these messages on their way when it takes a mark, which comes behind them, if at all."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    with ThreadPoolExecutor(1) as pool:

        def make(messages: list[bytes], *, delivers: bool = True) -> AuditReader:
            def send(mark: bytes) -> bool:
                behind = [b"x" * 4 + (1107).to_bytes(2, "little") + bytes(10) + mark] if delivers else []
                pool.submit(lambda: list(map(far.send, [*messages, *behind])))
                return True

            monkeypatch.setattr("custody.sandbox.audit._send_mark", send)
            monkeypatch.setattr("custody.sandbox.audit._kernel_drops_nothing", lambda: True)
            return AuditReader(near, UID)

        yield make
    near.close()
    far.close()


def test_all_that_was_recorded_before_the_end_of_a_run_is_taken_over_however_much_it_is(
    kernel: Callable[..., AuditReader],
) -> None:
    reader = kernel([*[record(number=41, sig=0)] * 3500, record()])
    Sources(audit=reader).finish()
    assert (sum(reader.counts.values()), reader.complete, reader.lost) == (3501, True, False)
    assert Denial(101, "ptrace", True, "python3") in reader.counts


def test_where_the_mark_of_the_end_does_not_come_records_are_lost(
    kernel: Callable[..., AuditReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custody.sandbox.audit._SETTLE_SECONDS", 0.05)
    reader = kernel([record()], delivers=False)
    Sources(audit=reader).finish()
    assert (len(reader.counts), reader.complete, reader.lost) == (1, False, True)


def test_records_of_a_run_that_is_over_are_not_the_next_ones(kernel: Callable[..., AuditReader]) -> None:
    reader = kernel([record()] * 1500)
    assert (reader.begin(), reader.prove()) == ("", "")
    assert reader.counts == {}


def test_records_of_a_run_that_is_over_do_not_belong_to_a_jail_that_never_got_ready(
    kernel: Callable[..., AuditReader],
) -> None:
    reader = kernel([record()] * 20)
    assert reader.begin() == ""
    kernel([])
    Sources(audit=reader).finish()
    assert (reader.counts, reader.complete, reader.lost) == ({}, True, False)


def test_a_kernel_that_delivers_nothing_is_not_believed(
    kernel: Callable[..., AuditReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custody.sandbox.audit._PROOF_SECONDS", 0.05)
    monkeypatch.setattr(_Silence, "until", 0.0)
    reader = kernel([], delivers=False)
    sources = Sources(audit=reader)
    assert reader.begin() == ""
    sources.follow(1)
    assert (sources.audit, sources.silent) == (None, reader)
    assert "does not deliver" in sources.missing(("kernel_audit",))
    assert sources.missing(("own_uid",)) == ""
