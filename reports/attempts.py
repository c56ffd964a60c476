"""Failed and denied attempts: what each run asked for, what it tried, what it got.

It must never claim that something did not happen because nobody saw it: what was not observed is said beside it.
"""

from collections.abc import Callable, Iterable, Sequence

from ..errors import CustodyError
from ..ledger.events import (
    ArtefactCollected,
    CommandObserved,
    DependenciesResolved,
    EgressAttempted,
    FileObserved,
    OutputRecord,
    PolicyDecided,
    RunFinished,
    RunStarted,
    RunSubmitted,
    SyscallDenied,
)
from ..ledger.types import PayloadRef
from .endings import end_in_words, limits_in_words, severity_of_end
from .stories import Seen, Story, prying, stays_inside
from .types import Attempt, Fate, Severity
from .words import clip, count_of, duration, joined, number, place, shorten, size_of

__all__ = ["ReadPayload", "attempt_of", "key_entries", "severity_of", "was_refused_something"]

ReadPayload = Callable[[PayloadRef], bytes]

_NAMED = 2
"""As many places are named in a headline; more are counted."""
_EXCERPT_LINES = 6
_EXCERPT_WIDTH = 90
"""With the count of what is left out, a line of the printed page."""
_EXCERPT_BYTES = 64 * 1024
"""More of a payload is not even decoded."""
_OWN_REPORT = "its own report"
"""Said of what the jailed program could have kept from us or made up; the page explains it."""


def was_refused_something(story: Story) -> bool:
    """Whether it was observed to try something that the jail refuses, or to pry into secrets of the machine."""
    return bool(story.refused_egress or story.all(SyscallDenied) or prying(story))


def severity_of(story: Story) -> Severity:
    """The end's severity, raised where it was refused something that it never asked for."""
    return max(severity_of_end(story), _severity_of_tries(story), key=lambda severity: severity.rank)


def _severity_of_tries(story: Story) -> Severity:
    if story.all(SyscallDenied) or prying(story):
        return Severity.HIGH
    refused = story.refused_outside
    if not refused:
        return Severity.LOW if story.refused_egress else Severity.NONE
    submitted = story.submitted
    named = {host.name for host in submitted.hosts} | set(submitted.facts.hosts) if submitted else set()
    return Severity.MEDIUM if all(seen.event.host in named for seen in refused) else Severity.HIGH


def attempt_of(story: Story, read_payload: ReadPayload | None) -> Attempt:
    """The story of one run that somebody should read."""
    end = story.finished
    submitted = story.submitted
    return Attempt(
        run=clip(story.run, 80),
        time=story.time,
        principal=clip(story.principal, 120),
        owner=clip(story.owner, 120),
        program=clip(story.program, 120),
        purpose=clip(submitted.purpose if submitted else ""),
        fate=story.fate,
        end=end_in_words(story),
        headline=_headline(story),
        rules=shorten(sorted(set(end.event.rules))) if end else (),
        reason=_reason(story),
        asked=_asked(story),
        announced=_announced(submitted),
        tried=_tried(story),
        got=_got(story),
        excerpt=_excerpt(end.event, read_payload) if end else "",
        severity=severity_of(story),
        entries=key_entries(story),
    )


def key_entries(story: Story, most: int = 12) -> tuple[int, ...]:
    """Entries that prove the story: request, decisions, start, end, then what was observed, at most `most`."""
    frame = [
        e.index for e in story.entries if isinstance(e.event, RunSubmitted | PolicyDecided | RunStarted | RunFinished)
    ]
    rest = [entry.index for entry in story.observed]
    return tuple(sorted((frame + rest)[:most]))


def _headline(story: Story) -> str:
    refused = story.refused_egress
    calls = story.all(SyscallDenied)
    files = _distinct(seen.event.path for seen in prying(story))
    if story.executed and (refused or files):
        to_open = f"to open {_one_or_many(files, 'file of secrets', 'files of secrets')}"
        return f"Tried {joined([to_open] * bool(files) + _to_reach(refused))}{_reached(story) if refused else ''}"
    if story.executed and calls:
        return f"Tried {joined([clip(name, 40) for name in _distinct(c.event.name for c in calls)[:3]])}; the filter stopped it"
    if story.fate is Fate.NOT_RUN:
        return f"{end_in_words(story)}; it never ran"
    return end_in_words(story)


