"""WHEN: the gated run, access to the ledger, reviews and upkeep, as plain functions over the rooms.

This room connects: it calls the acting rooms (dependencies, sandbox, policies) and the remembering ones (ledger, reports), and is the only place
where both meet. It must never decide by itself (Cedar does), never run a program but through `pipeline`, never write an entry but through
`record`, and never import Prefect outside `orchestration/`.
"""

__all__: list[str] = []
