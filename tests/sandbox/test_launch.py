"""What nsjail itself can reach while it makes the jail."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.sandbox import Job, Live, OutcomeClass, Sandbox
from custody.sandbox.binary import find_nsjail

SERVICES = Path("/etc/nsswitch.conf")


@pytest.mark.jail
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives nsjail a view of its own")
@pytest.mark.skipif(not SERVICES.exists(), reason="this machine names no name services")
def test_nsjail_asks_no_name_service_of_the_machine(
    sandbox: Sandbox, job_of: Callable[..., Job], grant_of: Callable[..., Grant]
) -> None:
    binary, seen = find_nsjail(None).path, []

    def look(_stream: str, _content: bytes) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "exe").readlink() == binary and parent_of(process) == os.getpid():
                    seen.append((process / "root" / SERVICES.relative_to("/")).read_bytes())
            except OSError:
                continue  # it has ended, or is the kernel's

    job = job_of("import time\nprint('up', flush=True)\ntime.sleep(1)")
    outcome = sandbox.run(job, replace(grant_of(), live_output=True), live=Live(write=look))
    assert outcome.outcome is OutcomeClass.SUCCEEDED
    assert seen == [b""]
    assert SERVICES.read_bytes()  # only in its own view


def parent_of(process: Path) -> int:
    return int((process / "stat").read_text().rpartition(")")[2].split()[1])
