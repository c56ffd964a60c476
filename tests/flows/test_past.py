"""What is kept of the past answers as a full count does: also after it was deleted, spoilt, or left behind by a crash."""

import os
import select
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.errors import LedgerError
from custody.flows import following
from custody.flows.following import us_of
from custody.flows.history import history_of
from custody.flows.past import Past, past_of
from custody.ledger import Draft, Entry, Ledger, LedgerFiles, Payload, events
from custody.ledger.types import Derived
from custody.policies import Directory
from custody.policies.types import Budgets, History, Principal, PrincipalKind, Spent, Usage

DEEP = os.environ.get("CUSTODY_TEST_DEPTH") == "deep"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
WINDOWS = (
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(days=1), timedelta(minutes=10)),
    (timedelta(days=30), timedelta(hours=1)),
)
DIRECTORY = """
[humans.alice]
roles = ["developer"]
teams = ["red"]
[humans.bob]
roles = ["developer"]
[agents.scout]
owner = "alice"
roles = ["developer"]
teams = ["red", "blue"]
[agents.other]
owner = "bob"
roles = ["developer"]
teams = ["blue"]
[teams.red]
[teams.blue]
"""
PEOPLE = ("alice", "bob", "scout", "other", "left")
"""`left` was an agent once and stands in no directory any more."""
PACKAGES = (("six", "1.0"), ("idna", "3.0"), ("idna", "3.1"))
LIMITS = events.LimitsRecord(
    wall_seconds=1, cpu_seconds=1, memory_mib=1, processes=1, output_kib=1, disk_mib=1, files=1, open_files=1,
    artefact_mib=1, artefacts=1,
)  # fmt: skip
NO_CODE = events.CodeRecord(
    language="python", parsed=True, error="", imports=(), flags=(), hosts=(), paths=(), secrets=()
)


class Book:
    """A ledger with a clock of its own, and the steps of runs."""

    def __init__(self, folder: Path) -> None:
        self.files = LedgerFiles(folder / "ledger.sqlite", folder / "keys")
        self.now = BEGAN
        Ledger.create(self.files, origin="custody.local/test").close()
        self.ledger = self.opened()
        self.directory = Directory.from_text(DIRECTORY)
        self.count = 0
        self.put("alice", None, events.LedgerRead(what="", decision="", first=None, last=None, entries=0))

    def put(self, actor: str, run: str | None, event: events.Event, payloads: Sequence[Payload] = ()) -> None:
        self.count += 1
        self.ledger.append(
            [Draft(id=f"event-{self.count}", event=event, actor=actor, time=self.now, run=run)], payloads
        )

    def opened(self) -> Ledger:
        return Ledger.open(self.files, clock=lambda: self.now)

    def submit(self, actor: str, run: str, owner: str | None) -> None:
        code, asked = (self.ledger.seal(b"", media="x") for _ in range(2))
        self.put(
            actor,
            run,
            events.RunSubmitted(
                principal=actor, principal_kind="agent", owner=owner, authentication="", conductor="direct",
                request_sha256="0" * 64, language="python", file_name="a.py", code_sha256="0" * 64, code_bytes=0,
                code=code.ref, request=asked.ref, argument_count=0, files=(), requirements_sha256=None,
                requirement_count=0, profile="default", hosts=(), mounts=(), limits=LIMITS, facts=NO_CODE, purpose="",
                ticket="",
            ),
            (code, asked),
        )  # fmt: skip

    def resolve(self, actor: str, run: str, *pins: tuple[str, str]) -> None:
        lock = self.ledger.seal(b"", media="x")
        records = tuple(events.PinRecord(name=name, version=version, direct=True) for name, version in pins)
        self.put(
            actor,
            run,
            events.DependenciesResolved(
                lock_sha256="0" * 64, source="", resolver="given", total=len(pins), pins=records, lock=lock.ref
            ),
            (lock,),
        )

    def start(self, actor: str, run: str, *, host: str = "", path: str = "") -> None:
        self.put(
            actor,
            run,
            events.RunStarted(
                decision="d", grant_sha256="0" * 64, profile="default", limits=LIMITS,
                hosts=(events.HostRecord(name=host, port=443),) if host else (),
                mounts=(events.MountRecord(path=path, access="read", target="x"),) if path else (),
                layers=(), lock_sha256=None, environment=None, environment_sha256=None,
            ),
        )  # fmt: skip

    def finish(self, actor: str, run: str, *, cpu_ms: int | None, out: int, end: str = "executed") -> None:
        output = events.OutputRecord(sha256="0" * 64, seen=out, truncated=False, redactions=0, payload=None)
        self.put(
            actor,
            run,
            events.RunFinished(
                end=end,
                started=end == "executed",
                outcome="failed" if end == "executed" else None,
                explanation="",
                rules=() if end == "executed" else ("some-rule",),
                usage=events.UsageRecord(wall_ms=700, cpu_ms=cpu_ms, peak_memory_bytes=None, peak_processes=None),
                stdout=output,
            ),
        )

    def send(self, actor: str, run: str, *, sent: int) -> None:
        self.put(
            actor,
            run,
            events.EgressAttempted(
                host="h", port=1, allowed=True, reason="", source="", program_controlled=False, count=1, bytes_up=sent
            ),
        )

    def who(self, name: str) -> Principal:
        return self.directory.principal(name) or Principal(id=name, kind=PrincipalKind.AGENT, known=False)

    def told(self, name: str, now: datetime) -> History:
        return history_of(self.ledger, self.directory, self.who(name), now=now)

    def forget(self) -> None:
        with self.ledger._engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM derived")

    def spoil(self) -> None:
        with self.ledger._engine.begin() as connection:
            kept = connection.exec_driver_sql("SELECT name, version, upto FROM derived").all()
        for name, version, upto in kept:
            self.ledger.keep_derived(name, version=version, state=Derived(upto, b'{"newest_us": "much"}'))


