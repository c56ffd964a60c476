"""What the program chose is redacted in everything that is told of its run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from custody.policies.types import Grant
from custody.redaction import Redactor
from custody.sandbox import JailSettings, Job, Live, Sandbox

pytestmark = pytest.mark.jail

MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]

KEY = "AKIA" + "ABCDEFGHIJKLMNOP"
HELD_BACK = "sk-" + "b" * 40
SHOWS_SECRETS = f"""
import ctypes, os, subprocess, sys
open('/work/out/{KEY}.txt', 'w').write('x'); open('/work/out/{KEY[:-1]}Q.txt', 'w').write('y')
os.symlink('/etc', '/work/out/' + 'n' * 190 + ' {KEY}')
open('/work/out/wide', 'wb').write('{KEY} \u00e9'.encode('utf-16'))
open('/work/out/nul', 'wb').write(b'\\0{KEY}')
open('/work/out/binary', 'wb').write(b'\\0\\1\\2{KEY}')
subprocess.run([sys.executable, '-c', 'pass', 'x' * 380 + ' {HELD_BACK}'])
subprocess.Popen(['python', '-c', 'pass', 'x' * 8163, '{HELD_BACK}'], executable=sys.executable).wait()
ctypes.CDLL(None).prctl(15, b'hunter2hunter2x', 0, 0, 0)
ctypes.CDLL(None).socket(40, 1, 0)
sys.stdout.write('y' * (65536 - 30) + ' {HELD_BACK}' + 'z' * 100)
"""


def test_no_part_of_a_secret_comes_out_by_a_name_an_argument_an_encoding_or_a_cut(
    sandbox: Sandbox, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    heard: list[bytes] = []
    outcome = sandbox.run(
        job_of(SHOWS_SECRETS),
        replace(grant_of(memory_mib=256), live_output=True),
        redactor=Redactor(["hunter2hunter2xyz"]),
        live=Live(write=lambda _, content: heard.append(content)),
    )
    contents = {artefact.name: artefact.content for artefact in outcome.artefacts}
    binary = contents.pop("binary")
    assert contents == {
        "[redacted:aws_access_key].txt": b"x",
        "2.[redacted:aws_access_key].txt": b"y",
        "nul": b"\0[redacted:aws_access_key]",
        "wide": "[redacted:aws_access_key] \u00e9".encode("utf-16"),
    }
    assert binary == b"\0\1\2" + KEY.encode()
    assert "1 artefact(s) were not searched for secrets: they are no text in UTF-8 or UTF-16" in outcome.unobserved
    assert outcome.stdout.truncated
    assert outcome.stdout.content == b"".join(heard) == b"y" * (65536 - 30) + b" "
    told = repr((outcome.refused_artefacts, outcome.commands, outcome.syscalls, outcome.files))
    assert outcome.refused_artefacts
    assert outcome.commands
    for part in (KEY[:8], HELD_BACK[:8], "hunter2"):
        assert part not in told


LONG_RECORD = f"""
import os, subprocess, sys
secrets = ['{HELD_BACK}'] * 8
told = '\\x1f'.join((str(os.getpid()), '1', 'command', 'subprocess.Popen', sys.executable, '-c', 'pass'))
left = 4000 - len(told) - 7 * len('_{HELD_BACK}') - len('_sk-bbbbbbbb')
words = ['x' * 300] * (left // 301)
words.append('x' * (left - 301 * len(words) - 1))
subprocess.run([sys.executable, '-c', 'pass', *words, *secrets])
"""


def test_of_a_secret_that_the_end_of_a_record_went_through_only_the_cut_is_shown(
    tmp_path: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path, watch_commands=False))
    outcome = sandbox.run(job_of(LONG_RECORD), grant_of(memory_mib=256))
    assert [command.source for command in outcome.commands] == ["audit_hook"], outcome.stderr.content
    assert outcome.commands[0].arguments is not None
    assert outcome.commands[0].arguments[-8:] == ("[redacted:model_api_key]",) * 7 + ("…",)
