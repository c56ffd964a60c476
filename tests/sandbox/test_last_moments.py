"""A program that comes to its last line ends as the interpreter alone would have ended it."""

from collections.abc import Callable

import pytest

from custody.sandbox import Outcome

pytestmark = pytest.mark.jail

RunProgram = Callable[..., Outcome]

CASES = {
    "threads are waited for": (
        (
            "import threading, time\n"
            "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()\nprint('main')"
        ),
        b"main\nthread\n",
    ),
    "a daemon thread is not": (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\nprint('main')",
        b"main\n",
    ),
    "functions at exit come after threads, the last first": (
        "import atexit\natexit.register(print, 'first')\natexit.register(print, 'last')",
        b"last\nfirst\n",
    ),
    "objects are finalized while names are still there": (
        "import json\nclass A:\n    def __del__(self): print(json.dumps('gone'), helper())\ndef helper(): return 'helped'\na = A()",
        b'"gone" helped\n',
    ),
    "objects in a circle, too": (
        "class A:\n    def __del__(self): print('gone')\na = A(); a.a = a",
        b"gone\n",
    ),
    "files that were left open are written": (
        (
            "f = open('/work/out/left', 'w'); f.write('kept')\nimport os\n"
            "class Last:\n    def __del__(self): print('end')\nlast = Last()"
        ),
        b"end\n",
    ),
    "what C libraries hold back is written": ("import ctypes\nctypes.CDLL(None).printf(b'from C')", b"from C"),
    "another stdout is flushed": (
        "import io, sys\nsys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, 'w', closefd=False)))\nprint('other')",
        b"other\n",
    ),
    "children that fall off the end do the same": (
        "import os, atexit\natexit.register(lambda: print('exit', flush=True))\nif os.fork():\n    os.wait()",
        b"exit\nexit\n",
    ),
    "modules of the program's own end with the interpreter": ("import beside", b"beside is gone\n"),
    "a temporary directory goes": (
        (
            "import tempfile, atexit, os\nd = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)\n"
            "atexit.register(lambda: print(os.path.exists(d.name)))"
        ),
        b"True\n",
    ),
}
BESIDE = b"class A:\n    def __del__(self): print('beside is gone', flush=True)\nkept = A()\n"


@pytest.mark.parametrize("name", CASES)
def test_the_end_of_a_program(name: str, run: RunProgram) -> None:
    code, expected = CASES[name]
    outcome = run(code, inputs=(("beside.py", BESIDE),))
    assert (outcome.outcome, outcome.exit_code, outcome.stdout.content) == ("succeeded", 0, expected), (
        outcome.stderr.content
    )
    if name.startswith("files"):
        assert [(artefact.name, artefact.content) for artefact in outcome.artefacts] == [("left", b"kept")]


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("import atexit\natexit.register(lambda: 1 / 0)", 0),
        ("import sys, os\nos.close(1); print('x' * 10)", 120),
        ("import sys\nsys.stdout.close()", 0),
        ("import sys\nsys.stdout = None", 0),
        ("import atexit, os\natexit.register(os._exit, 9)", 9),
        ("import sys\nsys.modules.clear()", 0),
    ],
)
def test_odd_ends_have_the_exit_codes_that_the_interpreter_gives(code: str, exit_code: int, run: RunProgram) -> None:
    assert run(code).exit_code == exit_code


def test_the_usual_words_are_there(run: RunProgram) -> None:
    assert run("print(exit, quit)\nhelp\nexit(3)").exit_code == 3
