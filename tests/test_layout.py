"""The house stands as drawn: links, faces, imports inside functions, names."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("flows", "policies", "dependencies", "sandbox", "ledger", "reports")
ACTING_AND_REMEMBERING = ("policies", "dependencies", "sandbox", "ledger", "reports")
DEFERRED_IMPORTS = {"custody/cli", "custody/start.py", "flows/conduct.py", "ledger/pages.py"}
"""The only places with imports inside functions: heavy parts load in the command, or the process, that needs them."""


def sources() -> list[Path]:
    """Every source file of the project, where it lies."""
    folders = [ROOT / "custody", *(ROOT / room for room in ROOMS)]
    found = []
    for folder in folders:
        for path in folder.rglob("*.py"):
            inside_link = folder.name == "custody" and path.relative_to(folder).parts[0] in ROOMS
            if not inside_link and "programs" not in path.parts:
                found.append(path)
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_is_linked_into_the_package(room: str) -> None:
    link = ROOT / "custody" / room
    assert link.is_symlink(), (
        f"custody/{room} is no link: git may have checked it out as a file, or a copy took its place"
    )
    assert link.readlink() == Path("..") / room
    assert (link / "__init__.py").is_file()


@pytest.mark.parametrize("room", ACTING_AND_REMEMBERING)
def test_a_room_offers_at_most_a_dozen_names(room: str) -> None:
    face = importlib.import_module(f"custody.{room}")
    types = importlib.import_module(f"custody.{room}.types")
    offered = set(face.__all__) | set(types.__all__)
    assert len(offered) <= 12, sorted(offered)
    assert all(hasattr(face, name) for name in face.__all__)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_what_it_must_never_do(room: str) -> None:
    text = importlib.import_module(f"custody.{room}").__doc__ or ""
    assert "never" in text
    assert 1 <= len(text.strip().splitlines()) <= 12


@pytest.mark.parametrize("room", ACTING_AND_REMEMBERING)
def test_types_need_the_standard_library_only(room: str) -> None:
    tree = ast.parse((ROOT / room / "types.py").read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {module.partition(".")[0] for module in modules} <= set(sys.stdlib_module_names)


def test_imports_inside_functions_stand_only_where_they_are_allowed() -> None:
    wrong = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        if any(name == place or name.startswith(f"{place}/") for place in DEFERRED_IMPORTS):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                wrong += [
                    f"{name}:{node.lineno}"
                    for node in ast.walk(function)
                    if isinstance(node, ast.Import | ast.ImportFrom)
                ]
    # programs that run inside a jail or a parser process stand alone and have no face to keep quick
    assert [place for place in wrong if not place.startswith(("sandbox/inside/", "policies/code_reader.py"))] == []


def test_no_file_imports_a_room_by_its_bare_name() -> None:
    pattern = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(ROOMS)})\b(?!\s*=)", re.MULTILINE)
    places = [
        *sources(),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "benchmarks").rglob("*.py"),
        *(ROOT / "tools").rglob("*.py"),
    ]
    wrong = [path.relative_to(ROOT).as_posix() for path in places if pattern.search(path.read_text(encoding="utf-8"))]
    assert wrong == []


def test_only_settings_reads_the_environment() -> None:
    allowed = {
        "custody/settings.py": "it is the reader",
    }
    wrong = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        if name in allowed or name.startswith("sandbox/inside/"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wrong += [
            f"{name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
        ]
    assert wrong == []


def test_importing_a_room_does_no_work() -> None:
    """No room prints, starts threads or opens files of ours when it is imported."""
    code = (
        "import sys, threading, os\n"
        f"for room in {ROOMS!r}: __import__('custody.' + room)\n"
        "assert threading.active_count() == 1\n"
        "assert not [f for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f) and int(f) > 3]\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_ignored_lint_rule_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    rules = tomllib.loads(text)["tool"]["ruff"]["lint"]
    assert rules["select"] == ["ALL"]
    lines = text[text.index("ignore = [") :].splitlines()
    for rule in rules["ignore"]:
        line = next(line for line in lines if f'"{rule}"' in line)
        assert "#" in line, f"{rule} has no reason"


def test_version_is_said_once() -> None:
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