def _to_reach(refused: Sequence[Seen[EgressAttempted]]) -> list[str]:
    """What is outside the jail, and what only the jail's own loopback would have answered."""
    outside = _distinct(_place(seen) for seen in refused if not stays_inside(seen.event.host))
    inside = _distinct(_place(seen) for seen in refused if stays_inside(seen.event.host))
    return [
        f"to reach {named}"
        for names, named in (
            (outside, _one_or_many(outside, "network destination")),
            (inside, f"{_one_or_many(inside, 'port')} at its own loopback"),
        )
        if names
    ]


def _place(seen: Seen[EgressAttempted]) -> str:
    return place(seen.event.host, seen.event.port)


def _reached(story: Story) -> str:
    reached = len(_distinct(s.event.host for s in story.all(EgressAttempted) if s.event.allowed))
    return f"; reached {count_of(reached, 'host') if reached else 'none'}"


def _one_or_many(names: Sequence[str], one: str, many: str = "") -> str:
    return joined([clip(name, 80) for name in names]) if len(names) <= _NAMED else count_of(len(names), one, many)


def _reason(story: Story) -> str:
    decided = [d for d in story.all(PolicyDecided) if d.event.result != "allowed"]
    texts = _distinct(reason.text for seen in decided[-1:] for reason in seen.event.reasons)
    end = story.finished
    if texts and story.fate is Fate.NOT_RUN:
        return clip(". ".join(clip(text.rstrip(".")) for text in texts[:5]), 900)
    return clip(end.event.explanation, 600) if end else ""


def _asked(story: Story) -> tuple[str, ...]:
    submitted = story.submitted
    if submitted is None:
        return ("not known: its request is older than the entries that were read",)
    hosts = [f"network: {place(host.name, host.port)}" for host in submitted.hosts]
    mounts = [f"path: {mount.path} ({mount.access})" for mount in submitted.mounts]
    packages = _asked_packages(story, submitted)
    asked = [*shorten(hosts), *shorten(mounts), *packages]
    wants = (("network", hosts), ("path of the machine", mounts), ("package", packages))
    missing = [f"no {what}" for what, found in wants if not found]
    if missing:
        asked.append(joined(missing))
    limits = submitted.limits
    asked.append(
        f"{limits.wall_seconds} s, {limits.memory_mib} MiB, {count_of(limits.processes, 'process', 'processes')}"
    )
    return tuple(asked)


def _asked_packages(story: Story, submitted: RunSubmitted) -> list[str]:
    resolved = story.last(DependenciesResolved)
    if resolved is None:
        count = submitted.requirement_count
        return [f"{count_of(count, 'requirement')}, not resolved"] if count else []
    event = resolved.event
    named = [f"{pin.name} {pin.version}" for pin in event.pins if pin.direct] or [
        f"{p.name} {p.version}" for p in event.pins
    ]
    return [f"packages: {', '.join(shorten(named))}"] if named else []


def _announced(submitted: RunSubmitted | None) -> tuple[str, ...]:
    if submitted is None:
        return ()
    facts = submitted.facts
    if not facts.parsed:
        return (f"its code could not be read: {clip(facts.error, 120)}",)
    parts = [
        ("imports", facts.imports),
        ("mentions", facts.hosts + facts.paths),
        ("shows", facts.flags),
        ("holds secrets of kind", facts.secrets),
    ]
    return tuple(f"{what} {', '.join(shorten(found, 6))}" for what, found in parts if found)


def _tried(story: Story) -> tuple[str, ...]:
    if not story.executed:
        return ("nothing: it never ran",)
    end = story.finished
    tried = [
        *shorten(_egress_in_words(seen.event) for seen in story.all(EgressAttempted)),
        *shorten(f"start {_command(seen.event)}" for seen in story.all(CommandObserved)),
        *shorten(_file(seen.event) for seen in story.all(FileObserved)),
        *shorten(_call(seen) for seen in story.all(SyscallDenied)),
    ]
    if end is not None:
        if end.event.limits_hit:
            tried.append(f"use more {limits_in_words(end.event)} than it was given")
        if end.event.overflow is not None:
            tried.append(
                f"{number(end.event.observed_total)} observations in all; those beyond the cap are in a payload"
            )
    return tuple(tried) or ("nothing that custody could observe beyond running",)


