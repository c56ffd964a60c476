"""Builds the wheel, and shows that it is complete: every file of every room, nothing at top level but custody, and it starts in a clean place."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("flows", "policies", "dependencies", "sandbox", "ledger", "reports")
UV = ROOT / ".venv" / "bin" / "uv"


def files_of_the_checkout() -> set[str]:
    """Every file that belongs into the wheel, by its path there."""
    wanted = set()
    for folder, prefix in ((ROOT / "custody", "custody"), *((ROOT / room, f"custody/{room}") for room in ROOMS)):
        for path in folder.rglob("*"):
            relative = path.relative_to(folder)
            if (
                path.is_file()
                and "__pycache__" not in path.parts
                and not (prefix == "custody" and relative.parts[0] in ROOMS)
            ):
                wanted.add(f"{prefix}/{relative.as_posix()}")
    return wanted


def build(folder: Path) -> Path:
    """The wheel."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_content(wheel: Path) -> list[str]:
    """What is missing in the wheel, or should not be in it."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    tops = {name.split("/")[0] for name in names}
    wrong = [f"at top level: {top}" for top in sorted(tops) if top != "custody" and not top.endswith(".dist-info")]
    return wrong + [f"missing: {name}" for name in sorted(files_of_the_checkout() - names)]


def check_start(wheel: Path, folder: Path) -> str:
    """What `custody --version` says in an environment that holds the wheel and its locked requirements only."""
    place = folder / "clean"
    python = place / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, place], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", python, "--no-deps"]
    subprocess.run([*install, "--require-hashes", "-r", ROOT / "requirements" / "run.txt"], check=True)
    subprocess.run([*install, wheel], check=True)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    started = subprocess.run(
        [place / "bin" / "custody", "--version"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    subprocess.run([UV, "pip", "check", "--quiet", "--python", python], check=True)
    return started.stdout.strip()


def main() -> int:
    """Check, and say in one line what was found."""
    if os.environ.get("UV_OFFLINE"):
        print("the wheel is built against the package index; UV_OFFLINE is set", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        wheel = build(Path(name))
        wrong = check_content(wheel)
        if wrong:
            print("error: the wheel is not complete", *wrong, sep="\n  ", file=sys.stderr)
            return 1
        print(
            f"wheel: {check_start(wheel, Path(name))}, {len(files_of_the_checkout())} files, nothing at top level but custody"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
