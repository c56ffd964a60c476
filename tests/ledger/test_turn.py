"""Waiting for the turn: in the order of arrival, for so long and no longer, whatever others left behind."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from custody.errors import LedgerError
from custody.ledger.turn import _ahead, _draw, _open, _Wait, taking_turn

HOLD = """
import sys
from pathlib import Path
from custody.ledger.turn import taking_turn
with taking_turn(Path(sys.argv[1]), 5):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that has the turn."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_turns_come_in_the_order_of_arrival(tmp_path: Path) -> None:
    order: list[int] = []
    threads = []

    def take(number: int) -> None:
        with taking_turn(tmp_path, 20):
            order.append(number)

    with taking_turn(tmp_path, 5):
        drawn = int.from_bytes((tmp_path / "queue.lock").read_bytes(), "little")
        for number in range(8):
            thread = threading.Thread(target=take, args=(number,))
            thread.start()
            threads.append(thread)
            while int.from_bytes((tmp_path / "queue.lock").read_bytes(), "little") <= drawn + number:
                os.sched_yield()
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_a_waiting_process_that_dies_gives_its_place_back(tmp_path: Path) -> None:
    first = hold(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    with taking_turn(tmp_path, 5):
        pass


def test_the_wait_is_bounded_and_who_gave_up_is_in_nobodys_way(tmp_path: Path) -> None:
    other = hold(tmp_path)
    with pytest.raises(LedgerError, match=r"waited 0\.05 seconds"), taking_turn(tmp_path, 0.05):
        pass
    other.communicate()
    with taking_turn(tmp_path, 5):
        pass


@pytest.mark.parametrize("left", [b"", b"x", b"\xff" * 8, bytes(8), b"\xff" * 100])
def test_whatever_stands_in_the_counter_the_turn_is_for_one_alone(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "queue.lock").write_bytes(left)
    other = hold(tmp_path)
    (tmp_path / "queue.lock").write_bytes(left)
    with pytest.raises(LedgerError), taking_turn(tmp_path, 0.05):
        pass
    other.communicate()
    with taking_turn(tmp_path, 5):
        pass


def test_a_number_is_drawn_by_one_alone_even_if_the_counter_goes_back(tmp_path: Path) -> None:
    queues = [_open(str(tmp_path / "queue.lock")) for _ in range(3)]
    try:
        numbers = []
        for queue in queues:
            (tmp_path / "queue.lock").write_bytes(b"")
            numbers.append(_draw(queue, _Wait(1)))
        assert len(set(numbers)) == 3
        assert [_ahead(queue, number) > 0 for queue, number in zip(queues, numbers, strict=True)] == [False, True, True]
    finally:
        for queue in queues:
            os.close(queue)