# ---------------------------------------------------------------- the same, counted in full each time


def counted(book: Book, name: str, now: datetime) -> History:
    """By the definition, over every entry, with nothing kept."""
    entries = list(book.ledger.entries())
    return History(
        denied_10m=sum(
            e.actor == name
            and isinstance(e.event, events.RunFinished)
            and e.event.end == "denied"
            and e.time >= now - timedelta(minutes=10)
            for e in entries
        ),
        failed_1h=sum(
            e.actor == name
            and isinstance(e.event, events.RunFinished)
            and e.event.outcome == "failed"
            and e.time >= now - timedelta(hours=1)
            for e in entries
        ),
        runs_1h=sum(
            e.actor == name and e.kind == "run:submitted" and e.time >= now - timedelta(hours=1) for e in entries
        ),
        runs_total=sum(e.actor == name and e.kind == "run:submitted" for e in entries),
        spent=_budgets(book, entries, book.who(name), now),
        **_known(entries, name),
    )


def _known(entries: Sequence[Entry], name: str) -> dict[str, tuple[str, ...]]:
    pins: dict[str, set[str]] = defaultdict(set)
    packages: set[str] = set()
    hosts: set[str] = set()
    paths: set[str] = set()
    for entry in entries:
        if entry.actor != name:
            continue
        match entry.event:
            case events.DependenciesResolved(pins=resolved):
                pins[entry.run or ""] = {f"{pin.name}=={pin.version}" for pin in resolved}
            case events.RunStarted(hosts=granted, mounts=mounts):
                packages |= pins.pop(entry.run or "", set())
                hosts |= {f"{host.name}:{host.port}" for host in granted}
                paths |= {f"{mount.access} {mount.path}" for mount in mounts}
            case events.RunFinished():
                pins.pop(entry.run or "", None)
            case _:
                pass
    return {
        "known_packages": tuple(sorted(packages)),
        "known_hosts": tuple(sorted(hosts)),
        "known_paths": tuple(sorted(paths)),
    }


