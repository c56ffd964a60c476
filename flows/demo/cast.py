"""Who takes part in the demo, and what each of them asks for; data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["APPROVER", "PROGRAMS", "REVIEWER", "DemoProgram", "directory_text"]

APPROVER = "bob"
REVIEWER = "reviewer"

_DIRECTORY = """\
# The demo's own principals. Nobody can claim to be one of them: the demo itself acts for them.

[humans.alice]
roles = ["developer", "operator", "policy-admin"]

[humans.bob]
roles = ["security-reviewer"]

[agents.scout]
owner = "alice"
roles = ["developer"]

[agents.courier]
owner = "alice"
roles = ["developer"]

[services.reviewer]
owner = "bob"
roles = ["auditor"]

# You, who started the demo: you may read everything in it, and run and approve nothing.
[humans.visitor]
os_user = {os_user}
roles = ["auditor"]
"""


def directory_text(os_user: str) -> str:
    """The demo's directory file for whoever started it."""
    quoted = "".join(c if c.isalnum() or c in "._@-" else "?" for c in os_user)
    return _DIRECTORY.format(os_user=f'"{quoted}"')


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoProgram:
    """One program of the demo and how it is asked for."""

    file: str
    principal: str
    title: str
    purpose: str
    requirements: str = ""
    inputs: tuple[str, ...] = ()
    hosts: tuple[tuple[str, int], ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    approved: bool = False
    """Whether another person approves it when it is held."""
    by_prefect: bool = False
    """Whether Prefect conducts it; the last ones, so that its server starts while the others run."""


PROGRAMS: tuple[DemoProgram, ...] = (
    DemoProgram(
        file="email_everyone.py",
        principal="courier",
        title="tries to e-mail every contact",
        purpose="let everybody know about the offer",
        inputs=("contacts.csv",),
    ),
    DemoProgram(
        file="analysis.py",
        principal="scout",
        title="ordinary analysis with packages",
        purpose="monthly sales by region",
        requirements="analysis.requirements.txt",
        inputs=("sales.csv",),
    ),
    DemoProgram(
        file="inline_script.py",
        principal="alice",
        title="script with inline metadata and its lock",
        purpose="size of the backup, in words",
        requirements="inline_script.requirements.txt",
    ),
    DemoProgram(
        file="make_chart.py",
        principal="scout",
        title="writes artefacts",
        purpose="chart for the weekly mail",
    ),
    DemoProgram(
        file="fetch_rates.py",
        principal="scout",
        title="asks for a host nobody granted",
        purpose="exchange rates of today",
        hosts=(("rates.example.com", 443),),
    ),
    DemoProgram(
        file="old_client.py",
        principal="alice",
        title="asks for a vulnerable package",
        purpose="keep the old client alive",
        requirements="vulnerable.requirements.txt",
    ),
    DemoProgram(
        file="obfuscated.py",
        principal="courier",
        title="hides what it does, and is approved",
        purpose="compute the answer",
        approved=True,
    ),
    DemoProgram(
        file="fork_bomb.py",
        principal="scout",
        title="starts processes without end",
        purpose="warm up the cache",
        limits={"processes": 24, "wall_seconds": 10},
    ),
    DemoProgram(
        file="memory_bomb.py",
        principal="alice",
        title="takes memory without end",
        purpose="load everything",
        limits={"memory_mib": 96, "wall_seconds": 20},
    ),
    DemoProgram(
        file="sleeper.py",
        principal="scout",
        title="sleeps a minute under a limit of 2 s",
        purpose="wait for the upstream job",
        limits={"wall_seconds": 2},
    ),
    DemoProgram(
        file="flood.py",
        principal="courier",
        title="floods its output",
        purpose="print progress",
        limits={"output_kib": 256, "wall_seconds": 20},
        by_prefect=True,
    ),
    DemoProgram(
        file="failing.py", principal="alice", title="fails by itself", purpose="look up an order", by_prefect=True
    ),
    DemoProgram(
        file="snooper.py",
        principal="courier",
        title="reads /etc/shadow, knocks at the host's loopback",
        purpose="collect system information",
        by_prefect=True,
    ),
)
