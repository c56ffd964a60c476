"""Bad input is a clear error before anything starts, and leaves nothing behind."""

import resource
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import CustodyError, LayerError, SandboxError, UsageError
from custody.policies.types import Access, Grant, HostRequest, Limits, MountRequest
from custody.sandbox import JailSettings, Job, Outcome, Sandbox

MakeGrant = Callable[..., Grant]
GRANT = Grant(decision="decision-1", principal="tester", profile="test", limits=Limits(disk_mib=4))


def job_of(code: str | bytes, **fields: object) -> Job:
    source = code.encode() if isinstance(code, str) else code
    return Job(**({"run": "run-1", "code": source, "file_name": "program.py"} | fields))  # type: ignore[arg-type]  # tests pass the right ones


BAD_JOBS: dict[str, tuple[Job, str]] = {
    "too much code": (job_of(b"#" * (1024 * 1024 + 1)), "1048577 bytes"),
    "NUL": (job_of(b"print(1)\0"), "NUL"),
    "climbing name": (job_of("", file_name="../x.py"), "climbs"),
    "name with a folder": (job_of("", file_name="a/x.py"), "directory"),
    "empty name": (job_of("", file_name=""), "empty"),
    "undecodable name": (job_of("", file_name="\udcff.py"), "not UTF-8"),
    "control character": (job_of("", file_name="a\n.py"), "cannot be shown"),
    "long name": (job_of("", file_name="a" * 300), "longer"),
    "out is taken": (job_of("", files=(("out/x", b""),)), "`out`"),
    "absolute input": (job_of("", files=(("/etc/x", b""),)), "not relative"),
    "dotted input": (job_of("", files=(("a/./x", b""),)), "not relative"),
    "input given twice": (job_of("", files=(("a", b""), ("a", b""))), "twice"),
    "input is also a folder": (job_of("", files=(("a/b", b""), ("a", b""))), "also a directory"),
    "input below a file": (job_of("", files=(("a", b""), ("a/b", b""))), "twice"),
    "too much input": (job_of("", files=(("a", b"x" * (5 * 1024 * 1024)),)), "workspace of 4 MiB"),
    "unknown language": (job_of("", language="cobol"), "`cobol`"),
    "argument with NUL": (job_of("", arguments=("a\0b",)), "NUL"),
    "undecodable argument": (job_of("", arguments=("\udcff",)), "not text"),
    "many arguments": (job_of("", arguments=("x" * 70000,)), "65536"),
}


@pytest.mark.parametrize("name", BAD_JOBS)
def test_a_bad_job_is_a_usage_error_that_leaves_nothing(tmp_path: Path, name: str) -> None:
    job, words = BAD_JOBS[name]
    with pytest.raises(UsageError) as caught:
        Sandbox(JailSettings(state=tmp_path / "state")).run(job, GRANT)
    _assert_well_said(caught.value, words)
    assert list(tmp_path.iterdir()) == []


def _mount(path: object, target: str = "data") -> Grant:
    return replace(GRANT, mounts=(MountRequest(path=str(path), access=Access.READ, target=target),))


def test_bad_grants_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "real").mkdir()
    grants: list[tuple[Grant, str]] = [
        (replace(GRANT, decision=""), "decision"),
        (replace(GRANT, hosts=(HostRequest("example.org", 443),)), "network"),
        (replace(GRANT, seccomp="none"), "`none`"),
        (replace(GRANT, seccomp="../x"), "filter"),
        (_mount(tmp_path / "missing"), "does not exist"),
        (_mount(tmp_path / "link"), "resolved"),
        (_mount("relative"), "resolved"),
        (_mount("/run"), "never mounted"),
        (_mount("/proc/1"), "never mounted"),
        (_mount("/"), "never mounted"),
        (_mount(tmp_path / "real", "../x"), "target"),
        (_mount(tmp_path / "real", "a/b"), "target"),
    ]
    for grant, words in grants:
        with pytest.raises(SandboxError) as caught:
            Sandbox(JailSettings(state=tmp_path / "state")).run(job_of("print(1)"), grant)
        _assert_well_said(caught.value, words)
    assert not (tmp_path / "state").exists()