def _budgets(book: Book, entries: Sequence[Entry], who: Principal, now: datetime) -> Budgets:
    known = book.directory.principals
    owner_of = {name: principal.owner or name for name, principal in known.items()}
    owner = who.owner or who.id
    owners: list[str] = []
    for entry in entries:
        if isinstance(entry.event, events.RunSubmitted):
            owner_of[entry.actor] = entry.event.owner or entry.actor
        owners.append(owner_of.get(entry.actor, entry.actor))
    teams = [
        _spent([e for e in entries if (p := known.get(e.actor)) is not None and team in p.teams], now)
        for team in who.teams
    ]
    return Budgets(
        principal=_spent([e for e in entries if e.actor == who.id], now),
        owner=_spent([e for e, answers in zip(entries, owners, strict=True) if answers == owner], now),
        team=Spent(
            **{
                window: Usage(
                    **{
                        figure: max((getattr(getattr(team, window), figure) for team in teams), default=0)
                        for figure in ("runs", "cpu_seconds", "bytes_out", "artefact_bytes")
                    }
                )
                for window in ("hour", "day", "month")
            }
        ),
    )


def _spent(entries: Sequence[Entry], now: datetime) -> Spent:
    hour, day, month = (_usage([e for e in entries if e.time >= begin]) for begin in _begins(now))
    return Spent(hour=hour, day=day, month=month)


def _begins(now: datetime) -> Iterator[datetime]:
    """Full minutes, ten minutes and hours."""
    for length, width in WINDOWS:
        yield BEGAN + (now - length - BEGAN) // width * width


def _usage(entries: Sequence[Entry]) -> Usage:
    ends = [e.event for e in entries if isinstance(e.event, events.RunFinished)]
    sent = [e.event.bytes_up or 0 for e in entries if isinstance(e.event, events.EgressAttempted)]
    cpu = [end.usage.wall_ms if end.usage.cpu_ms is None else end.usage.cpu_ms for end in ends if end.usage]
    return Usage(
        runs=sum(e.kind == "run:submitted" for e in entries),
        cpu_seconds=-(-sum(cpu) // 1000),
        bytes_out=sum(end.stdout.seen for end in ends if end.stdout) + sum(sent),
    )


# ---------------------------------------------------------------- properties

MINUTES = st.one_of(
    st.integers(-9, 9),
    st.integers(0, 180),
    st.integers(0, 5 * 24 * 60),
    st.sampled_from([-24 * 60, -31 * 24 * 60, 365 * 24 * 60]),
    st.sampled_from([1, 10, 59, 60, 61, 24 * 60, 24 * 60 + 10, 30 * 24 * 60, 30 * 24 * 60 + 60]),
)
"""Also backwards, a little or by days, a year ahead, and across the edges of every window."""
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["run", "run", "run", "denied", "ask", "late ask", "forget", "spoil"]),
        st.sampled_from(["scout", "scout", "scout", *PEOPLE]),
        st.sampled_from([None, "alice", "bob"]),
        MINUTES,
        st.integers(0, 3),
    ),
    min_size=4,
    max_size=40,
)


def play(book: Book, number: int, step: tuple[str, str, str | None, int, int]) -> None:
    what, name, owner, minutes, amount = step
    book.now += timedelta(minutes=minutes, seconds=amount * 7)
    run = f"run-{number}"
    match what:
        case "run" | "denied":
            book.submit(name, run, owner)
            book.resolve(name, run, *PACKAGES[:amount])
            if what == "run":
                book.start(name, run, host=f"h{amount}" if amount else "", path="/srv/a" if amount == 2 else "")
                book.send(name, run, sent=amount)
            book.finish(name, run, cpu_ms=400 * amount or None, out=amount, end="executed" if what == "run" else what)
            if amount != 3:
                assert book.told(name, book.now) == counted(book, name, book.now)
        case "ask":
            assert book.told(name, book.now) == counted(book, name, book.now)
        case "late ask":
            # a clock that was set back by days asks for what was dropped
            earlier = book.now - timedelta(days=amount, hours=2)
            assert book.told(name, earlier) == counted(book, name, earlier)
        case "forget":
            book.forget()
        case "spoil":
            book.spoil()


