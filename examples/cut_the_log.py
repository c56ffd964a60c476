"""Plays somebody who can write a custody home and wants its last hour gone. Works on a copy only: its name has to hold `copy`.

    python3 cut_the_log.py HOME --last 60m                 deletes the entries of the last hour; --last 40 the last 40 entries
    python3 cut_the_log.py HOME --last 60m --thoroughly    deletes every trace of them as well, and makes the rest fit together

The thorough way needs no key: it goes back to an older checkpoint, which the ledger signed itself, and sets the signer's memory
back to it. Standard library only, so that it can be read in one go and runs anywhere.
"""

# ruff: noqa: INP001 - a script, not a package
import argparse
import base64
import hashlib
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_TILE = 256


def main() -> int:
    """Cut, and say how much is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument(
        "--last", default="60m", help="how much to cut: a number of entries, or 90s, 60m, 2h back from the newest"
    )
    parser.add_argument("--thoroughly", action="store_true", help="leave a ledger that agrees with itself")
    asked = parser.parse_args()
    if "copy" not in asked.home.resolve().name:
        sys.stderr.write("error: this destroys evidence, so it works on a home with `copy` in its name only\n")
        return 2
    with closing(sqlite3.connect(asked.home / "ledger" / "ledger.sqlite", isolation_level=None)) as database:
        database.execute("BEGIN")
        left, cut = _cut(database, asked.last, thoroughly=asked.thoroughly)
        if asked.thoroughly:
            _forget(database, asked.home, left)
        database.execute("COMMIT")
    sys.stdout.write(f"{cut} entries cut, {left} left\n")
    return 0


def _cut(database: sqlite3.Connection, last: str, *, thoroughly: bool) -> tuple[int, int]:
    """Delete the newest entries; with every trace, back to the newest checkpoint before them."""
    triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    (size,) = database.execute("SELECT count(*) FROM entry").fetchone()
    left = max(0, size - int(last)) if last.isdecimal() else _older_than(database, _SECONDS[last[-1]] * int(last[:-1]))
    if thoroughly:
        (left,) = database.execute("SELECT max(size) FROM checkpoint WHERE size <= ?", (left,)).fetchone()
    database.execute("DELETE FROM entry WHERE idx >= ?", (left,))
    if thoroughly:
        database.execute("DELETE FROM event_index WHERE idx >= ?", (left,))
        database.execute("DELETE FROM payload WHERE idx >= ?", (left,))
        database.execute("DELETE FROM anchor WHERE size > ?", (left,))
        database.execute("DELETE FROM checkpoint WHERE size > ?", (left,))
        for level in range(7):
            database.execute(
                "DELETE FROM tile WHERE level = ? AND (idx + 1) * ? > ?", (level, _TILE ** (level + 1), left)
            )
    for _, statement in triggers:
        database.execute(statement)
    return left, size - left


def _older_than(database: sqlite3.Connection, seconds: int) -> int:
    """How many entries are older than that."""
    query = "SELECT count(*) FROM event_index WHERE time_us < (SELECT max(time_us) FROM event_index) - ?"
    (older,) = database.execute(query, (seconds * 1_000_000,)).fetchone()
    return int(older)


def _forget(database: sqlite3.Connection, home: Path, size: int) -> None:
    """Make head and signer's memory those of the shorter log (RFC 6962, section 2.1, for the root)."""
    frontier: list[tuple[int, bytes]] = []
    for (leaf,) in database.execute("SELECT leaf FROM entry ORDER BY idx"):
        width, hashed = 1, hashlib.sha256(b"\x00" + leaf).digest()
        while frontier and frontier[-1][0] == width:
            hashed = hashlib.sha256(b"\x01" + frontier.pop()[1] + hashed).digest()
            width *= 2
        frontier.append((width, hashed))
    root = hashlib.sha256(b"").digest() if not frontier else frontier[-1][1]
    for _, left in reversed(frontier[:-1]):
        root = hashlib.sha256(b"\x01" + left + root).digest()
    packed = b"".join(hashed for _, hashed in frontier)
    database.execute("UPDATE head SET size = ?, frontier = ?, root = ?", (size, packed, root))
    memory = json.dumps({"root": base64.b64encode(root).decode(), "size": size}, separators=(",", ":"))
    (home / "keys" / "last-signed.json").write_text(memory + "\n", encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
