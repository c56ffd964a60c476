"""WITH WHAT: pins, advisories, environments and freshness of what a run wants to import.

This room reports findings and coverage. It must never allow or deny, never hand a caller's own file to an installer,
never run code of a package, and never call clean what it did not audit.
"""

from .audit import Auditor
from .environments import EnvironmentStore
from .freshness import check_freshness
from .inline import check_declared, read_inline
from .requirements import parse_requirements
from .store import AdvisoryStore

__all__ = [
    "AdvisoryStore",
    "Auditor",
    "EnvironmentStore",
    "check_declared",
    "check_freshness",
    "parse_requirements",
    "read_inline",
]
