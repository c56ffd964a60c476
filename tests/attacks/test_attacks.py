"""Each attack is blocked and leaves its record; with the one layer named in its header removed, the same program succeeds.

A program in tests/programs/attacks says `SUCCESS` or `blocked`. Its header names the layer (`none` where no single layer
can be taken away and a jail still started) and the record that it must leave.
"""

import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from custody.policies.types import Grant, Limits
from custody.sandbox import JailSettings, Job, Outcome, OutcomeClass, Sandbox
from custody.sandbox.spec import Bind, JailSpec, Proc, Tmpfs

pytestmark = pytest.mark.jail

PROGRAMS = Path(__file__).resolve().parents[1] / "programs" / "attacks"
ATTACKS = sorted(PROGRAMS.glob("*/*.py"))
LIMITS = Limits(
    wall_seconds=8,
    cpu_seconds=8,
    memory_mib=96,
    processes=16,
    output_kib=64,
    disk_mib=4,
    files=128,
    open_files=64,
    artefact_mib=1,
    artefacts=8,
)
ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class Bait:
    """What lies on the host for the attacks to reach."""

    secret: Path
    port: int
    name: str

    def arguments(self, attack: str) -> tuple[str, ...]:
        return {
            "host_temporary": (str(self.secret),),
            "host_loopback": (str(self.port),),
            "abstract_socket": (self.name,),
            "host_name": (socket.gethostname(),),
        }.get(attack, ())


@dataclass(frozen=True)
class Header:
    layer: str
    record: str


@pytest.fixture(scope="module")
def bait(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bait]:
    folder = tmp_path_factory.mktemp("bait")
    secret = folder / "secret"
    secret.write_text("a secret of the host")
    name = f"custody-attack-{secrets.token_hex(8)}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        yield Bait(secret, server.getsockname()[1], name)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def header_of(path: Path) -> Header:
    text = path.read_text()
    found = re.search(r"^# layer: (.*)\n# record: (.*)$", text, re.MULTILINE)
    assert found is not None, f"{path.name} has no header"
    return Header(found[1], found[2])


