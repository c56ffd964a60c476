"""What was observed of a run on its way into the ledger and back: entries, and one payload for what is beyond their number.

It must never drop or shorten without saying so, nor let a flood of one kind keep another out of the entries.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import chain

from ..errors import EvidenceError
from ..ledger import Entry, events
from ..sandbox.types import DeniedSyscall, ObservedCommand, ObservedEgress, ObservedFile, Outcome
from .house import House
from .record import Batch, bounded, clean

__all__ = ["LINES", "OBSERVATIONS", "commands_of", "observed", "shortened", "to_lines"]

OBSERVATIONS = 190
"""Entries of observation that a run may have; with its other entries that is at most about 200."""
LINES = "application/jsonl"
_SHARE = 40
_WORDS = 24
_WORD = 200
_BEYOND = re.compile(r"… and ([0-9]{1,7}) more")
_WHOLE = 1024 * 1024
"""Longer than any argument of Linux."""
_TEXT = 300
_COMMAND = events.CommandObserved.KIND.name

Clean = Callable[[str, int], str]


def observed(batch: Batch, outcome: Outcome) -> list[events.Event]:
    """What was observed of a run, in the order in which it is put on record; the caller caps it."""
    clean_once = cache(partial(clean, batch.house.redactor))  # thousands of starts are mostly of the same few programs
    return in_turns(
        [_syscall(call, clean_once) for call in outcome.syscalls],
        [_egress(attempt, clean_once) for attempt in outcome.egress],
        [_command(number, command, clean_once) for number, command in enumerate(outcome.commands, 1)],
        [_file(file, clean_once) for file in outcome.files],
    )


def in_turns(*kinds: Sequence[events.Event]) -> list[events.Event]:
    """A share of each kind, then the rest: however much a program makes of one, it does not keep another out of the entries."""
    return [*chain.from_iterable(k[:_SHARE] for k in kinds), *chain.from_iterable(k[_SHARE:] for k in kinds)]


def _syscall(call: DeniedSyscall, clean_once: Clean) -> events.SyscallDenied:
    return events.SyscallDenied(
        number=call.number,
        name=call.name[:40],
        action=call.action,
        command=clean_once(call.command, 40),
        source=call.source,
        count=call.count,
    )


def _egress(attempt: ObservedEgress, clean_once: Clean) -> events.EgressAttempted:
    return events.EgressAttempted(
        host=clean_once(attempt.host, 253),
        port=attempt.port,
        allowed=attempt.allowed,
        reason=attempt.reason[:120],
        source=attempt.source,
        program_controlled=attempt.program_controlled,
        count=attempt.count,
    )


def _command(number: int, command: ObservedCommand, clean_once: Clean) -> events.CommandObserved:
    words = command.arguments
    beyond = (f"… and {command.more} more",) if command.more else ()
    return events.CommandObserved(
        number=number,
        parent=command.parent,
        path=clean_once(command.path, _TEXT),
        arguments=None if words is None else (*(clean_once(word, _WHOLE) for word in words), *beyond),
        source=command.source,
        program_controlled=command.program_controlled,
        exit_status=command.exit_status,
        wall_ms=command.wall_ms,
    )


def _file(file: ObservedFile, clean_once: Clean) -> events.FileObserved:
    return events.FileObserved(
        path=clean_once(file.path, _TEXT),
        action=file.action,
        source=file.source,
        program_controlled=file.program_controlled,
        sha256=file.sha256,
    )


def shortened(event: events.Event) -> events.Event:
    """The observation as an entry may hold it: fewer and shorter arguments, and each cut is shown."""
    if not isinstance(event, events.CommandObserved) or event.arguments is None:
        return event
    words, beyond = event.arguments, 0
    if len(words) > _WORDS and (said := _BEYOND.fullmatch(words[-1])):
        words, beyond = words[:-1], int(said[1])
    kept = [bounded(word, _WORD) for word in words]
    if len(kept) + beyond > _WORDS:
        kept[_WORDS - 1 :] = [f"… and {len(kept) - _WORDS + 1 + beyond} more"]
    return replace(event, arguments=tuple(kept))


def to_lines(found: Iterable[events.Event]) -> bytes:
    """Observations as a payload: `[kind, fields]` on each line."""
    return "".join(f"{json.dumps([event.KIND.name, asdict(event)], sort_keys=True)}\n" for event in found).encode()  # type: ignore[call-overload]  # every Event is a dataclass


def commands_of(house: House, found: Sequence[Entry]) -> list[events.CommandObserved]:
    """Every program that a run was seen to start, in order, from its entries and from the payload of what is beyond them.

    One that an entry had to cut is in the payload as well, and given from there.

    Raises:
        EvidenceError: the payload is not what was committed to, was erased, or is not of this form.
    """
    listed = [entry.event for entry in found if isinstance(entry.event, events.CommandObserved)]
    for entry in found:
        if isinstance(entry.event, events.RunFinished) and entry.event.overflow is not None:
            listed += _read_commands(house.ledger.read_payload(entry.event.overflow))
    whole = {command.number: command for command in listed}  # the payload's come last
    return [whole[number] for number in sorted(whole)]


def _read_commands(lines: bytes) -> list[events.CommandObserved]:
    found = []
    for number, line in enumerate(lines.splitlines(), 1):
        try:
            kind, fields = json.loads(line)
            if kind == _COMMAND:
                words = fields["arguments"]
                found.append(events.CommandObserved(**fields | {"arguments": None if words is None else tuple(words)}))
        except (ValueError, TypeError, KeyError) as error:
            raise EvidenceError(
                f"line {number} of the payload of further observations cannot be read",
                hint="a newer release may have written it",
            ) from error
    return found
