"""Writes what pages of docs/ repeat from the code: help texts in cli.md, all of settings.md, all of events.md.

It must never write prose: what people wrote on a page stays as it is. With --check nothing is written, and a stale page is an error.
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
WIDTH = 100
UNITS = {
    ".runtimes": "a section `[sandbox.runtimes.NAME]` with `binary`, `arguments`, `binds`, `suffix`",
    "_days": "days",
    "_hours": "hours",
    "_seconds": "seconds",
    "_mib": "MiB",
}

# help texts are wrapped to the terminal: these make every terminal alike
os.environ |= {"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1"}

SETTINGS_HEAD = """\
# Settings

A setting is looked for in the environment, then in `$CUSTODY_HOME/custody.toml`; what stands nowhere has its default, which is the safe one.
A name that is not on this page is an error, so that a misspelt one is not silently the default. In `custody.toml` a setting of a section
stands in that section:

```toml
organisation = "Example Ltd"

[ledger]
pin_directory = "/mnt/another-machine/custody-pins"
```

Beside these, custody reads from the environment: `SUDO_UID` (who called sudo; believed only where it runs as root), `UV_DEFAULT_INDEX`,
`PIP_INDEX_URL`, `PIP_CERT` and pip's own files (which package index, if `dependencies.index_url` says nothing; and its certificate authority, if `SSL_CERT_FILE` does not say), the usual variables for certificates and
proxies (for its own clients of the index), `PREFECT_API_URL` and `PREFECT_API_AUTH_STRING` (which Prefect server `custody deploy` registers with), `NO_COLOR`, and `CUSTODY_DEBUG` (shows where an internal error happened). Values of variables whose
names look like secrets are replaced wherever they would be stored.

Everything about what programs may do is not here but in the policy set: [policies.md](policies.md).
"""


def main() -> int:
    """Write the pages, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not current")
    check = parser.parse_args().check
    stale = []
    for path, make in pages():
        wanted = make()
        if path.is_file() and path.read_text(encoding="utf-8") == wanted:
            continue
        stale.append(path.relative_to(ROOT).as_posix())
        if not check:
            path.write_text(wanted, encoding="utf-8")
    if check and stale:
        print(f"error: not current: {', '.join(stale)}", file=sys.stderr)
        print("hint: run make docs", file=sys.stderr)
        return 1
    return 0


def pages() -> Iterator[tuple[Path, Callable[[], str]]]:
    """Each generated page and what makes its text."""
    yield DOCS / "cli.md", command_page
    yield DOCS / "settings.md", settings_page
    yield DOCS / "events.md", importlib.import_module("custody.ledger.document").page


# ---------------------------------------------------------------- cli.md


def commands() -> dict[str, str]:
    """Every command by its full name, with its help text."""
    typer = importlib.import_module("typer")
    app = importlib.import_module("custody.cli").app
    return dict(_helps(typer, typer.main.get_command(app), "custody", None))


def _helps(typer: object, command: object, name: str, parent: object) -> Iterator[tuple[str, str]]:
    given: dict[str, object] = getattr(command, "context_settings", {})
    context = typer.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, **given)  # type: ignore[attr-defined]  # the module, imported late
    path = name if parent is None else f"{parent.command_path} {name}"  # type: ignore[attr-defined]  # a Context of Typer's own parser
    inner = getattr(command, "commands", None)
    if inner is None or parent is None:
        yield path, command.get_help(context)  # type: ignore[attr-defined]  # a command of Typer's own parser
    for child, value in (inner or {}).items():
        yield from _helps(typer, value, child, context)


def command_page() -> str:
    """docs/cli.md with the help text under each command's heading made new; a command without a heading is an error."""
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    for name, help_text in commands().items():
        block = f"## {name}\n\n```text\n{help_text.strip()}\n```\n"
        heading = re.compile(rf"^## {re.escape(name)}\n\n```text\n(?:(?!```).*\n)*```\n", re.MULTILINE)
        if not heading.search(text):
            print(f"error: docs/cli.md has no heading `## {name}` with a text block under it", file=sys.stderr)
            raise SystemExit(1)
        text = heading.sub(lambda _, block=block: block, text, count=1)
    return text


# ---------------------------------------------------------------- settings.md


def settings() -> Iterator[tuple[str, object]]:
    """Every setting by its full name, with pydantic's record of it."""
    model = importlib.import_module("custody.settings").Settings
    for name, field in model.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        if inner is None:
            yield name, field
        else:
            yield from ((f"{name}.{part}", value) for part, value in inner.items())


def settings_page() -> str:
    """All of docs/settings.md."""
    return SETTINGS_HEAD + "".join(_setting(name, field) for name, field in settings())


def _setting(name: str, field: object) -> str:
    default = getattr(field, "default", None)
    shown = "see below" if name == "home" else "unset" if default is None else f"`{default}`"
    least = next((f", at least {bound.ge}" for bound in getattr(field, "metadata", ()) if hasattr(bound, "ge")), "")
    description = str(getattr(field, "description", ""))
    return (
        f"\n## {name}\n\n{description[:1].upper()}{description[1:]}.\n\n"
        f"- unit: {_unit(name, field)}{least}\n- default: {shown}\n- environment: `CUSTODY_{name.upper().replace('.', '__')}`\n"
    )


def _unit(name: str, field: object) -> str:
    for suffix, unit in UNITS.items():
        if name.endswith(suffix):
            return unit
    kinds = {
        kind
        for kind in (*get_args(getattr(field, "annotation", str)), getattr(field, "annotation", str))
        if isinstance(kind, type)
    }
    if Path in kinds:
        return "path"
    return "true or false" if bool in kinds else "text"


if __name__ == "__main__":
    sys.exit(main())
