"""Commands about reviews: review run, review list, review show."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from ..errors import Exit, UsageError
from .output import Json, door, print_json, result, say, shown, table, working


def register(app: typer.Typer) -> None:
    """Put the commands of this file on the command line."""
    group = typer.Typer(help="Reviews: run, list, show.", no_args_is_help=True, rich_markup_mode=None)
    group.command("run")(run_review)
    group.command("list")(list_reviews)
    group.command("show")(show_review)
    app.add_typer(group, name="review")


def run_review(
    since: Annotated[
        str, typer.Option("--since", help="Begin of the window: RFC 3339, or 90m, 24h, 7d before its end.")
    ] = "24h",
    until: Annotated[str, typer.Option("--until", help="End of the window: RFC 3339; now by default.")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the index for the latest versions.")] = False,
    json: Json = False,
) -> int:
    """Judge a window of the ledger and render the report; the exit code says how bad the worst finding is."""
    with door() as (house, caller):
        from ..flows.access import authorise
        from ..flows.review import check_window, review_window

        end = _time(until, house.clock()) if until else house.clock()
        begin = _time(since, end)
        check_window(begin, end)
        authorise(house, caller, "runReview", subject="ledger")
        with working("reviewing"):
            done = review_window(house, caller, since=begin, until=end, freshness=not offline)
    if json:
        print_json(
            {
                "review": done.review.id,
                "verdict": done.review.title,
                "severity": done.review.severity.value,
                "decisions": [asdict(decision) for decision in done.review.decisions],
                "html": str(done.html),
                "entry": done.entry,
                "exit_code": int(_exit(done.review.severity)),
            }
        )
    else:
        result(shown(done.review.title))
        for decision in done.review.decisions:
            result(f"  {decision.severity}: {shown(decision.what)} ({shown(decision.who)})")
        say(f"report: {done.html}")
    if done.remark:
        say(f"warning: {shown(done.remark)}")
    return _exit(done.review.severity)


def _exit(severity: str) -> Exit:
    return {
        "critical": Exit.CRITICAL,
        "high": Exit.HIGH,
        "unknown": Exit.HIGH,
        "medium": Exit.MEDIUM,
        "low": Exit.LOW,
    }.get(severity, Exit.DONE)


def _time(text: str, end: datetime) -> datetime:
    unit = {"m": "minutes", "h": "hours", "d": "days"}.get(text[-1:])
    if unit and text[:-1].isdecimal() and len(text) < 8:  # noqa: PLR2004 - more digits than any window needs
        return end - timedelta(**{unit: int(text[:-1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"`{text}` is not a time", hint="give RFC 3339, for example 2026-11-23T08:00:00Z, or 90m, 24h, 7d"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def list_reviews(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 50,
    json: Json = False,
) -> int:
    """List the newest reviews that were made, newest first."""
    with door() as (house, caller):
        from ..flows.access import authorise
        from ..flows.review import find_reviews

        authorise(house, caller, "readAudit", subject="reviews")
        found = find_reviews(house, limit=limit)
    if json:
        print_json({"reviews": [asdict(review) for review in found]})
    elif not found:
        say("there are no reviews yet")
    else:
        table(
            ("review", "since", "until", "severity", "verdict"),
            [(r.review, r.since, r.until, r.severity, r.verdict) for r in found],
        )
    return Exit.DONE


def show_review(
    review: Annotated[str, typer.Argument(help="The review.", metavar="REVIEW")], json: Json = False
) -> int:
    """Say where a review lies, and whether its page is the one that was issued."""
    with door() as (house, caller):
        from ..flows.access import authorise
        from ..flows.review import read_review

        authorise(house, caller, "readAudit", subject=review[:80])
        shown_review = read_review(house, review)
    if json:
        print_json({**asdict(shown_review.event), "html": str(shown_review.html), "as_issued": shown_review.as_issued})
    else:
        result(shown(shown_review.event.verdict))
        result(f"report: {shown_review.html}")
        result(
            "the page is the one that was issued"
            if shown_review.as_issued
            else "the page is NOT the one that was issued"
        )
    return Exit.DONE if shown_review.as_issued else Exit.TAMPERED
