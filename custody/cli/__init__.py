"""Door 1, the command line: parse, call, print, exit code. It takes no decisions.

Heavy parts (Prefect, SQLAlchemy, FastAPI, cedarpy) are imported inside the command that needs them, so that `custody --help` answers at once.
"""

import sys
from typing import Annotated

import typer
from typer import TyperException

from .. import __version__
from ..errors import CustodyError, Exit
from . import answers, evidence, machine, packages, policies, proofs, reviews, runs
from .output import fail, forget, json_wanted

__all__ = ["app", "main"]

app = typer.Typer(
    name="custody",
    help="Run code that AI agents write, safely and with evidence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich's help costs as much as all the rest of a start
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"custody {__version__}\n")
        raise typer.Exit


@app.callback()
def custody(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run code that AI agents write, safely and with evidence.

    State lives in $CUSTODY_HOME (default ~/.custody). Results go to standard output, talk to standard error.
    """
    del version


for room in (machine, runs, answers, packages, policies, evidence, proofs, reviews):
    room.register(app)


def main() -> None:
    """Run the command line and leave with its exit code."""
    forget()
    try:
        code = app(standalone_mode=False)
    except CustodyError as error:
        code = fail(error.message, error.hint, error.exit_code, json=json_wanted())
    except TyperException as error:
        code = fail(
            _sentence(error.format_message()),
            "see `custody --help`, or --help after the command",
            Exit.USAGE,
            json="--json" in sys.argv,  # the parser gave up before it took any option
        )
    except (typer.Abort, KeyboardInterrupt):
        code = fail("interrupted", "nothing more was done", Exit.CANCELLED, json=json_wanted())
    except UnicodeEncodeError:
        code = fail("an argument is not text", "arguments are UTF-8", Exit.USAGE, json=json_wanted())
    except BrokenPipeError:
        # the reader went away; there is nobody to tell
        sys.stderr.close()
        code = Exit.FAILURE
    except MemoryError:
        code = fail(
            "out of memory", "give the machine more, or make the request smaller", Exit.FAILURE, json=json_wanted()
        )
    except Exception as error:  # noqa: BLE001 - at the door: an agent must never meet a traceback
        code = fail(
            f"internal error: {type(error).__name__}: {error}",
            "please report it; CUSTODY_DEBUG=1 shows where",
            Exit.FAILURE,
            json=json_wanted(),
            error=error,
        )
    sys.exit(int(code or 0))


def _sentence(text: str) -> str:
    """The parser's message in our form: one lower-case sentence without a full stop."""
    text = " ".join(text.split()).rstrip(".").replace("'", "`")
    return text[:1].lower() + text[1:]
