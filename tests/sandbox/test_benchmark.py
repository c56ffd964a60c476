"""The benchmark takes no baseline that somebody's startup files make slow."""

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("benchmark_of_the_sandbox", FOLDER / "sandbox.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _site_takes(times: list[float]) -> Callable[[Mapping[str, object], int], dict[str, float]]:
    given = iter(times)
    return lambda _work, _rounds: {"with": next(given), "without": 1.0}


def test_an_interpreter_with_a_slow_site_is_refused_with_a_hint(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "interleaved", _site_takes([2.1]))
    monkeypatch.setattr("sys.argv", ["sandbox.py", "--python", sys.executable])
    assert benchmark.main() == 2
    said = capsys.readouterr().err
    assert "starts 2.1 times slower with its site than without" in said
    assert "hint: see the `.pth` files" in said


def test_the_first_honest_interpreter_is_taken(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "interleaved", _site_takes([6.0, 1.4, 1.0]))
    python = Path(sys.executable)
    found = list(benchmark.baselines([python, python, python]))
    assert [(baseline.ratio, baseline.is_honest) for baseline in found] == [(6.0, False), (1.4, True)]
