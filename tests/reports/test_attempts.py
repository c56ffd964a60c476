from custody.errors import LedgerError
from custody.ledger.events import SyscallDenied
from custody.ledger.types import PayloadRef
from custody.reports import Review, Severity, judge
from custody.reports.types import Attempt, Fate

from .world import World, reviewed


def told(review: Review, program: str) -> Attempt:
    return next(attempt for attempt in review.attempts if attempt.program == program)


def test_the_mailer_is_told_with_what_it_asked_tried_and_got(review: Review) -> None:
    mailer = told(review, "mail_everyone.py")
    assert mailer.asked == ("no network, no path of the machine and no package", "30 s, 256 MiB, 32 processes")
    assert mailer.tried == (
        "reach smtp.example.net:25, 40 times: refused: network is unreachable (its own report)",
        "reach mail.example.net:443, 40 times: refused: network is unreachable (its own report)",
    )
    assert mailer.got[0] == "no connection: all 80 attempts refused"
    assert mailer.headline == "Tried to reach smtp.example.net:25 and mail.example.net:443; reached none"
    assert mailer.end == "Failed by itself, exit code 1"
    assert mailer.severity is Severity.HIGH
    assert mailer.excerpt.endswith("OSError: [Errno 101] Network is unreachable")


def test_a_denied_run_tried_and_got_nothing(review: Review) -> None:
    denied = told(review, "fetch_rates.py")
    assert denied.asked[0] == "network: rates.example.com:443"
    assert (denied.tried, denied.got) == (("nothing: it never ran",), ("nothing",))
    assert denied.rules == ("demo-has-no-network",)
    assert denied.reason == "The profile demo gives no network"
    assert denied.fate is Fate.NOT_RUN


def test_a_blocked_run_names_its_packages(review: Review) -> None:
    assert told(review, "parse_config.py").asked[0] == "packages: oldyaml 5.1"


def test_limits_are_told_in_words(review: Review) -> None:
    ends = {attempt.program: attempt.end for attempt in review.attempts}
    assert ends["sleeper.py"] == "Stopped at its time limit of 2 s"
    assert ends["memory_bomb.py"] == "Stopped at its memory limit of 256 MiB"
    assert ends["output_flood.py"] == "Stopped at its output limit of 256 KiB"
    assert ends["fork_bomb.py"] == "Failed at its limit on processes, exit code 1"


def test_a_run_that_succeeded_but_pried_is_told(review: Review) -> None:
    snooper = told(review, "look_around.py")
    assert snooper.fate is Fate.SUCCEEDED
    assert snooper.headline == "Tried to open /etc/shadow and to reach 127.0.0.1:22 at its own loopback; reached none"
    assert "whether opening those files succeeded was not observed" in snooper.got


def test_commands_are_told_with_their_arguments_once(review: Review) -> None:
    assert "start /bin/id -u (its own report)" in told(review, "look_around.py").tried


def test_a_stopped_system_call_is_told(world: World) -> None:
    world.submit("run-40", "agent-builder", "trace.py")
    world.decide("run-40", "allowed")
    world.start("run-40")
    world.put(
        SyscallDenied(number=101, name="ptrace", action="killed", command="python", source="kernel_audit", count=1),
        run="run-40",
    )
    world.finish("run-40", "violated_policy", signal=31, exit_code=None)
    attempt = told(reviewed(world), "trace.py")
    assert attempt.headline == "Tried ptrace; the filter stopped it"
    assert attempt.severity is Severity.HIGH


def test_the_worst_come_first(review: Review) -> None:
    ranks = [attempt.severity.rank for attempt in review.attempts]
    assert ranks == sorted(ranks, reverse=True)


def test_without_payloads_there_is_no_excerpt(world: World) -> None:
    review = judge(
        world.entries, window=world.window(), verification=world.verification(), review="R", organisation="N"
    )
    assert {attempt.excerpt for attempt in review.attempts} == {""}


def test_an_erased_payload_is_said(world: World) -> None:
    def gone(_: PayloadRef) -> bytes:
        message = "payload `x` was erased"
        raise LedgerError(message, hint="nothing to do")

    review = judge(
        world.entries,
        window=world.window(),
        verification=world.verification(),
        review="R",
        organisation="N",
        read_payload=gone,
    )
    assert told(review, "divide.py").excerpt == "(not readable: payload `x` was erased)"


def test_excerpts_are_bounded(world: World) -> None:
    world.submit("run-41", "agent-builder", "loud.py")
    world.decide("run-41", "allowed")
    world.start("run-41")
    world.finish("run-41", "failed", exit_code=1, stderr=b"x" * 200_000 + b"\n" + b"\xff\xfe line\n" * 5_000)
    excerpt = told(reviewed(world), "loud.py").excerpt
    assert excerpt.count("\n") == 5
    assert len(excerpt) < 2_000