HARD = {name: resource.getrlimit(which)[1] for name, which in (("processes", resource.RLIMIT_NPROC), ("open_files", resource.RLIMIT_NOFILE))}  # fmt: skip
NO_ROOM: dict[str, tuple[Job, dict[str, int], str]] = {
    "each file takes a page": (job_of("", files=tuple((f"{n}", b"x") for n in range(257))), {"disk_mib": 1}, "MiB"),
    "directories are inodes": (job_of("", files=(("d/" * 40 + "x", b""),)), {"files": 43}, "40 directories"),
    "no inode for `out`": (job_of(""), {"files": 2}, "0 files in 0 directories"),
    "no memory": (job_of(""), {"memory_mib": 15}, "`memory_mib` is 15"),
    "no open files": (job_of(""), {"open_files": 7}, "`open_files` is 7"),
    **{f"too much: {name}": (job_of(""), {name: 2**40}, f"`{name}`") for name in Limits.__dataclass_fields__},
    **{
        f"more than the runner itself may: {name}": (job_of(""), {name: hard + 1}, f"`{name}`")
        for name, hard in HARD.items()
        if hard != resource.RLIM_INFINITY
    },
}


@pytest.mark.parametrize("name", NO_ROOM)
def test_limits_in_which_nothing_could_start_are_usage_errors(tmp_path: Path, name: str, grant_of: MakeGrant) -> None:
    job, limits, words = NO_ROOM[name]
    sandbox = Sandbox(JailSettings(state=tmp_path / "state"))
    for entrance in (sandbox.run, sandbox.check):
        with pytest.raises(UsageError) as caught:
            entrance(job, grant_of(**limits))
        _assert_well_said(caught.value, words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.jail
@pytest.mark.parametrize(
    ("job", "limits"),
    [
        (job_of("pass", files=tuple((f"{n}", b"x") for n in range(255))), {"disk_mib": 1, "files": 258}),
        (job_of("pass", files=(("d/" * 40 + "x", b""),)), {"files": 44}),
        (job_of("pass"), {"files": 3, "memory_mib": 16, "open_files": 8, "processes": 1}),
        (job_of("pass"), dict.fromkeys(("wall_seconds", "cpu_seconds", "memory_mib", "disk_mib", "files"), 2**31 - 61)),
        (job_of("pass"), {name: hard - 8 for name, hard in HARD.items() if hard != resource.RLIM_INFINITY}),
    ],
)
def test_what_is_taken_as_possible_starts(
    sandbox: Sandbox,
    unprivileged: Callable[[Sequence[tuple[Job, Grant]]], list[Outcome]],
    job: Job,
    limits: dict[str, int],
    grant_of: MakeGrant,
) -> None:
    ended = (sandbox.run(job, grant_of(**limits)), *unprivileged([(job, grant_of(**limits))]))
    assert [outcome.outcome for outcome in ended] == ["succeeded", "succeeded"], [o.explanation for o in ended]


@pytest.mark.parametrize("name", ["wall_seconds", "memory_mib", "processes", "artefacts"])
def test_a_limit_of_nothing_is_refused(tmp_path: Path, name: str, grant_of: MakeGrant) -> None:
    with pytest.raises(UsageError, match=name):
        Sandbox(JailSettings(state=tmp_path / "state")).run(job_of(""), grant_of(**{name: 0}))


def test_a_missing_nsjail_interpreter_or_environment_is_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "nsjail"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    state = tmp_path / "state"
    cases = [
        (Sandbox(JailSettings(state=state, nsjail=tmp_path / "absent")), job_of(""), "cannot be read"),
        (Sandbox(JailSettings(state=state, nsjail=script)), job_of(""), "not a program"),
        (Sandbox(JailSettings(state=state, python=tmp_path / "absent")), job_of(""), "does not answer"),
        (Sandbox(JailSettings(state=state)), job_of("", environment=tmp_path / "absent"), "not a directory"),
    ]
    for sandbox, job, words in cases:
        with pytest.raises(SandboxError) as caught:
            sandbox.run(job, GRANT)
        _assert_well_said(caught.value, words)
    assert not state.exists()


def test_a_state_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError) as caught:
        Sandbox(JailSettings(state=tmp_path / "file")).run(job_of(""), GRANT)
    _assert_well_said(caught.value, "state directory")


def test_the_layers_of_a_machine_without_a_jail_are_all_missing_with_the_cause(tmp_path: Path) -> None:
    layers = Sandbox(JailSettings(state=tmp_path, nsjail=tmp_path / "absent")).layers()
    assert {layer.state for layer in layers} == {"missing"}
    assert all("cannot be read" in layer.cause and layer.cure for layer in layers)


def test_a_demanded_layer_names_cause_and_cure(tmp_path: Path) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path, nsjail=tmp_path / "absent"))
    with pytest.raises(LayerError) as caught:
        sandbox.run(job_of(""), replace(GRANT, layers=("seccomp",)))
    _assert_well_said(caught.value, "`seccomp`")


def _assert_well_said(error: CustodyError, words: str) -> None:
    assert words in error.message
    assert "\n" not in error.message
    assert not error.message.endswith(".")
    assert error.hint
