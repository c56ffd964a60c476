"""Bad input is refused before there is a run, and changes nothing."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import Exit, LedgerError, UsageError
from custody.flows.conduct import run_directly
from custody.flows.house import House, open_house
from custody.flows.intake import receive, resolve_mounts
from custody.flows.passage import Conductor
from custody.policies.types import Access, HostRequest, InputFile, Limits, MountRequest
from tests.conftest import MakeHome

from .conftest import SMALL, Ask

BAD: dict[str, tuple[dict[str, object], str]] = {
    "code over 1 MiB": ({"code": b"#" * (2**20 + 1)}, "more than 1 MiB"),
    "NUL bytes": ({"code": b"print(1)\0"}, "NUL"),
    "empty": ({"code": b" \n"}, "nothing"),
    "unknown language": ({"language": "cobol"}, "no runtime"),
    "file name with a folder": ({"file_name": "../x.py"}, "not a file name"),
    "file name with a control character": ({"file_name": "a\x1b.py"}, "not a file name"),
    "unknown profile": ({"profile": "lax"}, "no profile"),
    "a limit beyond the profile": ({"limits": Limits(wall_seconds=601)}, "ask for at most 600"),
    "limit of 0": ({"limits": Limits(wall_seconds=0)}, "at least 1"),
    "host with a space": ({"hosts": (HostRequest("a b", 443),)}, "host and port"),
    "port 0": ({"hosts": (HostRequest("a.example", 0),)}, "host and port"),
    "input file that climbs": ({"files": (InputFile("../x", b""),)}, "input file"),
    "absolute input file": ({"files": (InputFile("/etc/passwd", b""),)}, "input file"),
    "input file in place of the outputs": ({"files": (InputFile("out", b""),)}, "input file"),
    "two input files of one name": ({"files": (InputFile("a", b""), InputFile("a", b""))}, "same name"),
    "input file in place of the program": ({"files": (InputFile("program.py", b""),)}, "same name"),
    "argument that is no text": ({"arguments": ("\udc80",)}, "not text"),
    "argument with NUL": ({"arguments": ("a\0b",)}, "not text"),
    "too many arguments": ({"arguments": ("x",) * 201}, "too many"),
    "too long arguments": ({"arguments": ("\u00e9" * 40_000,)}, "too many"),
    "unpinned requirements": ({"requirements": b"requests\n"}, "requirements"),
    "requirements with options": ({"requirements": b"--index-url http://evil\n"}, "requirements"),
    "declared package that is not in the lock": ({"declared": ("requests",)}, "requests"),
    "program in place of the outputs": ({"file_name": "out"}, "not a file name"),
    "program whose name reads backwards": ({"file_name": "a\u202eyp.b"}, "not a file name"),
    "input file whose name cannot be seen": ({"files": (InputFile("a\u200b", b""),)}, "input file"),
    "more input than the workspace holds": (
        {"files": (InputFile("a", b"x" * 2**20),), "limits": Limits(disk_mib=1)},
        "workspace of 1 MiB",
    ),
    "fewer files than are given": (
        {"files": tuple(InputFile(name, b"") for name in "abc"), "limits": Limits(files=6)},
        "at least 7",
    ),
    "memory for no interpreter": ({"limits": Limits(memory_mib=15)}, "at least 16"),
    "open files for no interpreter": ({"limits": Limits(open_files=7)}, "at least 8"),
    "mount of the root": ({"mounts": (MountRequest("/", Access.READ, "root"),)}, "custody's own home"),
    "two mounts of one name": (
        {"mounts": (MountRequest("/srv/a/x", Access.READ, "x"), MountRequest("/srv/b/x", Access.READ, "x"))},
        "same name",
    ),
    "mount with an odd name": ({"mounts": (MountRequest("/etc", Access.READ, "../x"),)}, "mount"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_usage_error_and_leaves_nothing(house: House, ask: Ask, case: str) -> None:
    changes, words = BAD[case]
    before = house.ledger.size
    with pytest.raises(UsageError) as caught:
        receive(house, ask(**changes), conductor=Conductor.DIRECT)
    assert caught.value.exit_code == Exit.USAGE
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert house.ledger.size == before
    assert not house.places.owners.exists() or list(house.places.owners.iterdir()) == []


@pytest.mark.parametrize("part", ["", "keys", "ledger", "..", "environments/x"])
@pytest.mark.parametrize("access", list(Access))
def test_no_part_of_the_home_is_ever_mounted(house: House, ask: Ask, part: str, access: Access) -> None:
    path = Path(os.path.normpath(house.settings.home / part))
    before = house.ledger.size
    with pytest.raises(UsageError, match="cannot be mounted: custody's own home"):
        receive(house, ask(mounts=(MountRequest(str(path), access, "x"),)), conductor=Conductor.DIRECT)
    assert house.ledger.size == before


@pytest.mark.jail
@pytest.mark.parametrize(
    "changes", [{"memory_mib": 16}, {"open_files": 8}, {"files": 5}, {"disk_mib": 1}, {"processes": 1}]
)
def test_the_least_limits_that_are_taken_let_a_program_start(house: House, ask: Ask, changes: dict[str, int]) -> None:
    request = ask(files=(InputFile("data", b"x"),), limits=replace(SMALL, **changes))
    assert run_directly(house, request).exit_code == Exit.DONE


def test_the_submission_is_durable_before_anything_is_decided(
    house: House, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    original = type(house.gate).submit

    def look(*arguments: object, **named: object) -> object:
        seen.append([entry.kind for entry in house.ledger.entries(newest_first=True)][:1])
        return original(*arguments, **named)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(type(house.gate), "submit", look)
    receive(house, ask(), conductor=Conductor.DIRECT)
    assert seen == [["run:submitted"]]


def test_too_little_disk_refuses_before_the_log_fails(make_home: MakeHome, ask: Ask) -> None:
    settings = make_home("full", configuration="\n[ledger]\ndisk_reserve_mib = 1000000000\n")
    with open_house(settings) as house:
        before = house.ledger.size
        with pytest.raises(LedgerError) as caught:
            receive(house, ask(), conductor=Conductor.DIRECT)
        assert caught.value.exit_code == Exit.LEDGER
        assert house.ledger.size == before


def test_a_mount_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="not there"):
        resolve_mounts([MountRequest("/no/such/path", Access.READ, "path")])


def test_mounts_are_judged_by_their_real_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mounts")
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    (found,) = resolve_mounts([MountRequest(str(folder / "link"), Access.READ, "data")])
    assert found.path == str(folder / "real")


def test_the_largest_request_that_is_taken_fits_into_its_entry(house: House, ask: Ask) -> None:
    wide = "\U00020000"
    code = "".join(f"import {wide * 12}{i}\nopen('/{chr(0x20000) * 90}{i}')\n" for i in range(60))
    request = ask(
        code,
        file_name=wide * 29,
        files=tuple(InputFile(wide * 29 + str(i), b"x") for i in range(30)),
        hosts=tuple(HostRequest(".".join(["a" * 60] * 4) + str(i), 1) for i in range(16)),
        mounts=tuple(MountRequest("/" + "\x01" * 3000, Access.READ, "a" * 50 + str(i)) for i in range(8)),
        purpose="\x01" * 1000,
        ticket="\x01" * 1000,
    )
    passage = receive(house, request, conductor=Conductor.DIRECT)
    submitted = next(house.ledger.entries(run=passage.run))
    assert submitted.kind == "run:submitted"
    assert 16 * 1024 < len(submitted.leaf) <= 32 * 1024
