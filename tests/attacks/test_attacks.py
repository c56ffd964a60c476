"""Each attack is blocked and leaves its record; with the one layer named in its header removed, the same program succeeds.

Both as whoever runs the tests, and as an unprivileged user.
"""

import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.sandbox import JailSettings, Job, Outcome, OutcomeClass, Sandbox
from tests.attacks.cases import CONTROLS, ELSEWHERE, LIMITS, Attack, Bait, carry_out, read_attack, succeeded
from tests.sandbox.another_user import ask, furnish

pytestmark = pytest.mark.jail

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
ATTACKS = [
    read_attack(path)
    for path in sorted((PROGRAMS / "attacks").glob("*/*.py"))
    if path.stem not in {"listen", "leave"}  # what runs beside and before
]
GROUPS = (
    "information", "files", "system_calls", "processes", "resources", "network", "interference", "persistence", "artefacts",
    "forging",
)  # fmt: skip
ROOT = os.geteuid() == 0
NEEDS_GROUPS = {"cgroup"}
"""Without control groups, memory is limited for each process: these attacks then succeed, and doctor says that the layer is missing."""
OURS = [attack for attack in ATTACKS if ROOT or attack.layer not in NEEDS_GROUPS]
NOBODYS = [attack for attack in ATTACKS if attack.layer not in NEEDS_GROUPS]
NEEDS_A_UID = {"pid_namespace"}
"""Without a process namespace the end of a run kills every process of its uid: only root gives a run one of its own."""

Outcomes = dict[tuple[str, str], Outcome]