def _egress_in_words(event: EgressAttempted) -> str:
    times = f", {number(event.count)} times" if event.count > 1 else ""
    result = "connected" if event.allowed else "refused"
    reason = f": {clip(event.reason, 120)}" if event.reason else ""
    return f"reach {place(event.host, event.port)}{times}: {result}{reason}{_source(own=event.program_controlled)}"


def _command(event: CommandObserved) -> str:
    words = event.arguments or ()
    if words[:1] == (event.path,) or words[:1] == (event.path.rpartition("/")[2],):
        words = words[1:]
    return f"{clip(' '.join((event.path, *words)), 160)}{_source(own=event.program_controlled)}"


def _file(event: FileObserved) -> str:
    what = {"attempted": "open", "opened": "open", "created": "create", "changed": "change", "deleted": "delete"}.get(
        event.action, clip(event.action, 20)
    )
    return f"{what} {clip(event.path, 160)}{_source(own=event.program_controlled)}"


def _call(seen: Seen[SyscallDenied]) -> str:
    event = seen.event
    times = f", {number(event.count)} times" if event.count > 1 else ""
    return f"system call {clip(event.name, 40)}{times}: {clip(event.action, 20)}"


def _source(*, own: bool) -> str:
    return f" ({_OWN_REPORT})" if own else ""


def _got(story: Story) -> tuple[str, ...]:
    if not story.executed:
        return ("nothing",)
    got = [
        f"a connection to {place(s.event.host, s.event.port)}" for s in story.all(EgressAttempted) if s.event.allowed
    ]
    refused = sum(seen.event.count for seen in story.refused_egress)
    if refused and not got:
        got.append(
            f"no connection: {count_of(refused, 'attempt')} refused"
            if refused == 1
            else f"no connection: all {number(refused)} attempts refused"
        )
    artefacts = story.all(ArtefactCollected)
    if artefacts:
        names = ", ".join(shorten((seen.event.name for seen in artefacts), 4))
        got.append(f"{count_of(len(artefacts), 'artefact')} out: {names}")
    if any(seen.event.program_controlled for seen in story.all(FileObserved)):
        got.append("whether opening those files succeeded was not observed")
    end = story.finished
    if end is None:
        return (*got, "its end is not recorded yet")
    return (*got, *_result(end.event))


def _result(end: RunFinished) -> list[str]:
    written = [
        f"{size_of(stream.seen)} on {name}{' (cut off)' if stream.truncated else ''}"
        for name, stream in _streams(end)
        if stream.seen
    ]
    result = [f"output: {joined(written)}" if written else "no output"]
    if end.usage is not None:
        result.append(f"{duration(end.usage.wall_ms)} of time")
    if end.artefacts_refused:
        result.append(f"{count_of(len(end.artefacts_refused), 'artefact')} refused")
    return result


def _streams(end: RunFinished) -> list[tuple[str, OutputRecord]]:
    named = (("standard error", end.stderr), ("standard output", end.stdout))
    return [(name, stream) for name, stream in named if stream is not None]


def _excerpt(end: RunFinished, read_payload: ReadPayload | None) -> str:
    """The last lines of what was kept of its standard error, else of its standard output."""
    if read_payload is None:
        return ""
    for _name, stream in _streams(end):
        if stream.payload is None or not stream.seen:
            continue
        try:
            content = read_payload(stream.payload)
        except CustodyError as error:
            return f"(not readable: {error.message})"
        lines = content[-_EXCERPT_BYTES:].decode("utf-8", "replace").replace("\r\n", "\n").splitlines()
        kept = [clip(line.rstrip(), _EXCERPT_WIDTH) for line in lines if line.strip()][-_EXCERPT_LINES:]
        if kept:
            return "\n".join(kept)
    return ""


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
