"""Which evidence stands on the page: what the worst claims rest on comes first, and each run's entries stand together.

It must never lose an entry without a word: what does not fit is counted on the page and whole in the JSON.
"""

from collections.abc import Iterator, Sequence

from .types import Claim, EvidenceRow, Review

__all__ = ["by_run", "shown"]

_OUTSIDE = "Not part of a run"


def shown(review: Review, *, rows: int, cards: int) -> Sequence[EvidenceRow]:
    """At most so many rows, in the order of the ledger; those that matter most if not all fit."""
    if len(review.evidence) <= rows:
        return review.evidence
    chosen: dict[int, None] = {}
    for index in _by_weight(review, rows=rows, cards=cards):
        chosen[index] = None
        if len(chosen) == rows:
            break
    return [row for row in review.evidence if row.index in chosen]


def _by_weight(review: Review, *, rows: int, cards: int) -> Iterator[int]:
    claims: tuple[Sequence[Claim], ...] = (
        review.decisions[:rows], review.anomalies[:cards], review.attempts[:cards], review.packages[:rows], review.audits,
        review.refusals, review.approvals, review.exposure, review.granted_limits, review.limits, review.attempts, review.runs,
    )  # fmt: skip
    for group in claims:
        for claim in group:
            yield from claim.entries


def by_run(rows: Sequence[EvidenceRow], review: Review, *, paper: int) -> Sequence[dict[str, object]]:
    """The rows under the runs that they belong to, runs in the order of their first entries; the first `paper` rows are printed."""
    programs = {run.run: run.program for run in review.runs}
    groups: dict[str, list[EvidenceRow]] = {}
    for row in rows:
        groups.setdefault(row.run, []).append(row)
    told, before = [], 0
    for run, same in groups.items():
        program = programs.get(run, "") if run else _OUTSIDE
        told.append(_group(run, same, program, printed=max(0, paper - before)))
        before += len(same)
    return told


def _group(run: str, rows: Sequence[EvidenceRow], program: str, *, printed: int) -> dict[str, object]:
    day = f"{rows[0].time:%Y-%m-%d}"
    plain = [_plain(row, day, off=place >= printed) for place, row in enumerate(rows)]
    return {"run": run, "program": program, "day": day, "off": printed == 0, "rows": plain}


def _plain(row: EvidenceRow, day: str, *, off: bool) -> dict[str, object]:
    """One row; its time says the day only where the group's is another."""
    time = f"{row.time:%Y-%m-%d %H:%M:%S}"
    return {
        "index": row.index,
        "time": time.removeprefix(f"{day} "),
        "kind": row.kind,
        "says": row.says,
        "actor": row.actor,
        "leaf_hash": row.leaf_hash[:12],
        "off": off,
    }
