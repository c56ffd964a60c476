"""Control groups of version 2, against recorded files."""

from pathlib import Path

import pytest

from custody.sandbox.groups import Counters, GroupError
from custody.sandbox.unified import UnifiedGroup, find_delegated


def recorded(tmp_path: Path, own: str, *, handing_down: str) -> tuple[Path, Path]:
    """A machine's mounts and a process's groups, with one directory that hands controllers down."""
    mounts, groups = tmp_path / "mounts", tmp_path / "own"
    mounts.write_text(f"proc /proc proc rw 0 0\ncgroup2 {tmp_path}/fs cgroup2 rw 0 0\n")
    groups.write_text(f"0::{own}\n")
    (tmp_path / "fs" / own.lstrip("/")).mkdir(parents=True)
    for folder in (tmp_path / "fs", *(tmp_path / "fs").rglob("*")):
        (folder / "cgroup.subtree_control").write_text(
            "cpu memory pids\n" if str(folder).endswith(handing_down) else "\n"
        )
    return mounts, groups


def test_the_nearest_directory_that_hands_controllers_down_is_taken(tmp_path: Path) -> None:
    files = recorded(tmp_path, "/user.slice/app.service", handing_down="user.slice")
    assert find_delegated(*files) == tmp_path / "fs" / "user.slice"


def test_nothing_is_taken_where_nothing_is_handed_down(tmp_path: Path) -> None:
    assert find_delegated(*recorded(tmp_path, "/user.slice/app.service", handing_down="nowhere")) is None


def test_a_group_outside_the_mounted_tree_is_not_used(tmp_path: Path) -> None:
    mounts, own = recorded(tmp_path, "/a", handing_down="fs")
    own.write_text("0::/../b\n")
    assert find_delegated(mounts, own) is None


def test_limits_are_written_processes_moved_and_counts_read(tmp_path: Path) -> None:
    group = UnifiedGroup.make_below("run", tmp_path, memory_mib=64, processes=10)
    path = tmp_path / "run"
    assert (path / "memory.max").read_text() == "67108864"
    assert (path / "pids.max").read_text() == "12"
    group.adopt((42,))
    assert (path / "cgroup.procs").read_text() == "42"
    for name, content in {
        "memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 0\n",
        "memory.peak": "67108864\n",
        "pids.events": "max 3\n",
        "pids.peak": "12\n",
        "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
    }.items():
        (path / name).write_text(content)
    assert group.counters() == Counters(
        oom_kills=2, memory_peak=67108864, process_refusals=3, process_peak=12, cpu_ns=1_500_000
    )


def test_a_directory_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GroupError, match="file"):
        UnifiedGroup.make_below("run", tmp_path / "file", memory_mib=64, processes=10)
