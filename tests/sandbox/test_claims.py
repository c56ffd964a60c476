"""An outside uid is one run's at a time on the whole machine, whichever home of root it belongs to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from custody.errors import SandboxError
from custody.sandbox.claims import Claim, claim_uid
from custody.sandbox.lease import Lease, acquire, sweep_leases

UID = 0x70000000 + 1234
ROOT = Path(__file__).parents[2]

HOLDER = """
import signal, sys
from pathlib import Path
from custody.sandbox.lease import acquire
lease = acquire(Path(sys.argv[1]), root=True, places=(Path(sys.argv[2]),))
print(lease.uid, flush=True)
signal.pause()
"""


def nobody(uid: int) -> list[int]:
    del uid
    return []


def somebody(uid: int) -> list[int]:
    del uid
    return [1]


def claimed(claim: Claim | None) -> Claim:
    assert claim is not None
    return claim


def test_a_uid_that_is_taken_is_not_given_twice(tmp_path: Path) -> None:
    places = (tmp_path / "claims",)
    first = claimed(claim_uid(UID, nobody, places))
    assert claim_uid(UID, nobody, places) is None
    other = claimed(claim_uid(UID + 1, nobody, places))
    first.release(clean=True)
    claimed(claim_uid(UID, nobody, places)).release(clean=True)
    other.release(clean=True)


def test_only_what_was_left_clean_is_given_without_a_look_at_the_processes(tmp_path: Path) -> None:
    places = (tmp_path / "claims",)
    assert claim_uid(UID, somebody, places) is None  # nothing is known of it
    claimed(claim_uid(UID, nobody, places)).release(clean=False)
    assert claim_uid(UID, somebody, places) is None
    claimed(claim_uid(UID, nobody, places)).release(clean=True)
    claimed(claim_uid(UID, somebody, places)).release(clean=True)


def test_homes_whose_ranges_collide_get_different_uids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.sandbox.lease._BLOCKS", 1)
    places = (tmp_path / "claims",)
    leases = [acquire(tmp_path / home, root=True, places=places) for home in ("one", "two", "one", "two")]
    assert len({lease.uid for lease in leases}) == 4
    assert len({lease.name for lease in leases}) == 4
    for lease in leases:
        lease.release()


def test_a_killed_holder_leaves_nothing_taken_and_its_home_is_swept_without_touching_the_next_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custody.sandbox.lease._BLOCKS", 1)
    places = (tmp_path / "claims",)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLDER.replace("lease = ", "import custody.sandbox.lease as l; l._BLOCKS = 1\nlease = "),
            tmp_path / "one",
            places[0],
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert holder.stdout is not None
    with holder:
        uid = int(holder.stdout.readline())
        other: Lease = acquire(tmp_path / "two", root=True, places=places)
        assert other.uid != uid
        other.release()
        holder.send_signal(signal.SIGKILL)
    heir = acquire(tmp_path / "two", root=True, places=places)
    assert heir.uid == uid
    monkeypatch.setattr("custody.sandbox.lease._processes_of", lambda _: [os.getpid()])
    assert sweep_leases(tmp_path / "one", places) == (f"lease of runner {holder.pid}",)
    heir.release()


def test_a_place_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    open_to_all, good = tmp_path / "open", tmp_path / "good"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    claimed(claim_uid(UID, nobody, (open_to_all, good))).release(clean=True)
    assert (good / "uids").stat().st_mode & 0o777 == 0o600
    assert list(open_to_all.iterdir()) == []
    with pytest.raises(SandboxError, match="is not ours alone"):
        claim_uid(UID, nobody, (open_to_all,))


def test_a_link_in_the_place_is_not_followed(tmp_path: Path) -> None:
    place = tmp_path / "claims"
    place.mkdir(mode=0o700)
    target = tmp_path / "target"
    target.write_bytes(b"kept")
    (place / "uids").symlink_to(target)
    with pytest.raises(SandboxError):
        claim_uid(UID, nobody, (place,))
    assert target.read_bytes() == b"kept"
