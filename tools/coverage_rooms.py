"""Prints coverage room by room, and fails if a room is absent from the report: a lost link would otherwise look like success."""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("custody", "flows", "policies", "dependencies", "sandbox", "ledger", "reports")


def covered() -> dict[str, tuple[int, int]]:
    """(covered, all) statements by room."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", file.name]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        report = json.loads(Path(file.name).read_text(encoding="utf-8"))
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for name, data in report["files"].items():
        parts = Path(name).parts
        room = parts[1] if parts[0] == "custody" and len(parts) > 1 and parts[1] in ROOMS else parts[0]
        hit, total = sums[room]
        sums[room] = (hit + data["summary"]["covered_lines"], total + data["summary"]["num_statements"])
    return sums


def main() -> int:
    """Print, and say which room is missing."""
    sums = covered()
    print(
        "coverage: "
        + ", ".join(f"{room} {100 * sums[room][0] // max(1, sums[room][1])} %" for room in ROOMS if room in sums)
    )
    missing = [room for room in ROOMS if not sums.get(room, (0, 0))[0]]
    if missing:
        print(f"error: no coverage of {', '.join(missing)}: is the link in custody/ lost?", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
