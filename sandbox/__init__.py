"""HOW CONTAINED: runs one program in a jail under a grant and says exactly what happened.

It must never decide whether a program may run, never run one without a grant that carries a decision, and never run agent
code outside the jail; the ledger is unknown here.
"""

from .jail import Sandbox
from .types import JailSettings, Job, Language, Layer, Live, Outcome, OutcomeClass

__all__ = ["JailSettings", "Job", "Language", "Layer", "Live", "Outcome", "OutcomeClass", "Sandbox"]
