"""How a run ended, in words, and how bad that is.

It must never make an end sound better than its entry says.
"""

from ..ledger.events import LimitsRecord, RunFinished, RunSubmitted
from .stories import Story
from .types import Severity
from .words import clip, joined, size_of

__all__ = ["end_in_words", "limits_in_words", "severity_of_end"]

_NOT_RUN = {
    "denied": "Denied by policy",
    "blocked": "Blocked because of its packages",
    "unavailable": "Refused: the machine lacks a layer of the jail",
    "refused": "Refused by an approver",
    "expired": "Expired: nobody answered in time",
    "withdrawn": "Withdrawn by the requester",
    "cancelled": "Cancelled before it started",
    "stopped": "Stopped by order",
    "unknown": "Unknown: a crash left it open",
}

_SEVERITY = {
    "succeeded": Severity.NONE,
    "failed": Severity.LOW,
    "timed_out": Severity.MEDIUM,
    "killed_memory": Severity.MEDIUM,
    "killed_cpu": Severity.MEDIUM,
    "killed_output": Severity.MEDIUM,
    "violated_policy": Severity.HIGH,
    "cancelled": Severity.LOW,
    "infrastructure_error": Severity.MEDIUM,
    "denied": Severity.MEDIUM,
    "blocked": Severity.MEDIUM,
    "unavailable": Severity.MEDIUM,
    "refused": Severity.LOW,
    "expired": Severity.LOW,
    "withdrawn": Severity.LOW,
    "stopped": Severity.MEDIUM,
}


_LIMITS = {"wall": "time", "cpu": "processor time"}
"""Names of limits where the word of the ledger says little to a reader."""


def limits_in_words(end: RunFinished) -> str:
    """The limits that were met, `time and memory`."""
    return joined([_LIMITS.get(limit, clip(limit, 40)) for limit in end.limits_hit])


def severity_of_end(story: Story) -> Severity:
    """How bad the end alone is; what was tried on the way is judged elsewhere."""
    end = story.finished
    if end is None:
        return Severity.NONE
    word = (end.event.outcome or "unknown") if end.event.end == "executed" else end.event.end
    if word == "failed" and end.event.limits_hit:
        return Severity.MEDIUM
    return _SEVERITY.get(word, Severity.UNKNOWN)


def end_in_words(story: Story) -> str:
    """One short phrase, with the limit, the exit code or the signal where there is one."""
    end = story.finished
    if end is None:
        return _open(story)
    if end.event.end == "executed":
        return _executed(end.event, story.submitted)
    return _NOT_RUN.get(end.event.end, f"Ended as {clip(end.event.end, 40)}")


def _open(story: Story) -> str:
    held = story.waiting
    if held is not None:
        return f"Waits for approval by {joined([f'`{clip(role, 60)}`' for role in held.event.roles]) or 'somebody'}"
    return "Started, no end recorded yet" if story.executed else "Submitted, no end recorded yet"


def _executed(end: RunFinished, submitted: RunSubmitted | None) -> str:  # noqa: PLR0911 - because it is a table: one phrase for each class
    limits = submitted.limits if submitted else None
    match end.outcome:
        case "succeeded":
            return "Succeeded" + (f", at its limit on {limits_in_words(end)}" if end.limits_hit else "")
        case "failed":
            return (f"Failed at its limit on {limits_in_words(end)}" if end.limits_hit else "Failed by itself") + _how(
                end
            )
        case "timed_out":
            return f"Stopped at its time limit{_limit(limits, 'wall')}"
        case "killed_memory":
            return f"Stopped at its memory limit{_limit(limits, 'memory')}"
        case "killed_cpu":
            return f"Stopped at its processor-time limit{_limit(limits, 'cpu')}"
        case "killed_output":
            return f"Stopped at its output limit{_limit(limits, 'output')}"
        case "violated_policy":
            return "Stopped by the system-call filter"
        case "infrastructure_error":
            return "Not judged: custody itself failed while it ran"
        case _:
            return f"Ended as {clip(end.outcome or 'unknown', 40)}"


def _how(end: RunFinished) -> str:
    if end.signal is not None:
        return f", signal {end.signal}"
    return f", exit code {end.exit_code}" if end.exit_code is not None else ""


def _limit(limits: LimitsRecord | None, which: str) -> str:
    if limits is None:
        return ""
    value = {
        "wall": f"{limits.wall_seconds} s",
        "cpu": f"{limits.cpu_seconds} s",
        "memory": f"{limits.memory_mib} MiB",
        "output": size_of(limits.output_kib * 1024),
    }
    return f" of {value[which]}"
