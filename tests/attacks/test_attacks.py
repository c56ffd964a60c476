"""Each attack is blocked and leaves its record; with the one layer named in its header removed, the same program succeeds.

Both as whoever runs the tests, and as an unprivileged user.
"""

import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.sandbox import JailSettings, Job, Outcome, OutcomeClass, Sandbox
from custody.sandbox.types import Layer
from tests.attacks.cases import CONTROLS, ELSEWHERE, LIMITS, Attack, Bait, Carried, carry_out, read_attack, succeeded
from tests.sandbox.another_user import NOBODY, ask, delegated, furnish, hear

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
NEEDS = {"cgroup": "cgroup_memory"}
"""Layer that an attack is about -> layer of doctor's that must be there. Without control groups, memory is limited for each process only."""
CONTROL_NEEDS = {"pid_namespace": "own_uid"}
"""Without a process namespace the end of a run kills every process of its uid: the control needs a uid that has no others."""
OWN_UID = 2_050_000_000 + secrets.randbelow(90_000_000)
"""Of nobody else on this machine: beyond those that runs of root take."""

Outcomes = dict[tuple[str, str], Carried]
Answer = tuple[Outcomes, tuple[Layer, ...]]


@dataclass(frozen=True)
class Nobodys:
    """What came of the attacks of an unprivileged user, and what doctor says to him: in a group that was handed down to him, and without."""

    outcomes: Outcomes
    layers: tuple[Layer, ...]
    grouped: tuple[Layer, ...]


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
def layers(settings: JailSettings) -> tuple[Layer, ...]:
    """What doctor says to whoever runs the tests."""
    return Sandbox(settings).layers()


@pytest.fixture(scope="module")
def nobodys(bait: Bait) -> Iterator[Nobodys]:
    """What came of every attack, with and without its layer, in jails that an unprivileged user started."""
    with _home_of(NOBODY) as home, delegated() as groups:
        there = [_moved(attack, home) for attack in ATTACKS]
        cases = [(attack, layer) for attack in there for layer in ("", attack.layer) if layer not in CONTROL_NEEDS]
        plain = [case for case in cases if case[0].layer not in NEEDS]
        grouped = [case for case in cases if case[0].layer in NEEDS] if groups else []
        answers: list[Answer] = [
            ask(home, "runs_attacks.py", (plain, bait), timeout=240),  # type: ignore[list-item]  # that is what the script writes
            ask(home, "runs_attacks.py", (grouped, bait), timeout=120, groups=groups),  # type: ignore[list-item]  # the same
        ]
        yield Nobodys(answers[0][0] | answers[1][0], answers[0][1], answers[1][1])


@contextmanager
def _home_of(user: int) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="custody-unprivileged-"))
    try:
        furnish(
            home, *(Path(__file__).with_name(name) for name in ("runs_attacks.py", "hears_an_attack.py")), user=user
        )
        (home / "tests" / "attacks").mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("cases.py"), home / "tests" / "attacks" / "cases.py")
        shutil.copytree(PROGRAMS / "attacks", home / "programs")
        yield home
    finally:
        shutil.rmtree(home)
        if (
            user == OWN_UID
        ):  # the names that nsjail needs stay, empty, for the next run of a user: this one has no other
            for place in Path("/tmp").glob(f"nsjail.{user}.*"):
                place.rmdir()


def _moved(attack: Attack, home: Path) -> Attack:
    return read_attack(home / "programs" / attack.path.relative_to(PROGRAMS / "attacks"))


def _lacking(needed: str | None, layers: Sequence[Layer]) -> str:
    """Why this cannot be done here, in doctor's words; empty if it can."""
    layer = next((layer for layer in layers if layer.name == needed), None)
    if layer is None or layer.state == "present":
        return ""
    return f"the doctor says: {layer.name} is {layer.state}: {layer.cause}; {layer.cure}"


def _skip_without(needed: str | None, layers: Sequence[Layer]) -> None:
    if reason := _lacking(needed, layers):
        pytest.skip(reason)


def test_there_are_ten_groups_and_every_attack_names_a_layer_that_can_be_taken_away() -> None:
    assert {attack.path.parent.name for attack in ATTACKS} == set(GROUPS)
    assert [attack.name for attack in ATTACKS if attack.layer not in CONTROLS.keys() | ELSEWHERE] == []


def test_an_attack_without_a_record_says_why_nobody_can_have_one() -> None:
    assert [attack.name for attack in ATTACKS if (attack.record == "none") != bool(attack.why)] == []
    assert sum(attack.record == "none" for attack in ATTACKS) <= 7


