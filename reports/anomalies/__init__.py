"""Detectors: each one file, one sentence, one pure function over run records, with an explanation that can be acted on.

A detector must never read the ledger, a clock or a file by itself, and never raise an alarm that it cannot explain.
"""

from collections.abc import Iterable

from ..types import Anomaly
from . import denial_burst, undeclared_reach
from .records import Detector, RunRecord, records_of

__all__ = ["DETECTORS", "Detector", "RunRecord", "detect", "records_of"]

DETECTORS: tuple[Detector, ...] = (denial_burst.DETECTOR, undeclared_reach.DETECTOR)
"""Every detector, in the order in which reports name them."""


def detect(records: Iterable[RunRecord]) -> tuple[Anomaly, ...]:
    """What all detectors find among the judged records, worst first; the others are their baseline."""
    ordered = sorted(records, key=lambda record: (record.time, record.entries[:1]))
    found = [anomaly for detector in DETECTORS for anomaly in detector.find(ordered)]
    return tuple(sorted(found, key=lambda a: (-a.severity.rank, -a.confidence, a.entries[:1], a.id)))
