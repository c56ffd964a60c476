"""Live output reaches a caller only through a profile that grants it; other languages need the policies' consent too."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import UsageError
from custody.flows.conduct import run_directly
from custody.flows.house import House, open_house
from custody.flows.pipeline import sandbox_of
from tests.conftest import MakeHome

from .conftest import Ask, go, request_of

DEFAULT = Path(__file__).resolve().parents[2] / "policies" / "default"

pytestmark = pytest.mark.jail


def test_the_default_profile_gives_no_live_output(house: House, ask: Ask) -> None:
    heard: list[bytes] = []
    done = run_directly(house, ask("print(1)\n"), live=lambda _, content: heard.append(content))
    assert done.outcome is not None
    assert (done.outcome.stdout.content, heard) == (b"1\n", [])


def test_a_shell_program_is_denied_by_a_profile_without_a_shell(house: House, ask: Ask) -> None:
    done = go(house, ask("echo 1\n", language="bash", file_name="program.sh"))
    assert (done.end, "run-shell-profile" in done.rules) == ("denied", True)


def test_a_runtime_that_the_settings_declare_is_known_and_the_policies_still_decide(
    make_home: MakeHome, ask: Callable[..., object]
) -> None:
    del ask
    declared = '[sandbox.runtimes.awk]\nbinary = "/usr/bin/mawk"\narguments = ["-f"]\nsuffix = ".awk"\n'
    with open_house(make_home("other", configuration=declared)) as house:
        assert ("awk" in sandbox_of(house).languages) == Path("/usr/bin/mawk").exists()
        request = replace(request_of(house, "BEGIN { print 1 }\n"), language="awk", file_name="program.awk")
        done = go(house, request)
        assert (done.end, done.rules) == ("denied", ("run-languages",))
        with pytest.raises(UsageError, match="no runtime for `cobol`"):
            go(house, replace(request, language="cobol"))


def test_a_profile_that_grants_live_output_has_it_passed_through(make_home: MakeHome, tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    shutil.copytree(DEFAULT, policies)
    profiles = policies / "profiles.toml"
    profiles.write_text(profiles.read_text().replace("[default]\n", "[default]\nlive_output = true\n", 1))
    heard: list[tuple[str, bytes]] = []
    with open_house(make_home("live", policies=policies)) as house:
        request = request_of(house, "import sys\nprint('out'); print('err', file=sys.stderr)\n")
        done = run_directly(house, request, live=lambda stream, content: heard.append((stream, content)))
    assert done.end == "executed", done.explanation
    assert sorted(heard) == [("stderr", b"err\n"), ("stdout", b"out\n")]
