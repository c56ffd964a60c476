"""What the benchmarks share: times taken in turn, figures against their targets, and one form of what is printed.

A figure is a ratio of medians of the same run, so that what else the machine does meets both sides alike; absolute times are never told.
"""

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Better", "Figure", "against", "asked", "interleaved", "told"]

Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One ratio."""

    name: str
    value: float
    baseline: str
    target: float | None
    """None: shown beside the others, not judged."""
    better: Better
    runs: int
    ok: bool


def against(
    name: str, value: float, *, baseline: str, target: float | None, runs: int, better: Better = "lower"
) -> Figure:
    """A figure, and whether it meets its target."""
    ok = target is None or (value <= target if better == "lower" else value >= target)
    return Figure(name=name, value=round(value, 4), baseline=baseline, target=target, better=better, runs=runs, ok=ok)


def interleaved(work: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each, taken in turn, in another order each round.

    What runs before can still be at work: the kernel takes a network namespace apart after its last process is gone, and whoever
    always came next would always wait for it. The orders are the same in every run of a benchmark.

    Args:
        work: what is measured, by name.
        rounds: how often each.
        warm_up: rounds before, which do not count.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    turns = random.Random(0)
    for number in range(warm_up + rounds):
        for name in turns.sample([*work], len(work)):
            began = time.perf_counter()
            work[name]()
            if number >= warm_up:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def asked(doc: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a rough answer within a minute")
    return parser


def told(figures: Sequence[Figure], *, as_json: bool, notes: Sequence[str] = ()) -> int:
    """Print the figures; the exit code says whether every target was met."""
    if as_json:
        value = {"machine": _machine(), "results": [asdict(figure) for figure in figures], "notes": list(notes)}
        print(json.dumps(value, indent=2))
    else:
        for figure in figures:
            print(_line(figure))
        for note in notes:
            print(f"note: {note}")
        print(f"note: load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0 if all(figure.ok for figure in figures) else 1


def _line(figure: Figure) -> str:
    judged = "    " if figure.target is None else "ok  " if figure.ok else "MISS"
    sign = "<=" if figure.better == "lower" else ">="
    target = "" if figure.target is None else f" {sign} {figure.target:g}"
    return f"{judged} {figure.name}: {figure.value:.2f}{target} x {figure.baseline}"


def _machine() -> dict[str, object]:
    return {
        "system": platform.system(),
        "release": platform.release(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
        "load": round(os.getloadavg()[0], 1),
    }