@pytest.fixture(scope="module")
def bait() -> Iterator[Bait]:
    # pytest's own directories cannot be entered by another user; files below /tmp are the program's own business in a jail
    folder = Path(tempfile.mkdtemp(prefix="custody-bait-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        with _listening(folder) as found:
            yield found
    finally:
        shutil.rmtree(folder)


class _listening:  # noqa: N801 - a context
    def __init__(self, folder: Path) -> None:
        for name, mode in (("granted", 0o777), ("secret", 0o755), ("shared", 0o1777), ("environment", 0o1777)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)
        self._folder = folder
        self._name = f"custody-attack-{secrets.token_hex(8)}"
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Bait:
        secret = self._folder / "secret" / "secret"
        secret.write_text("a secret of the host")
        secret.chmod(0o644)
        granted = self._folder / "granted"
        (granted / "file").write_text("given")
        (granted / "file").chmod(0o666)
        (granted / "way-out").symlink_to(secret)
        address = _own_address()
        loopback, own = socket.create_server(("127.0.0.1", 0)), socket.create_server((address, 0))
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(f"\0{self._name}")
        abstract.listen()
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        with socket.create_server(("127.0.0.1", 0)) as free:
            free_port = free.getsockname()[1]
        self._sockets = [loopback, own, abstract, datagrams]
        threading.Thread(target=_answer, args=(datagrams,), daemon=True).start()
        return Bait(
            folder=granted,
            secret=secret,
            shared=self._folder / "shared",
            environment=self._folder / "environment",
            address=address,
            port=loopback.getsockname()[1],
            own_port=own.getsockname()[1],
            datagrams=datagrams.getsockname()[1],
            name=self._name,
            free_port=free_port,
            host_name=socket.gethostname(),
        )

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()


def _answer(sock: socket.socket) -> None:
    try:
        while True:
            _, place = sock.recvfrom(1000)
            sock.sendto(b"an answer", place)
    except OSError:
        return


def _own_address() -> str:
    """The machine's address, if it has a route; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(sock.getsockname()[0])


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> JailSettings:
    return JailSettings(state=tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def nobodys(bait: Bait) -> Iterator[Outcomes]:
    """What came of every attack, with and without its layer, in jails that an unprivileged user started."""
    home = Path(tempfile.mkdtemp(prefix="custody-unprivileged-"))
    try:
        furnish(home, Path(__file__).parent / "runs_attacks.py")
        (home / "tests" / "attacks").mkdir(parents=True)
        shutil.copy(Path(__file__).parent / "cases.py", home / "tests" / "attacks" / "cases.py")
        programs = home / "programs"
        shutil.copytree(PROGRAMS / "attacks", programs)
        there = [read_attack(programs / attack.path.relative_to(PROGRAMS / "attacks")) for attack in NOBODYS]
        yield ask(home, "runs_attacks.py", (there, bait), timeout=240)  # type: ignore[misc]  # that is what the script writes
    finally:
        shutil.rmtree(home)


def test_there_are_ten_groups_and_every_attack_names_a_layer_that_can_be_taken_away() -> None:
    assert {attack.path.parent.name for attack in ATTACKS} == set(GROUPS)
    assert [attack.name for attack in ATTACKS if attack.layer not in CONTROLS.keys() | ELSEWHERE] == []
    assert all(any(attack.path.parent.name == group for attack in NOBODYS) for group in GROUPS)


@pytest.mark.parametrize("attack", OURS, ids=lambda attack: attack.name)
def test_the_attack_is_blocked_and_recorded(
    attack: Attack, settings: JailSettings, bait: Bait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTODY_TEST_SECRET", "bait")
    _assert_blocked(attack, carry_out(attack, bait, settings), bait)


@pytest.mark.parametrize(
    "attack", [attack for attack in OURS if ROOT or attack.layer not in NEEDS_A_UID], ids=lambda attack: attack.name
)
def test_without_the_layer_the_attack_succeeds(attack: Attack, settings: JailSettings, bait: Bait) -> None:
    _assert_succeeded(attack, carry_out(attack, bait, settings, without=attack.layer))


@pytest.mark.parametrize("attack", NOBODYS, ids=lambda attack: attack.name)
def test_for_an_unprivileged_user_the_attack_is_blocked_and_recorded(
    attack: Attack, nobodys: Outcomes, bait: Bait
) -> None:
    _assert_blocked(attack, nobodys[attack.name, ""], bait)


@pytest.mark.parametrize(
    "attack", [attack for attack in NOBODYS if attack.layer not in NEEDS_A_UID], ids=lambda attack: attack.name
)
def test_for_an_unprivileged_user_too_it_succeeds_without_the_layer(attack: Attack, nobodys: Outcomes) -> None:
    _assert_succeeded(attack, nobodys[attack.name, attack.layer])


def test_forged_records_are_marked_as_the_programs_own(settings: JailSettings) -> None:
    program = PROGRAMS / "hostile" / "records.py"
    grant = Grant(decision="d", principal="attacker", profile="test", limits=LIMITS)
    outcome = Sandbox(settings).run(Job(run="r", code=program.read_bytes(), file_name=program.name), grant)
    assert [(attempt.host, attempt.program_controlled) for attempt in outcome.egress] == [("invented.example", True)]
    assert any("lost, unreadable" in sentence for sentence in outcome.unobserved)


def _assert_blocked(attack: Attack, outcome: Outcome, bait: Bait) -> None:
    assert not succeeded(attack, outcome), (outcome.explanation, outcome.stdout.content[-200:])
    assert outcome.outcome is not OutcomeClass.INFRASTRUCTURE_ERROR, outcome.explanation
    said = (outcome.explanation, outcome.stdout.content[-200:], outcome.stderr.content[-500:])
    assert outcome.stdout.content.startswith(b"blocked") or _stopped_by_its_layer(attack, outcome), said
    assert "wall" not in outcome.limits_hit, said  # that it took too long would say nothing of the layer
    _assert_recorded(attack, outcome, bait)


def _stopped_by_its_layer(attack: Attack, outcome: Outcome) -> bool:
    """Whether a program that could not say so any more was ended by just what its header names."""
    kind, _, what = attack.record.partition(" ")
    if kind == "limit":
        return what in outcome.limits_hit
    return attack.layer == "seccomp" and outcome.outcome is OutcomeClass.VIOLATED_POLICY


def _assert_succeeded(attack: Attack, outcome: Outcome) -> None:
    said = (
        outcome.explanation,
        outcome.stdout.content[-200:],
        outcome.stderr.content[-500:],
        outcome.log_excerpt[-300:],
    )
    assert succeeded(attack, outcome), said


def _assert_recorded(attack: Attack, outcome: Outcome, bait: Bait) -> None:
    kind, _, what = attack.record.format(secret=bait.secret, address=bait.address).partition(" ")
    match kind:
        case "none":
            return
        case "file":
            assert what in {file.path for file in outcome.files}
        case "egress":
            assert any(what in attempt.host and not attempt.allowed for attempt in outcome.egress)
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
            raise AssertionError(attack)
