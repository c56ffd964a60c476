"""A process of ours gets exactly the settings of its home, and nothing else of this process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from custody.flows.orchestration.surroundings import home_surroundings
from custody.settings import load_settings

_PRINT = "from custody.settings import load_settings; print(load_settings().model_dump_json())"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "prefect").mkdir(parents=True)
    (home / "custody.toml").write_text('organisation = "From the file"\n[sandbox]\ncgroups = false\n', encoding="utf-8")
    return home


def test_a_flow_has_the_very_settings_of_whoever_ordered_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTODY_LEDGER__WAIT_SECONDS", "77")
    monkeypatch.setenv("CUSTODY_DEPENDENCIES__INDEX_URL", "https://index.example/simple")
    settings = load_settings(home)
    printed = subprocess.run(
        [sys.executable, "-c", _PRINT], env=home_surroundings(settings), capture_output=True, text=True, check=True
    )
    assert json.loads(printed.stdout) == settings.model_dump(mode="json")
    assert (settings.organisation, settings.ledger.wait_seconds, settings.sandbox.cgroups) == (
        "From the file",
        77,
        False,
    )


def test_nothing_else_of_this_process_is_passed_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_API_KEY", "bait-4711")
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere.example/api")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    found = home_surroundings(load_settings(home))
    assert "bait-4711" not in found.values()
    assert "PREFECT_API_URL" not in found
    assert found["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert found["NO_PROXY"] == "inside.example,127.0.0.1,localhost"
    assert found["HOME"] == str(home / "prefect")