@settings(
    max_examples=200 if DEEP else 20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_what_is_kept_answers_as_a_full_count(
    steps: list[tuple[str, str, str | None, int, int]],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "_KEEP_AFTER", 3)
    book = Book(tmp_path_factory.mktemp("book"))
    try:
        for number, step in enumerate(steps):
            play(book, number, step)
        for name in PEOPLE:
            assert book.told(name, book.now) == counted(book, name, book.now), name
        book.forget()
        for name in PEOPLE:
            assert book.told(name, book.now) == counted(book, name, book.now), name
    finally:
        book.ledger.close()


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    made = Book(tmp_path)
    yield made
    made.ledger.close()


def worked(book: Book, runs: int, *, who: str = "scout", minutes: int = 7) -> None:
    for number in range(runs):
        book.now += timedelta(minutes=minutes)
        play(book, book.count * 1000 + number, ("run", who, "alice", 0, 1))


def derived_rows(book: Book) -> dict[str, tuple[int, bytes]]:
    with book.ledger._engine.begin() as connection:
        return {
            name: (upto, content)
            for name, upto, content in connection.exec_driver_sql("SELECT name, upto, content FROM derived")
        }


def test_a_principal_of_whom_there_is_nothing_is_not_read_again_and_again(book: Book) -> None:
    worked(book, 20)
    book.told("bob", book.now)
    upto, _ = derived_rows(book)["past/bob"]
    assert upto == book.ledger.size


def test_only_what_is_new_is_read(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    worked(book, 40)
    book.told("scout", book.now)
    worked(book, 1)
    read: list[Entry] = []
    real = Ledger.entries

    def counting(ledger: Ledger, **wanted: object) -> Iterator[Entry]:
        for entry in real(ledger, **wanted):  # type: ignore[arg-type]  # passed on as it came
            read.append(entry)
            yield entry

    monkeypatch.setattr(Ledger, "entries", counting)
    past_of(book.ledger, "scout", now=book.now)
    assert 0 < len(read) <= 6


@pytest.mark.parametrize("window", [0, 1, 2])
def test_every_edge_of_a_window_is_where_a_full_count_has_it(
    book: Book, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept, then asked at each bucket's begin, just before and just after it, forwards and backwards beyond what was kept."""
    monkeypatch.setattr(following, "_KEEP_AFTER", 1)
    length, width = WINDOWS[window]
    book.now += 2 * length
    for number in range(8):
        book.now += width
        book.finish("scout", f"run-{number}", cpu_ms=1000 * 2**number, out=2**number)
    end = book.now
    for minutes in (0, 1):
        book.told("scout", end + timedelta(minutes=minutes))
        assert derived_rows(book)["past/scout"]
        for steps in range(-10, 10):
            for bit in (-1, 0, 1):
                now = end + length + width * steps + timedelta(microseconds=bit)
                assert book.told("scout", now) == counted(book, "scout", now), (steps, bit)
        for earlier in (length, 2 * length, 2 * length + 3 * width, timedelta(minutes=59), timedelta(minutes=61)):
            book.told("scout", end)
            assert book.told("scout", end - earlier) == counted(book, "scout", end - earlier), earlier


def test_what_was_dropped_is_counted_again_for_a_clock_that_was_set_back(book: Book) -> None:
    for number in range(200):
        book.now += timedelta(seconds=50)
        book.finish("scout", f"run-{number}", cpu_ms=1000, out=1)
    book.told("scout", book.now)
    assert Past.from_bytes(derived_rows(book)["past/scout"][1][64:])
    for hours in range(1, 6):
        now = book.now - timedelta(hours=hours)
        assert book.told("scout", now) == counted(book, "scout", now), hours


def test_an_entry_that_is_older_than_what_was_kept_counts(book: Book) -> None:
    """The ledger takes what is up to ten minutes older than its newest entry."""
    worked(book, 3)
    book.told("scout", book.now)
    book.now -= timedelta(minutes=9)
    worked(book, 1, minutes=0)
    assert book.told("scout", book.now) == counted(book, "scout", book.now)


@pytest.mark.parametrize("asked", [False, True])
def test_a_clock_that_was_far_ahead_for_a_moment_hides_nothing_that_came_after(
    book: Book, monkeypatch: pytest.MonkeyPatch, *, asked: bool
) -> None:
    """Else whoever is denied, or has spent his budget, would be as new from then on."""
    monkeypatch.setattr(following, "_KEEP_AFTER", 1)
    right = book.now
    for number, minutes in enumerate((1, 2, 365 * 70 * 24 * 60, 3, 4, 400, 401)):
        book.now = right + timedelta(minutes=minutes)
        play(book, number, ("run", "scout", "alice", 0, 1 if asked else 3))
    told = book.told("scout", book.now)
    assert told == counted(book, "scout", book.now)
    assert told.runs_total == 7
    assert book.ledger.count(kinds=("ledger:clock_set_back",)) == 1


def test_entries_are_folded_in_the_order_of_the_ledger_where_clocks_went_back(book: Book) -> None:
    """A submission for one human, then one for another with an older time, on both sides of where a slice ends."""
    for minutes, owner in ((352, "alice"), (348, "bob")):
        book.now = BEGAN + timedelta(minutes=minutes)
        book.submit("scout", f"run-{owner}", owner)
    book.now = BEGAN + timedelta(minutes=353)
    book.finish("scout", "run-bob", cpu_ms=5000, out=0)
    for name in ("alice", "bob"):
        assert book.told(name, book.now) == counted(book, name, book.now), name
    assert book.told("bob", book.now).spent.owner.hour.cpu_seconds == 5


def test_an_owner_pays_for_an_agent_that_stands_in_no_directory_any_more(book: Book) -> None:
    book.told("alice", book.now)
    worked(book, 2, who="left")
    assert book.told("alice", book.now).spent.owner.hour.runs == 2
    assert book.told("alice", book.now) == counted(book, "alice", book.now)


def test_what_is_kept_does_not_grow_with_the_log(book: Book) -> None:
    sizes = []
    for _ in range(3):
        worked(book, 60, minutes=24 * 60)
        book.told("scout", book.now)
        book.forget()
        book.told("scout", book.now)
        sizes.append(len(derived_rows(book)["past/scout"][1]))
    assert max(sizes[1:]) <= sizes[0] * 1.1


def test_an_older_state_that_a_slower_process_kept_last_changes_nothing(book: Book) -> None:
    worked(book, 20)
    book.told("scout", book.now)
    old = derived_rows(book)
    worked(book, 30)
    book.told("scout", book.now)
    with book.ledger._engine.begin() as connection:
        for name, (upto, content) in old.items():
            connection.exec_driver_sql("UPDATE derived SET upto = ?, content = ? WHERE name = ?", (upto, content, name))
    assert book.told("scout", book.now) == counted(book, "scout", book.now)


def test_whoever_can_write_the_database_cannot_give_back_what_was_spent(book: Book) -> None:
    """Verify does not read what is kept: so what the ledger's key did not sign counts for nothing."""
    worked(book, 20)
    book.told("scout", book.now)
    book.told("bob", book.now)
    nothing_spent = Past(newest_us=us_of(book.now)).to_bytes()
    of_bob = derived_rows(book)["past/bob"][1]
    for upto, content in (
        (book.ledger.size, nothing_spent),
        (book.ledger.size, of_bob[:64] + nothing_spent),
        (book.ledger.size, of_bob),
        (book.ledger.size + 7, derived_rows(book)["past/scout"][1]),
    ):
        with book.ledger._engine.begin() as connection:
            change = "UPDATE derived SET upto = ?, content = ? WHERE name = 'past/scout'"
            connection.exec_driver_sql(change, (upto, content))
        told = book.told("scout", book.now)
        assert told == counted(book, "scout", book.now)
        assert told.spent.principal.month.runs == 20


def test_a_ledger_that_is_read_only_is_counted_all_the_same(book: Book) -> None:
    worked(book, 30)
    book.forget()
    with Ledger.open(book.files, read_only=True) as ledger:
        told = history_of(ledger, book.directory, book.who("scout"), now=book.now)
    assert told == counted(book, "scout", book.now)
    assert derived_rows(book) == {}


def test_a_state_that_could_not_be_kept_is_no_reason_not_to_decide(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    worked(book, 30)

    def full(*_: object, **__: object) -> None:
        raise LedgerError("no room", hint="")

    monkeypatch.setattr(Ledger, "keep_derived", full)
    assert book.told("scout", book.now) == counted(book, "scout", book.now)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"newest_us": 1}',
        b'{"newest_us": 1, "owner": null, "runs": 0, "starts": 0, "known": {}, "pins": {}, "kept_from": [], "buckets": []}',
        b'{"newest_us": 1, "owner": null, "runs": 0, "starts": 0, "known": {"a": "b"}, "pins": {}, "kept_from": [0, 0, 0], "buckets": [[], [], []]}',
        b'{"newest_us": 1, "owner": null, "runs": 0, "starts": 0, "known": {}, "pins": {}, "kept_from": [0, 0, 0], "buckets": [[[1]], [], []]}',
    ],
)
def test_what_cannot_be_read_as_a_past_is_none(content: bytes) -> None:
    assert Past.from_bytes(content) is None


def test_what_was_only_asked_for_stays_new(book: Book) -> None:
    """Else a denied request would be the way to make the next one look familiar."""
    book.submit("scout", "run-x", "alice")
    book.resolve("scout", "run-x", ("six", "1.0"))
    book.finish("scout", "run-x", cpu_ms=None, out=0, end="denied")
    assert book.told("scout", book.now).known_packages == ()
    book.submit("scout", "run-y", "alice")
    book.resolve("scout", "run-y", ("six", "1.0"))
    book.start("scout", "run-y")
    assert book.told("scout", book.now).known_packages == ("six==1.0",)


def test_what_was_granted_long_ago_is_new_again(book: Book) -> None:
    past = Past()
    worked(book, 1)
    (start,) = book.ledger.entries(kinds=("run:started",))
    past.add(start)
    assert past.granted("host") == ("h1:443",)
    book.start("scout", "run-plain")
    plain = next(book.ledger.entries(kinds=("run:started",), newest_first=True))
    for _ in range(199):
        past.add(plain)
    assert past.granted("host") == ("h1:443",)
    past.add(plain)
    assert past.granted("host") == ()


COUNTING = """
import sys
from pathlib import Path
from tests.flows import test_past
from custody.flows import following
following._KEEP_AFTER = 1
book = test_past.Book(Path(sys.argv[1]))
print("made", flush=True)
while True:
    test_past.worked(book, 2)
    book.told("scout", book.now)
    print(book.now.isoformat(), flush=True)
"""


@pytest.mark.parametrize("lines", [2, 5, 9])
def test_a_crash_in_the_middle_of_counting_changes_no_answer(tmp_path: Path, lines: int) -> None:
    """Killed between two lines: somewhere in an append, a fold, or the keeping of one."""
    with subprocess.Popen(
        [sys.executable, "-c", COUNTING, str(tmp_path / "book")], stdout=subprocess.PIPE, text=True
    ) as counting:
        assert counting.stdout is not None
        for _ in range(lines):
            assert select.select([counting.stdout], [], [], 120)[0], "it stands still"
            said = counting.stdout.readline().strip()
        counting.send_signal(signal.SIGKILL)
    book = Book.__new__(Book)
    book.files = LedgerFiles(tmp_path / "book" / "ledger.sqlite", tmp_path / "book" / "keys")
    book.directory = Directory.from_text(DIRECTORY)
    now = datetime.fromisoformat(said) + timedelta(minutes=40)
    with Ledger.open(book.files) as ledger:
        book.ledger = ledger
        for name in PEOPLE:
            assert book.told(name, now) == counted(book, name, now), name
