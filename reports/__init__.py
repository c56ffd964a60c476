"""WHAT IT MEANS: a window of the ledger, judged and shown, for people who must decide and for people who must check.

This room must never act, and never speak of anything but entries: no clock, no live state, no network. What was not
recorded or not observed is said on the page, and a review that contradicts itself is not written.
"""

from .anomalies import DETECTORS, Detector
from .judge import judge, reviews_in
from .render import render
from .types import Anomaly, CompletedReview, Rendered, Review, Severity, Window

__all__ = [
    "DETECTORS",
    "Anomaly",
    "CompletedReview",
    "Detector",
    "Rendered",
    "Review",
    "Severity",
    "Window",
    "judge",
    "render",
    "reviews_in",
]
