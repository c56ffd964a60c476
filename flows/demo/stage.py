"""Playing the demo: its home, its programs one after the other, its review, and what it all came to."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Protocol

from ...dependencies import read_inline
from ...errors import ConfigurationError, LedgerError, UsageError
from ...ledger import events
from ...policies.types import HostRequest, InputFile, Principal, RunRequest
from ...settings import Settings, load_settings
from .. import approvals, conduct
from ..advisories import import_demo
from ..house import House, open_house
from ..pins import keep_pin
from ..review import find_reviews, read_review, review_window
from ..setup import initialise
from .cast import APPROVER, PROGRAMS, REVIEWER, DemoProgram, directory_text

__all__ = ["DemoObserver", "Demonstration", "Scene", "outcome_text", "run_demo"]

_MARK = ".custody-demo"
_PROFILE = "demo"


class DemoObserver(Protocol):
    """Told how far the demo is."""

    def begin(self, number: int, total: int, title: str) -> None:
        """A program, or another part, begins."""

    def step(self, name: str) -> None:
        """A step of it begins."""

    def end(self, text: str) -> None:
        """It ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One program and what became of it."""

    program: DemoProgram
    run: str
    conductor: str
    finished: events.RunFinished
    """As the ledger has it."""
    rules: tuple[str, ...]
    """Of the last decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What the demo came to."""

    home: Path
    pins: Path
    scenes: tuple[Scene, ...]
    report: Path
    verdict: str
    size: int
    real_audit: bool = False


def run_demo(
    into: Path,
    *,
    os_user: str,
    with_prefect: bool,
    observer: DemoObserver,
    only: Sequence[str] = (),
    policies: Path | None = None,
) -> Demonstration:
    """Play the demo.

    Args:
        into: gets `home` and `pins`; an earlier demo there is replaced, anything else is left alone.
        os_user: who started it; may read everything afterwards.
        with_prefect: whether Prefect conducts a part of it.
        observer: told about progress.
        only: file names of programs, to play a part.
        policies: folder of another policy set than the shipped one.

    Raises:
        UsageError: there is something else at that place.
    """
    into = into.absolute()
    home, pins = _clear(into)
    initialise(
        home,
        os_user=os_user,
        policies=policies,
        directory=directory_text(os_user),
        configuration=f'\n[ledger]\npin_directory = "{pins}"\n',
    )
    settings = load_settings(home)
    programs = [program for program in PROGRAMS if not only or program.file in only]
    with ExitStack() as stack:
        prefect = None
        if with_prefect:
            observer.begin(0, len(programs), "starting a Prefect server of its own")
            prefect = stack.enter_context(conduct.prefect_conductor(settings, progress=observer.step))
            observer.end("on loopback, with authentication")
        with open_house(settings) as house:
            import_demo(house, _principal(house, "alice"))
        scenes = []
        for number, program in enumerate(programs, 1):
            observer.begin(number, len(programs), f"{program.principal}: {program.title}")
            scene = _play(settings, program, prefect, observer)
            observer.end(outcome_text(scene.finished))
            scenes.append(scene)
        return _close(settings, pins, scenes, prefect, observer)


def _clear(into: Path) -> tuple[Path, Path]:
    if into.exists() and not (into / _MARK).is_file() and any(into.iterdir()):
        raise UsageError(f"`{into}` exists and is no demo", hint="give another place with --into")
    try:
        for name in ("home", "pins"):
            if (into / name).exists():
                shutil.rmtree(into / name)
        into.mkdir(parents=True, exist_ok=True)
        (into / _MARK).write_text("made by `custody demo`, which replaces it without asking\n", encoding="utf-8")
        (into / "pins").mkdir()
    except OSError as error:
        raise ConfigurationError(
            f"`{into}` cannot be used: {error.strerror}", hint="give another place with --into"
        ) from error
    return into / "home", into / "pins"


def _play(
    settings: Settings, program: DemoProgram, prefect: conduct.PrefectConductor | None, observer: DemoObserver
) -> Scene:
    """One program all the way, by the conductor that it is meant for; a held one is approved and taken on."""
    with open_house(settings) as house:
        request = _request(house, program)
        if prefect is not None and program.by_prefect:
            passage = conduct.submit(house, request)
            if passage.result is None:
                observer.step("flow gated_run")
                prefect.run(passage.run)
            return _scene(house, program, passage.run, "prefect")
        result = conduct.run_directly(house, request, progress=observer.step)
        if result.end == "held" and program.approved:
            observer.step("approve")
            approvals.approve(house, result.run, _principal(house, APPROVER), comment="read it: it only adds numbers")
            conduct.continue_run(house, result.run, request.principal, progress=observer.step)
        return _scene(house, program, result.run, "direct")


def _scene(house: House, program: DemoProgram, run: str, conductor: str) -> Scene:
    """What the ledger says of a run."""
    known = [entry.event for entry in house.ledger.entries(run=run)]
    finished = next((event for event in known if isinstance(event, events.RunFinished)), None)
    if finished is None:
        raise LedgerError(f"run `{run}` of the demo has no end", hint=f"look at it with `custody runs show {run}`")
    decisions = [
        event for event in known if isinstance(event, events.PolicyDecided) and event.stage in {"submit", "run"}
    ]
    return Scene(
        program=program, run=run, conductor=conductor, finished=finished, rules=decisions[-1].rules if decisions else ()
    )


def _request(house: House, program: DemoProgram) -> RunRequest:
    folder = resources.files(__package__) / "programs"
    code = (folder / program.file).read_bytes()
    inline = read_inline(code)
    profile = house.gate.profiles[_PROFILE]
    return RunRequest(
        principal=_principal(house, program.principal),
        code=code,
        file_name=program.file,
        files=tuple(InputFile(name, (folder / name).read_bytes()) for name in program.inputs),
        requirements=(folder / program.requirements).read_bytes() if program.requirements else b"",
        declared=inline.dependencies if inline else (),
        hosts=tuple(HostRequest(name, port) for name, port in program.hosts),
        limits=replace(profile.defaults, **program.limits),
        profile=_PROFILE,
        purpose=program.purpose,
    )


def _principal(house: House, name: str) -> Principal:
    principal = house.directory.principal(name, authentication="demo-directory")
    if principal is None:
        raise ConfigurationError(f"the demo's directory has no `{name}`", hint="run the demo again into an empty place")
    return principal


def _close(
    settings: Settings,
    pins: Path,
    scenes: Sequence[Scene],
    prefect: conduct.PrefectConductor | None,
    observer: DemoObserver,
) -> Demonstration:
    """The review, and a checkpoint of everything in the second directory."""
    observer.begin(len(scenes) + 1, len(scenes) + 1, "review")
    with open_house(settings) as house:
        keep_pin(house.ledger.checkpoint(), pins)
        until = house.clock() + timedelta(seconds=1)
        since = until - timedelta(hours=1)
        if prefect is not None:
            observer.step("flow daily_review")
            prefect.review(since=since, until=until, principal=REVIEWER)
        else:
            review_window(house, _principal(house, REVIEWER), since=since, until=until, progress=observer.step)
        shown = read_review(house, find_reviews(house)[0].review)
        keep_pin(house.ledger.checkpoint(), pins)
        size = house.ledger.size
    observer.end(shown.event.verdict)
    return Demonstration(
        home=settings.home, pins=pins, scenes=tuple(scenes), report=shown.html, verdict=shown.event.verdict, size=size
    )


def outcome_text(finished: events.RunFinished) -> str:
    """What became of a run, in a few words."""
    if finished.outcome is None:
        return finished.end
    limits = f" ({', '.join(finished.limits_hit)})" if finished.limits_hit else ""
    return f"{finished.outcome.replace('_', ' ')}{limits}"
