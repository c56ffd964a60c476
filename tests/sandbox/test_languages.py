"""Runtimes are small declared things, ours and those of a security team."""

from collections.abc import Callable
from pathlib import Path

import pytest

from custody.errors import SandboxError, UsageError
from custody.policies.types import Grant
from custody.sandbox import JailSettings, Job, Language, Outcome, OutcomeClass, Sandbox
from custody.sandbox.runtime import known_languages

MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]
AWK = Path("/usr/bin/mawk")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "python"}, "there is one of that name"),
        ({"name": "bash"}, "there is one of that name"),
        ({"name": "A b"}, "short lower-case word"),
        ({"binary": None}, "absolute paths"),
        ({"binary": Path("bin/x")}, "absolute paths"),
        ({"binds": (Path("/var"),)}, "never mounted"),
        ({"binds": (Path("/run/docker.sock"),)}, "never mounted"),
    ],
)
def test_a_runtime_that_cannot_be_is_refused_when_it_is_declared(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    declared = Language(**({"name": "awk", "binary": AWK} | changes))  # type: ignore[arg-type]  # tests pass the right ones
    with pytest.raises(SandboxError, match=reason):
        Sandbox(JailSettings(state=tmp_path, languages=(declared,)))


def test_ours_are_python_bash_and_node() -> None:
    assert {name: known.suffix for name, known in known_languages().items()} == {
        "python": ".py",
        "bash": ".sh",
        "node": ".js",
    }


@pytest.mark.skipif(not AWK.exists(), reason="needs a small interpreter to declare: install mawk")
def test_a_declared_runtime_runs_in_the_same_jail(tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob) -> None:
    awk = Language(name="awk", binary=AWK, arguments=("-f",), suffix=".awk")
    sandbox = Sandbox(JailSettings(state=tmp_path, languages=(awk,)))
    code = 'BEGIN { print 6 * 7; print "x" > "/work/out/file"; if ((getline line < "/etc/shadow") < 0) print "no"; exit 3 }'
    outcome = sandbox.run(job_of(code, language="awk", file_name="program.awk"), grant_of())
    assert (outcome.outcome, outcome.exit_code, outcome.stdout.content) == (OutcomeClass.FAILED, 3, b"42\nno\n")
    assert [artefact.content for artefact in outcome.artefacts] == [b"x\n"]


def test_a_runtime_whose_interpreter_is_gone_is_a_clear_error(
    tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    gone = Language(name="gone", binary=tmp_path / "gone")
    sandbox = Sandbox(JailSettings(state=tmp_path / "state", languages=(gone,)))
    assert "gone" not in sandbox.languages
    with pytest.raises(SandboxError, match="is not installed"):
        sandbox.run(job_of("x", language="gone"), grant_of())
    with pytest.raises(UsageError, match="is not known"):
        sandbox.run(job_of("x", language="cobol"), grant_of())
    assert not (tmp_path / "state").exists()


@pytest.mark.jail
def test_programs_on_their_own_loopback_reach_for_nothing(run: Callable[..., Outcome]) -> None:
    outcome = run(
        "import asyncio\n"
        "async def answer(reader, writer): writer.write(b'hi'); await writer.drain(); writer.close()\n"
        "async def main():\n"
        "    server = await asyncio.start_server(answer, '127.0.0.1', 0)\n"
        "    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
        "    print(await reader.read())\n"
        "asyncio.run(main())\n"
    )
    assert (outcome.stdout.content, outcome.egress) == (b"b'hi'\n", ())


@pytest.mark.jail
def test_an_empty_loopback_is_told_with_its_own_reason(run: Callable[..., Outcome]) -> None:
    outcome = run("import socket\ntry: socket.create_connection(('127.0.0.1', 5432), 1)\nexcept OSError: pass")
    assert [(attempt.port, attempt.reason) for attempt in outcome.egress] == [
        (5432, "the jail's own loopback, where the program had opened nothing")
    ]


@pytest.mark.jail
def test_secrets_are_redacted_from_everything_that_is_told(
    sandbox: Sandbox, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    token = "ghp_" + "a" * 36
    outcome = sandbox.run(job_of(f"import os\nos.mkfifo('/work/out/{token}')\nopen('/etc/{token}')"), grant_of())
    assert [refused.name for refused in outcome.refused_artefacts] == ["[redacted:github_token]"]
    assert token not in repr(outcome)
