"""Door 1, the command line: parse, call, print, exit code. It takes no decisions.

Heavy parts (Prefect, SQLAlchemy, FastAPI, cedarpy) are imported inside the command that needs them, so that `custody --help` answers at once.
"""

import errno
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer import TyperException
from typer.core import TyperCommand, TyperGroup

from .. import __version__
from ..errors import CustodyError, Exit
from . import answers, evidence, machine, packages, policies, proofs, reviews, runs
from .output import fail, forget, json_wanted, say
from .streams import UndeliveredError, delivering, finish, give_up, reopen_closed

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


_OF_STREAMS = {errno.EPIPE, errno.ENOSPC}


def _version(wanted: bool) -> None:
    if wanted:
        with delivering():
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
    """Run the command line and leave with its exit code; whatever happens, the caller gets a sentence and no traceback."""
    reopen_closed()
    forget()
    try:
        code = _run()
        finish()
    except UndeliveredError as error:
        code = _undelivered(error)
    except KeyboardInterrupt:
        code = Exit.CANCELLED
        say("error: interrupted\nhint: nothing more was done")
    give_up()
    sys.exit(int(code or 0))


def _undelivered(error: UndeliveredError) -> Exit:
    """What was done is done; only the result did not arrive."""
    if not error.reader_left:  # else there is nobody to tell
        say(f"error: the result could not be written to standard output: {error}")
        say("hint: what was done is on record: `custody runs list`, `custody log show`")
    return Exit.FAILURE


def _run() -> int:
    """One command, and every error of it as two lines and an exit code."""
    try:
        code: int = app(standalone_mode=False)
    except CustodyError as error:
        code = fail(error.message, error.hint, error.exit_code, json=json_wanted())
    except TyperException as error:
        code = fail(
            _sentence(error.format_message()),
            "see `custody --help`, or --help after the command",
            Exit.USAGE,
            json=json_typed(sys.argv[1:]),  # the parser gave up before it took any option
        )
    except (typer.Abort, KeyboardInterrupt):
        code = fail("interrupted", "nothing more was done", Exit.CANCELLED, json=json_wanted())
    except UnicodeEncodeError:
        code = fail("an argument is not text", "arguments are UTF-8", Exit.USAGE, json=json_wanted())
    except UndeliveredError:
        raise
    except MemoryError:
        code = fail(
            "out of memory", "give the machine more, or make the request smaller", Exit.FAILURE, json=json_wanted()
        )
    except Exception as error:  # at the door: an agent must never meet a traceback
        if isinstance(error, OSError) and error.errno in _OF_STREAMS and error.filename is None:
            raise UndeliveredError(error) from error  # the parser prints its help without us
        code = fail(
            f"internal error: {type(error).__name__}: {error}",
            "please report it; CUSTODY_DEBUG=1 shows where",
            Exit.FAILURE,
            json=json_wanted(),
            error=error,
        )
    return code


def json_typed(words: Sequence[str]) -> bool:
    """Whether --json stands among custody's own options, for a line that the parser refused.

    What follows `--`, or the program of a command that passes the rest on, is the program's.
    """
    command: object = typer.main.get_command(app)
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        if word == "--json":
            return True
        if word == "--":
            return False
        if word.startswith("-") and word != "-":
            if _takes_value(command, word) and waiting:
                waiting.pop()
        elif isinstance(command, TyperGroup):
            command = command.commands.get(word)
        elif isinstance(command, TyperCommand) and not command.context_settings.get("allow_interspersed_args", True):
            return False
    return False


def _takes_value(command: object, word: str) -> bool:
    """Whether the next word belongs to this option."""
    if not isinstance(command, TyperCommand | TyperGroup):
        return False
    options = (parameter for parameter in command.params if word in parameter.opts)
    return any(not getattr(option, "is_flag", False) for option in options)


def _sentence(text: str) -> str:
    """The parser's message in our form: one lower-case sentence without a full stop."""
    text = " ".join(text.split()).rstrip(".").replace("'", "`")
    return text[:1].lower() + text[1:]
