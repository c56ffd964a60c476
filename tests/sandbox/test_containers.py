"""Root in namespaces that are not the machine's first: what the kernel does not tell there is said, and a trace tells the rest."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.sandbox import Job, Outcome
from custody.sandbox.binary import find_nsjail
from tests.sandbox.another_user import ROOT

UNSHARE = shutil.which("unshare")
pytestmark = [
    pytest.mark.jail,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of root's are made by root: run as root"),
    pytest.mark.skipif(UNSHARE is None, reason="install unshare (util-linux)"),
]
MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]
BAD_CALL_FAR_BELOW = """
import ctypes, os, sys
if os.fork() == 0:
    if os.fork() == 0:
        ctypes.CDLL(None).ptrace(0, 0, 0, 0)
    os.wait()
    os._exit(0)
os.wait()
os.waitpid(os.posix_spawn(sys.executable, ["python", "-I", "-S", "-c", "pass"], {}), 0)
"""


def apart(state: Path, jobs: list[tuple[Job, Grant]], *namespaces: str) -> list[Outcome]:
    """Runs the jobs from namespaces of their own."""
    script = Path(__file__).parent / "runs_jobs.py"
    done = subprocess.run(
        [str(UNSHARE), *namespaces, sys.executable, "-B", str(script), str(find_nsjail(None).path), str(state)],
        input=pickle.dumps(jobs),
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
        env={"PYTHONPATH": str(ROOT)},
    )
    outcomes: list[Outcome] = pickle.loads(done.stdout)  # noqa: S301 - written by our own child
    return outcomes


@pytest.mark.parametrize(
    ("namespaces", "audited"),
    [(("-n",), False), (("-p", "-f", "--mount-proc"), True), (("-n", "-p", "-f", "--mount-proc"), False)],
    ids=["network", "processes", "both"],
)
def test_a_violation_and_a_command_are_seen_and_what_is_not_heard_is_said(
    namespaces: tuple[str, ...], tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob, *, audited: bool
) -> None:
    jobs = [(job_of(BAD_CALL_FAR_BELOW), grant_of())] * 2
    for outcome in apart(tmp_path, jobs, *namespaces):
        assert (outcome.outcome, outcome.exit_code) == ("violated_policy", 0), outcome.explanation
        assert [(c.source, c.arguments) for c in outcome.commands] == [("ptrace", ("-I", "-S", "-c", "pass"))]
        assert "command_watch" in outcome.layers
        assert ("kernel_audit" in outcome.layers) is audited
        said = [sentence for sentence in outcome.unobserved if sentence.startswith("refused system calls")]
        assert said == (
            []
            if audited
            else ["refused system calls are not observed: the kernel does not deliver audit records to this process"]
        )