@pytest.mark.parametrize("group", GROUPS)
def test_no_group_is_skipped_as_a_whole(group: str, layers: tuple[Layer, ...], nobodys: Nobodys) -> None:
    of_group = [attack for attack in ATTACKS if attack.path.parent.name == group]
    for said in (layers, nobodys.grouped):
        assert not all(_lacking(NEEDS.get(attack.layer), said) for attack in of_group)
        assert not all(
            _lacking(NEEDS.get(attack.layer), said) or _lacking(CONTROL_NEEDS.get(attack.layer), layers)
            for attack in of_group
        )


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_attack_is_blocked_and_recorded(
    attack: Attack, settings: JailSettings, bait: Bait, layers: tuple[Layer, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    _skip_without(NEEDS.get(attack.layer), layers)
    monkeypatch.setenv("CUSTODY_TEST_SECRET", "bait")
    _assert_blocked(attack, carry_out(attack, bait, settings), bait)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_without_the_layer_the_attack_succeeds(
    attack: Attack, settings: JailSettings, bait: Bait, layers: tuple[Layer, ...]
) -> None:
    _skip_without(NEEDS.get(attack.layer), layers)
    _skip_without(CONTROL_NEEDS.get(attack.layer), layers)
    _assert_succeeded(attack, carry_out(attack, bait, settings, without=attack.layer).outcome)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_for_an_unprivileged_user_the_attack_is_blocked_and_recorded(
    attack: Attack, nobodys: Nobodys, bait: Bait
) -> None:
    _skip_without(NEEDS.get(attack.layer), nobodys.grouped)
    _assert_blocked(attack, nobodys.outcomes[attack.name, ""], bait)


@pytest.mark.parametrize(
    "attack", [attack for attack in ATTACKS if attack.layer not in CONTROL_NEEDS], ids=lambda attack: attack.name
)
def test_for_an_unprivileged_user_too_it_succeeds_without_the_layer(attack: Attack, nobodys: Nobodys) -> None:
    _skip_without(NEEDS.get(attack.layer), nobodys.grouped)
    _assert_succeeded(attack, nobodys.outcomes[attack.name, attack.layer].outcome)


@pytest.mark.parametrize(
    "attack", [attack for attack in ATTACKS if attack.layer in CONTROL_NEEDS], ids=lambda attack: attack.name
)
def test_for_an_unprivileged_user_with_nothing_to_lose_it_succeeds_without_the_layer(
    attack: Attack, bait: Bait, layers: tuple[Layer, ...]
) -> None:
    """The end of this run kills every process of its user, the one that asked for it among them: what it said is all there is."""
    _skip_without(CONTROL_NEEDS[attack.layer], layers)
    with _home_of(OWN_UID) as home:
        said = hear(home, "hears_an_attack.py", (_moved(attack, home), bait), timeout=60, user=OWN_UID)
    assert said.startswith(b"SUCCESS"), said


def test_forged_records_are_marked_as_the_programs_own(settings: JailSettings) -> None:
    program = PROGRAMS / "hostile" / "records.py"
    grant = Grant(decision="d", principal="attacker", profile="test", limits=LIMITS)
    outcome = Sandbox(settings).run(Job(run="r", code=program.read_bytes(), file_name=program.name), grant)
    assert [(attempt.host, attempt.program_controlled) for attempt in outcome.egress] == [("invented.example", True)]
    assert any("lost, unreadable" in sentence for sentence in outcome.unobserved)


def _assert_blocked(attack: Attack, carried: Carried, bait: Bait) -> None:
    outcome = carried.outcome
    assert not succeeded(attack, outcome), (outcome.explanation, outcome.stdout.content[-200:])
    assert outcome.outcome is not OutcomeClass.INFRASTRUCTURE_ERROR, outcome.explanation
    said = (outcome.explanation, outcome.stdout.content[-200:], outcome.stderr.content[-500:])
    assert outcome.stdout.content.startswith(b"blocked") or _stopped_by_its_layer(attack, outcome), said
    assert "wall" not in outcome.limits_hit, said  # that it took too long would say nothing of the layer
    record = attack.record.format(secret=bait.secret, address=bait.address)
    if record.startswith("before "):
        assert carried.before is not None
        outcome = carried.before
    _assert_recorded(record.removeprefix("before "), outcome)


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


def _assert_recorded(record: str, outcome: Outcome) -> None:
    kind, _, what = record.partition(" ")
    if kind == "syscall" and "kernel_audit" not in outcome.layers:
        kind, what = "unobserved", "refused system calls are not observed"
    assert kind == "none" or any(what in text for text in _ON_RECORD[kind](outcome)), list(_ON_RECORD[kind](outcome))


_ON_RECORD: dict[str, Callable[[Outcome], Iterable[str]]] = {
    "file": lambda outcome: (f"{file.path} " for file in outcome.files),
    "egress": lambda outcome: (attempt.host for attempt in outcome.egress if not attempt.allowed),
    "limit": lambda outcome: outcome.limits_hit,
    "refused": lambda outcome: (f"{refused.name} {refused.reason}" for refused in outcome.refused_artefacts),
    "artefact": lambda outcome: (artefact.name for artefact in outcome.artefacts),
    "explanation": lambda outcome: (outcome.explanation,),
    "unobserved": lambda outcome: outcome.unobserved,
    "stderr": lambda outcome: (outcome.stderr.content.decode(),),
    "syscall": lambda outcome: (call.name for call in outcome.syscalls),
}
"""Kind of record -> what the outcome holds of it."""