def run(sandbox: Sandbox, path: Path, bait: Bait) -> Outcome:
    job = Job(run="attack", code=path.read_bytes(), file_name=path.name, arguments=bait.arguments(path.stem))
    return sandbox.run(job, Grant(decision="d", principal="attacker", profile="test", limits=LIMITS))


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", ATTACKS, ids=name_of)
def test_the_attack_is_blocked_and_recorded(
    path: Path, state: Path, bait: Bait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTODY_TEST_SECRET", "bait")
    header = header_of(path)
    if header.layer == "cgroup" and not ROOT:
        pytest.skip("control groups need root or delegation: run as root on a machine with v1 controllers")
    outcome = run(Sandbox(JailSettings(state=state)), path, bait)
    assert b"SUCCESS" not in outcome.stdout.content
    assert (
        outcome.stdout.content.startswith(b"blocked")
        or outcome.limits_hit
        or outcome.outcome is OutcomeClass.VIOLATED_POLICY
    ), outcome.explanation
    assert outcome.outcome is not OutcomeClass.INFRASTRUCTURE_ERROR, outcome.explanation
    _assert_recorded(header, outcome)


@pytest.mark.parametrize("path", [path for path in ATTACKS if header_of(path).layer != "none"], ids=name_of)
def test_without_the_layer_the_attack_succeeds(path: Path, state: Path, bait: Bait) -> None:
    layer = header_of(path).layer
    if not ROOT:
        pytest.skip("the controls take layers away as root: run as root")
    sandbox = Sandbox(JailSettings(state=state, cgroups=False if layer == "cgroup" else None))
    sandbox._alter = lambda spec: CONTROLS[layer](spec, bait)
    outcome = run(sandbox, path, bait)
    assert b"SUCCESS" in outcome.stdout.content, (outcome.explanation, outcome.stdout.content, outcome.stderr.content)


def test_an_exit_is_not_forged(state: Path, bait: Bait) -> None:
    for name, code in (("log_lines", 7), ("relay_words", 9)):
        outcome = run(Sandbox(JailSettings(state=state)), PROGRAMS / "forging" / f"{name}.py", bait)
        assert (outcome.outcome, outcome.exit_code) == (OutcomeClass.FAILED, code)
        assert "Couldn't launch" not in outcome.log_excerpt


def test_forged_records_are_marked_as_the_programs_own(state: Path, bait: Bait) -> None:
    outcome = run(Sandbox(JailSettings(state=state)), PROGRAMS / "forging" / "records.py", bait)
    assert all(attempt.program_controlled for attempt in outcome.egress)
    assert any("lost, unreadable" in sentence for sentence in outcome.unobserved)


def test_nothing_that_a_link_points_at_comes_out(state: Path, bait: Bait) -> None:
    for name in ("links", "swapped_folder"):
        outcome = run(Sandbox(JailSettings(state=state)), PROGRAMS / "artefacts" / f"{name}.py", bait)
        assert outcome.artefacts == ()


def test_names_that_cannot_be_shown_are_refused(state: Path, bait: Bait) -> None:
    outcome = run(Sandbox(JailSettings(state=state)), PROGRAMS / "artefacts" / "odd_names.py", bait)
    assert outcome.artefacts == ()
    assert len(outcome.refused_artefacts) == 5
    assert all(refused.name.isascii() and refused.name.isprintable() for refused in outcome.refused_artefacts)


def test_nothing_of_one_run_is_there_in_the_next(state: Path) -> None:
    grant = Grant(decision="d", principal="attacker", profile="test", limits=LIMITS)
    leave = b"for d in ('/tmp', '/work', '/dev/shm', '/work/out'): open(d + '/left', 'w').write('x')"
    look = b"import os; print([d for d in ('/tmp', '/work', '/dev/shm', '/work/out') if os.path.exists(d + '/left')])"
    sandbox = Sandbox(JailSettings(state=state))
    sandbox.run(Job(run="1", code=leave, file_name="a.py"), grant)
    assert sandbox.run(Job(run="2", code=look, file_name="b.py"), grant).stdout.content == b"[]\n"


def _assert_recorded(header: Header, outcome: Outcome) -> None:
    kind, _, what = header.record.partition(" ")
    match kind:
        case "none":
            return
        case "file":
            assert what in {file.path for file in outcome.files}
        case "egress":
            assert any(what in attempt.host for attempt in outcome.egress)
        case "command":
            assert what in {command.path for command in outcome.commands}
        case "limit":
            assert what in outcome.limits_hit
        case "refused":
            assert any(what in f"{refused.name} {refused.reason}" for refused in outcome.refused_artefacts)
        case "syscall":
            if "kernel_audit" in outcome.layers:
                assert any(call.name.startswith(what) for call in outcome.syscalls), outcome.syscalls
            else:
                assert any("refused system calls are not observed" in sentence for sentence in outcome.unobserved)
        case _:
            raise AssertionError(header)


def _without(namespace: str) -> Callable[[JailSpec, Bait], JailSpec]:
    return lambda spec, _: replace(spec, namespaces=tuple(name for name in spec.namespaces if name != namespace))


def _with_host_mounts(spec: JailSpec, bait: Bait) -> JailSpec:
    # a namespace of mounts as careless jails have it: the host's /etc, devices and temporary files
    kept = tuple(m for m in spec.mounts if not m.target.startswith(("/etc", "/dev/", "/tmp")))
    bait.secret.parent.chmod(0o755)
    hosts = (
        Bind(Path("/etc"), "/etc"),
        Bind(Path("/dev"), "/dev", device=True),
        Bind(bait.secret.parent, str(bait.secret.parent)),
    )
    return replace(spec, mounts=(*kept, *hosts))


def _with_full_proc(spec: JailSpec, _: Bait) -> JailSpec:
    return replace(spec, mounts=tuple(Proc(options="") if isinstance(m, Proc) else m for m in spec.mounts))


def _with_much_disk(spec: JailSpec, _: Bait) -> JailSpec:
    roomy = tuple(
        replace(m, size_bytes=64 * 1024 * 1024, inodes=8192) if isinstance(m, Tmpfs) and m.writable else m
        for m in spec.mounts
    )
    return replace(spec, mounts=roomy)


CONTROLS: dict[str, Callable[[JailSpec, Bait], JailSpec]] = {
    "seccomp": lambda spec, _: replace(spec, seccomp=""),
    "proc": _with_full_proc,
    "network_namespace": _without("net"),
    "uts_namespace": _without("uts"),
    "mounts": _with_host_mounts,
    "disk": _with_much_disk,
    "rlimits": lambda spec, _: replace(spec, rlimits=replace(spec.rlimits, open_files=4096)),
    "cgroup": lambda spec, _: replace(spec, rlimits=replace(spec.rlimits, address_space_mib=None)),
}
