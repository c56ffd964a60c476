"""Folds over the ledger that go on where they ended, so that they cost what is new and not what there is.

Rules of this page:
- A fold is made of entries alone, in the order of the ledger. What is kept of it is derived state: no evidence, and gone at any time.
- With or without what was kept the answer is the same; what cannot be read, or comes from another version, is made again from the first entry.
- Keeping is one transaction of the ledger: a crash leaves what was kept before, or nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Protocol, TypeVar

from ..errors import LedgerError
from ..ledger import Entry, Ledger
from ..ledger.types import Derived

__all__ = ["follow", "time_of", "us_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEEP_AFTER = 64
"""Entries that are folded again and again before it is worth keeping the result."""
_BACKWARDS = timedelta(minutes=10)
"""An entry is at most so much older than those before it, unless the ledger said in between that the clock was set back."""
_SET_BACK = ("ledger:clock_set_back",)
_SLICE = timedelta(hours=6)


class Fold(Protocol):
    """What entries are folded into."""

    newest_us: int
    """Time of the last entry in it, in microseconds since 1970."""

    def add(self, entry: Entry) -> None:
        """Fold one more entry; they come in the order of the ledger."""

    def to_bytes(self) -> bytes:
        """As it is kept."""


_F = TypeVar("_F", bound=Fold)


def follow(
    ledger: Ledger,
    name: str,
    *,
    version: int,
    kinds: Sequence[str],
    actor: str | None = None,
    empty: Callable[[], _F],
    kept: Callable[[bytes], _F | None],
) -> _F:
    """A fold up to the newest entry.

    Args:
        ledger: what is folded.
        name: under which the result is kept.
        version: of the fold; what another one kept counts for nothing.
        kinds: of the entries that it takes.
        actor: of the entries that it takes; None for everybody's.
        empty: makes a fold of nothing.
        kept: reads what was kept; None where that does not do.
    """
    derived = ledger.derived(name, version=version)
    fold = kept(derived.content) if derived is not None else None
    if derived is None or fold is None:
        return _from_the_beginning(ledger, name, version=version, kinds=kinds, actor=actor, fold=empty())
    upto = derived.upto
    folded = 0
    for entry in ledger.entries(kinds=kinds, actor=actor, start=upto, since=_oldest_from(ledger, upto)):
        fold.add(entry)
        folded, upto = folded + 1, entry.index + 1
    if folded >= _KEEP_AFTER:
        _keep(ledger, name, version, fold, upto)
    return fold


def _oldest_from(ledger: Ledger, upto: int) -> datetime | None:
    """A time that no entry from there on is older than, so that the index need not be searched from its first entry."""
    if upto == 0:
        return None
    before = ledger.entry_at(upto - 1).time
    return min([before, *(said.time for said in ledger.entries(kinds=_SET_BACK, start=upto))]) - _BACKWARDS


def _from_the_beginning(
    ledger: Ledger, name: str, *, version: int, kinds: Sequence[str], actor: str | None, fold: _F
) -> _F:
    newest = next(ledger.entries(newest_first=True), None)
    if newest is None:
        return fold
    begins = [0, *(said.index for said in ledger.entries(kinds=_SET_BACK, stop=newest.index + 1))]
    for begin, end in pairwise([*begins, newest.index + 1]):
        for entry in _in_slices(ledger, kinds, actor, begin, end):
            fold.add(entry)
    fold.newest_us = us_of(newest.time)  # everything below was looked at, whoever wrote it
    _keep(ledger, name, version, fold, newest.index + 1)
    return fold


def _in_slices(ledger: Ledger, kinds: Sequence[str], actor: str | None, begin: int, end: int) -> Iterator[Entry]:
    """Every such entry in order, read in slices of time: a query over all of them would be sorted anew for each page.

    Within these the clock was not set back. It may have gone far ahead, so a slice after an empty one is twice as long.
    """
    if begin == end:
        return
    waiting: list[Entry] = []
    since, length = ledger.entry_at(begin).time - _BACKWARDS, _SLICE
    last = ledger.entry_at(end - 1).time + _BACKWARDS
    while since <= last:
        until = since + min(length, last + _SLICE - since)
        found = list(ledger.entries(kinds=kinds, actor=actor, start=begin, stop=end, since=since, until=until))
        length = _SLICE if found else 2 * length
        waiting = sorted([*waiting, *found], key=lambda entry: entry.index)
        # INVARIANT: whatever a later slice brings stands behind all that is older than this one's end by more than clocks go back
        settled = max((entry.index for entry in waiting if entry.time < until - _BACKWARDS), default=-1)
        yield from (entry for entry in waiting if entry.index <= settled)
        waiting = [entry for entry in waiting if entry.index > settled]
        since = until
    yield from waiting


def _keep(ledger: Ledger, name: str, version: int, fold: Fold, upto: int) -> None:
    try:
        ledger.keep_derived(name, version=version, state=Derived(upto, fold.to_bytes()))
    except LedgerError:
        # what could not be kept is folded again; a ledger that takes nothing any more stops the run where it matters
        return


def us_of(time: datetime) -> int:
    """Whole microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def time_of(microseconds: int) -> datetime:
    """The time of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)
