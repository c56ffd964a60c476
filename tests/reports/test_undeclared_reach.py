import pytest

from custody.ledger.events import CodeRecord, FileObserved, HostRecord
from custody.reports import Severity

from .world import World, reviewed


def code(*, hosts: tuple[str, ...] = (), paths: tuple[str, ...] = ()) -> CodeRecord:
    return CodeRecord(
        language="python", parsed=True, error="", imports=(), flags=(), hosts=hosts, paths=paths, secrets=()
    )


def attempt(*, asked: bool = False, announced: bool = False, allowed: bool = False) -> World:
    world = World()
    hosts = (HostRecord(name="api.example", port=443),) if asked else ()
    world.submit("run-1", "agent-analyst", "a.py", hosts=hosts, facts=code(hosts=("api.example",) if announced else ()))
    world.decide("run-1", "allowed")
    world.start("run-1")
    world.egress("run-1", "api.example", 443, allowed=allowed)
    world.finish("run-1", "succeeded")
    return world


def test_a_host_that_neither_request_nor_code_names_is_high() -> None:
    (anomaly,) = reviewed(attempt()).anomalies
    assert (anomaly.detector, anomaly.severity) == ("undeclared_reach", Severity.HIGH)
    assert "api.example:443: all refused" in anomaly.observed
    assert anomaly.baseline.startswith("Cold start")


def test_a_host_that_the_code_names_openly_is_medium() -> None:
    (anomaly,) = reviewed(attempt(announced=True)).anomalies
    assert anomaly.severity is Severity.MEDIUM
    assert anomaly.benign.startswith("Somebody forgot to ask")


def test_a_host_that_was_asked_for_is_no_anomaly() -> None:
    assert reviewed(attempt(asked=True, allowed=True)).anomalies == ()


def test_a_connection_that_nobody_asked_for_is_critical() -> None:
    (anomaly,) = reviewed(attempt(allowed=True)).anomalies
    assert anomaly.severity is Severity.CRITICAL
    assert "1 place answered" in anomaly.observed


@pytest.mark.parametrize(
    ("host", "port", "severity"),
    [
        ("127.0.0.1", 22, None),
        ("localhost", 8080, None),
        ("unix:/work/listener-1", 0, None),
        ("unix:/run/docker.sock", 0, Severity.HIGH),
        ("169.254.169.254", 80, Severity.HIGH),
    ],
)
def test_what_stays_inside_the_jail_is_no_anomaly(host: str, port: int, severity: Severity | None) -> None:
    world = World()
    world.submit("run-1", "agent-analyst", "a.py")
    world.decide("run-1", "allowed")
    world.start("run-1")
    world.egress("run-1", host, port)
    world.finish("run-1", "succeeded")
    assert [anomaly.severity for anomaly in reviewed(world).anomalies] == [severity] * (severity is not None)


def test_loopback_alone_is_told_as_a_small_attempt_and_no_decision() -> None:
    world = World()
    world.submit("run-1", "agent-analyst", "a.py")
    world.decide("run-1", "allowed")
    world.start("run-1")
    world.egress("run-1", "127.0.0.1", 22)
    world.finish("run-1", "succeeded")
    review = reviewed(world)
    assert [attempt.severity for attempt in review.attempts] == [Severity.LOW]
    assert review.decisions == ()


def test_many_runs_of_one_principal_are_one_anomaly() -> None:
    world = World()
    for number in range(5):
        run = f"run-{number}"
        world.submit(run, "agent-analyst", f"{number}.py")
        world.decide(run, "allowed")
        world.start(run)
        world.egress(run, f"host-{number}.example", 443, count=2)
        world.finish(run, "failed", exit_code=1)
    (anomaly,) = reviewed(world).anomalies
    assert anomaly.title == "5 runs of agent-analyst reached unasked for 5 places outside the jail"
    assert anomaly.observed.startswith("10 attempts to reach")
    assert anomaly.entries_total == 20


def test_files_of_secrets_count_even_if_the_code_names_them() -> None:
    world = World()
    world.submit("run-1", "agent-analyst", "a.py", facts=code(paths=("/etc/shadow",)))
    world.decide("run-1", "allowed")
    world.start("run-1")
    world.put(
        FileObserved(path="/etc/shadow", action="opened", source="audit_hook", program_controlled=True, sha256=""),
        run="run-1",
    )
    world.finish("run-1", "succeeded")
    (anomaly,) = reviewed(world).anomalies
    assert anomaly.severity is Severity.HIGH
    assert "whether it succeeded was not observed" in anomaly.observed


def test_ordinary_files_are_no_anomaly() -> None:
    world = World()
    world.submit("run-1", "agent-analyst", "a.py")
    world.decide("run-1", "allowed")
    world.start("run-1")
    world.put(
        FileObserved(
            path="/usr/lib/python3/os.py", action="opened", source="audit_hook", program_controlled=True, sha256=""
        ),
        run="run-1",
    )
    world.finish("run-1", "succeeded")
    assert reviewed(world).anomalies == ()


def test_the_anomaly_of_the_demonstration_keeps_its_id_in_a_later_review(world: World) -> None:
    first = {anomaly.id for anomaly in reviewed(world).anomalies}
    world.succeeded("run-90", "agent-analyst", "later.py")
    assert {anomaly.id for anomaly in reviewed(world).anomalies} == first
