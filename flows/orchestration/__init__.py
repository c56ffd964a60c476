"""Prefect: its server, and the gated run and the reviews as flows that it conducts, times and schedules.

The only importer of Prefect, and only the programs that run in a process of their own load it (`serve`, `perform`, the flow files): Prefect reads
its settings once, at import, so each of them gets an environment made for it. It must never give Prefect more than ids, ends and outcome classes,
never take Prefect's word for anything (the ledger says what happened), and never let Prefect run a program twice.
"""

from .catalogue import CATALOGUE, WORK_POOL, Deployment
from .performance import Conducted, register, run_gated, run_review
from .server import PrefectServer

__all__ = ["CATALOGUE", "WORK_POOL", "Conducted", "Deployment", "PrefectServer", "register", "run_gated", "run_review"]
