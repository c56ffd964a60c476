"""Prefect: its server, and the gated run and the reviews as flows that it conducts, times and schedules.

The only importer of Prefect, and only processes of their own load it (`serve`, `perform`, a worker): Prefect reads its settings once, at import,
so each gets an environment made for it. It must never give Prefect more than ids, ends and outcome classes, never take Prefect's word for
anything (the ledger says what happened), and never let Prefect run a program twice.
"""

from .catalogue import CATALOGUE, WORK_POOL, Deployment, Registered
from .conductor import own_conductor, register
from .server import PrefectServer

__all__ = ["CATALOGUE", "WORK_POOL", "Deployment", "PrefectServer", "Registered", "own_conductor", "register"]
