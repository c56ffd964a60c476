"""The one end of a run: denied, blocked, unavailable, cancelled and others, or executed with its outcome.

`run:finished` has the run's own event id, so the ledger itself refuses a second one. No durable end, no result.
"""

from collections.abc import Sequence

from ..errors import ConflictError
from ..ledger import events
from ..policies.types import Denied, NeedsApproval, Reason
from ..sandbox.types import Outcome, OutcomeClass
from . import entries
from .house import House
from .observations import LINES, OBSERVATIONS, observed, shortened, to_lines
from .passage import Passage, Result
from .record import MACHINERY, Batch, record

__all__ = ["close", "deny", "end_without_execution", "finish", "hold", "packages_were_audited"]


def packages_were_audited(passage: Passage) -> bool:
    """Whether the audit of this run was a real one."""
    return passage.findings is None or passage.findings.real


def deny(house: House, passage: Passage, decision: Denied, *, stage: str) -> None:
    """The decision and the end, durable together."""
    batch = Batch(house, passage.request.principal.id, passage.run)
    batch.add(
        entries.decided(
            batch,
            decision.basis,
            stage=stage,
            result="denied",
            reasons=decision.reasons,
            profile=passage.request.profile,
        )
    )
    end = "blocked" if decision.about_packages_only else "denied"
    explanation = "; ".join(reason.text for reason in decision.reasons) or "an error while deciding is a denial"
    _finish_unstarted(passage, batch, end, explanation, rules=decision.basis.rules, reasons=decision.reasons)


def end_without_execution(
    house: House,
    passage: Passage,
    end: str,
    explanation: str,
    *,
    extra: Sequence[events.Event] = (),
    reasons: Sequence[Reason] = (),
) -> None:
    """An end for a run that was not executed, with what led to it in the same batch."""
    batch = Batch(house, passage.request.principal.id, passage.run)
    for event in extra:
        batch.add(event)
    _finish_unstarted(passage, batch, end, explanation, reasons=reasons)


def _finish_unstarted(
    passage: Passage,
    batch: Batch,
    end: str,
    explanation: str,
    *,
    rules: Sequence[str] = (),
    reasons: Sequence[Reason] = (),
) -> None:
    batch.add(
        events.RunFinished(
            end=end, started=passage.started, outcome=None, explanation=explanation[:600], rules=tuple(rules)
        ),
        id=f"{passage.run}/finished",
    )
    acknowledgements = batch.write()
    passage.result = Result(
        run=passage.run,
        end=end,
        entry=acknowledgements[-1].index,
        rules=tuple(rules),
        reasons=tuple(reasons),
        explanation=explanation,
        real_audit=packages_were_audited(passage),
        packages=len(passage.lock.pins),
    )
    passage.ownership.release()


def finish(house: House, passage: Passage, outcome: Outcome) -> None:
    """Everything that was observed, and the end, in one batch; only then is there a result."""
    batch = Batch(house, passage.request.principal.id, passage.run)
    found = observed(batch, outcome)
    room = max(0, OBSERVATIONS - len(outcome.artefacts))
    shown = [shortened(event) for event in found[:room]]
    cut = [whole for whole, short in zip(found, shown, strict=False) if whole != short]
    beyond = [*cut, *found[room:]]
    for event in shown:
        batch.add(event)
    for stream, output in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        if output.redactions:
            batch.add(events.OutputRedacted(where=stream, count=output.redactions))
    for artefact in outcome.artefacts:
        reference = batch.seal(artefact.content, media="application/octet-stream")
        batch.add(
            events.ArtefactCollected(
                name=artefact.name[:300],
                sha256=artefact.sha256,
                bytes=artefact.bytes,
                redactions=artefact.redactions + reference.redactions,
                content=reference,
            )
        )
    rules = passage.decision.basis.rules if passage.decision else ()
    if outcome.outcome is OutcomeClass.CANCELLED:
        batch.add(
            events.RunCancelled(by=passage.request.principal.id, reason="the process that ran it was asked to stop")
        )
    batch.add(
        entries.finished(
            batch,
            outcome,
            rules=rules,
            undeclared=_undeclared(passage, outcome),
            overflow=batch.seal(to_lines(beyond), media=LINES) if beyond else None,
            total=sum(outcome.observed_total.values()) or len(found),
        ),
        id=f"{passage.run}/finished",
    )
    try:
        index = batch.write()[-1].index
    except ConflictError:
        passage.result = _late(house, passage, outcome)
    else:
        passage.result = Result(
            run=passage.run,
            end="executed",
            entry=index,
            outcome=outcome,
            rules=rules,
            explanation=outcome.explanation,
            real_audit=packages_were_audited(passage),
            packages=len(passage.lock.pins),
        )
    passage.ownership.release()


def _late(house: House, passage: Passage, outcome: Outcome) -> Result:
    """The run was given its end while it ran: what came of it is kept beside that end, and is not its result."""
    late = events.RunLateResult(
        outcome=outcome.outcome,
        explanation=outcome.explanation[:300],
        exit_code=outcome.exit_code,
        signal=outcome.signal,
    )
    index = record(house, late, actor=MACHINERY, run=passage.run).index
    return Result(
        run=passage.run, end="unknown", entry=index, explanation="the run had been given its end before its result came"
    )


def _undeclared(passage: Passage, outcome: Outcome) -> tuple[str, ...]:
    """What was observed though no fact of the code announced it."""
    facts = passage.code
    found = []
    if outcome.commands and "process" not in facts.flags:
        found.append("process")
    found += sorted(
        {f"host {e.host}" for e in outcome.egress if e.host not in {h.partition(":")[0] for h in facts.hosts}}
    )
    found += sorted({f"file {f.path}" for f in outcome.files if f.path not in facts.paths})
    return tuple(found)


def hold(house: House, passage: Passage, decision: NeedsApproval, *, expires: str) -> None:
    """The run waits for people; the decision and the hold are durable together. Not an end."""
    batch = Batch(house, passage.request.principal.id, passage.run)
    batch.add(
        entries.decided(
            batch,
            decision.basis,
            stage="run",
            result="needs_approval",
            reasons=decision.reasons,
            roles=decision.roles,
            profile=decision.grant.profile,
            limits=decision.grant.limits,
        )
    )
    batch.add(
        events.RunHeld(decision=decision.basis.decision, roles=decision.roles, binding=passage.binding, expires=expires)
    )
    index = batch.write()[-1].index
    passage.result = Result(
        run=passage.run,
        end="held",
        entry=index,
        rules=decision.basis.rules,
        reasons=decision.reasons,
        roles=decision.roles,
        explanation="; ".join(reason.text for reason in decision.reasons),
        real_audit=packages_were_audited(passage),
        packages=len(passage.lock.pins),
    )
    passage.ownership.release()


def close(house: House, run: str, *, started: bool, explanation: str, end: str = "unknown") -> int | None:
    """Give an end to a run whose owner is gone; None if it already has one."""
    batch = Batch(house, MACHINERY, run)
    batch.add(
        events.RunFinished(
            end=end, started=started, outcome="unknown" if started else None, explanation=explanation, rules=()
        ),
        id=f"{run}/finished",
    )
    try:
        return batch.write()[0].index
    except ConflictError:
        return None
