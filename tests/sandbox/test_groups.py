"""Control groups: which ones the runner may use, and what the kernel's counters say."""

from pathlib import Path

from custody.sandbox.groups import Counters, Groups, find_parents

MOUNTS = """sysfs /sys sysfs rw 0 0
cgroup {root}/memory cgroup rw,relatime,memory 0 0
cgroup {root}/pids cgroup rw,relatime,pids 0 0
cgroup {root}/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup2 {root}/unified cgroup2 rw,relatime 0 0
"""
OWN = "4:memory:/user/1\n3:pids:/gone\n2:cpu,cpuacct:/../outside\n0::/\n"


def test_parents_are_the_groups_that_the_runner_is_in(tmp_path: Path) -> None:
    (tmp_path / "memory" / "user" / "1").mkdir(parents=True)
    for name in ("pids", "cpu,cpuacct"):
        (tmp_path / name).mkdir()
    mounts, own = tmp_path / "mounts", tmp_path / "own"
    mounts.write_text(MOUNTS.format(root=tmp_path))
    own.write_text(OWN)
    assert find_parents(mounts, own) == {
        "memory": tmp_path / "memory" / "user" / "1",
        "pids": tmp_path / "pids",
        "cpu": tmp_path / "cpu,cpuacct",
        "cpuacct": tmp_path / "cpu,cpuacct",
    }


def test_a_machine_with_v2_only_has_no_parents(tmp_path: Path) -> None:
    mounts, own = tmp_path / "mounts", tmp_path / "own"
    mounts.write_text("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    own.write_text("0::/user.slice\n")
    assert find_parents(mounts, own) == {}


def test_counters_are_read_from_the_kernels_files(tmp_path: Path) -> None:
    files = {
        "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        "memory/memory.max_usage_in_bytes": "67108864\n",
        "pids/pids.events": "max 9\n",
        "pids/pids.peak": "12\n",
        "cpuacct/cpuacct.usage": "1500000000\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    groups = Groups({name: tmp_path / name for name in ("memory", "pids", "cpuacct")})
    assert groups.counters() == Counters(
        oom_kills=2, memory_peak=67108864, process_refusals=9, process_peak=12, cpu_ns=1_500_000_000
    )


def test_a_kernel_that_does_not_count_gives_none(tmp_path: Path) -> None:
    assert Groups({"memory": tmp_path, "pids": tmp_path, "cpuacct": tmp_path}).counters() == Counters()
