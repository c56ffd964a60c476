from custody.ledger.events import ApprovalGranted, EnvironmentRejected, ReconciliationCompleted, RunHeld
from custody.reports import Review, Severity
from custody.reports.types import DecisionNeeded

from .world import World, reviewed, sha


def about(review: Review, words: str) -> DecisionNeeded:
    return next(decision for decision in review.decisions if words in decision.what)


def held(world: World, run: str, *roles: str) -> None:
    world.submit(run, "agent-builder", "odd.py")
    world.decide(run, "needs_approval", rules=("look",), reasons=("Somebody has to look.",), roles=roles)
    world.put(RunHeld(decision="d", roles=roles, binding=sha(run), expires="2026-11-20T12:00:00Z"), run=run)


def grant(world: World, run: str, role: str, approver: str, binding: str = "") -> None:
    world.put(
        ApprovalGranted(
            role=role,
            approver=approver,
            authentication="os-user",
            binding=binding or sha(run),
            decision="d",
            comment="",
            expires="2026-11-20T12:00:00Z",
        ),
        run=run,
        actor=approver,
    )


def test_a_held_run_says_who_may_approve_until_when_and_how(review: Review) -> None:
    decision = about(review, "Approve or refuse decode_payload.py")
    assert decision.who == "approver, but not agent-builder"
    assert decision.by == "2026-11-20T12:00:00Z"
    assert decision.command == "custody approve run-14"
    assert decision.why == "The code hides what it does; a person has to read it first."


def test_only_missing_roles_are_asked_for() -> None:
    world = World()
    held(world, "run-1", "lead", "security")
    grant(world, "run-1", "lead", "ana")
    assert about(reviewed(world), "Approve").who == "security, but not agent-builder"


def test_an_approval_of_something_else_does_not_count() -> None:
    world = World()
    held(world, "run-1", "lead")
    grant(world, "run-1", "lead", "ana", binding="other")
    assert about(reviewed(world), "Approve").who == "lead, but not agent-builder"


def test_an_approved_run_waits_for_its_requester() -> None:
    world = World()
    held(world, "run-1", "lead")
    grant(world, "run-1", "lead", "ana")
    decision = about(reviewed(world), "Continue or withdraw")
    assert (decision.severity, decision.command) == (Severity.LOW, "custody runs continue run-1")


def test_an_approval_by_the_requester_breaks_a_rule() -> None:
    world = World()
    held(world, "run-1", "lead")
    grant(world, "run-1", "lead", "agent-builder")
    assert "approved by its own requester" in about(reviewed(world), "Explain the record").why


def test_a_start_without_an_allowing_decision_breaks_a_rule() -> None:
    world = World()
    world.submit("run-1", "agent-builder", "odd.py")
    world.decide("run-1", "allowed", stage="submit")
    world.decide("run-1", "denied")
    world.start("run-1")
    world.finish("run-1", "succeeded")
    assert "without a recorded decision that allowed it" in about(reviewed(world), "Explain the record").why


def test_the_demonstration_breaks_no_rule(review: Review) -> None:
    assert not [decision for decision in review.decisions if decision.what.startswith("Explain the record")]


def test_a_second_claim_breaks_a_rule(world: World) -> None:
    world.start("run-02")
    assert "more than once" in about(reviewed(world), "Explain the record").why


def test_a_lost_run_is_of_unknown_weight() -> None:
    world = World()
    world.submit("run-1", "agent-builder", "odd.py")
    world.end("run-1", "unknown")
    decision = about(reviewed(world), "before it was lost")
    assert decision.severity is Severity.UNKNOWN


def test_what_a_crash_left_on_the_machine_is_somebodys_work() -> None:
    world = World()
    world.put(ReconciliationCompleted(closed=(), swept=(), left=("mount /x: busy",)))
    assert about(reviewed(world), "crash left behind").why == "mount /x: busy"


def test_builds_that_failed_for_one_cause_are_one_decision() -> None:
    world = World()
    for number in range(3):
        world.put(
            EnvironmentRejected(environment="", lock_sha256="ab" * 32, reason="no space left"), run=f"run-{number}"
        )
    world.put(EnvironmentRejected(environment="", lock_sha256="cd" * 32, reason="no wheel"), run="run-3")
    world.put(EnvironmentRejected(environment="env-7", lock_sha256="ef" * 32, reason="no wheel"))
    found = [d for d in reviewed(world).decisions if d.what.startswith("Find out why")]
    assert [(d.what, d.why, len(d.entries)) for d in found] == [
        ("Find out why 3 environments could not be built", "no space left", 3),
        ("Find out why the environment of lock cdcdcdcdcdcd could not be built", "no wheel", 1),
        ("Find out why environment env-7 was rejected", "no wheel", 1),
    ]
    assert [d.command for d in found] == ["", "custody runs show run-3", ""]


def test_decisions_are_sorted_worst_first(review: Review) -> None:
    ranks = [decision.severity.rank for decision in review.decisions]
    assert ranks == sorted(ranks, reverse=True)
