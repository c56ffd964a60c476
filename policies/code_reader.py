"""A process of its own that reads python programs and says what stands in them: run as `python -I -S code_reader.py`, never imported by custody.

Hostile text can crash or exhaust a parser; here it takes nothing with it. Standard library only, no import of ours, no file opened, nothing
executed: the text is parsed to a tree and the tree is walked. Programs come in on standard input, each as four bytes of length and the bytes;
answers go out the same way, as JSON. It ends when standard input does.
"""

import ast
import codecs
import contextlib
import gc
import json
import math
import os
import re
import resource
import sys
import unicodedata  # noqa: F401 - the parser imports it for names beyond ASCII, when no file can be opened any more
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import BinaryIO

MAX_CODE = 1024 * 1024
MAX_MEMORY = 1024 * 1024 * 1024
MAX_CPU_SECONDS = 20
NOBODY = 65534
MAX_LIST = 200
MAX_TEXT = 200
MAX_EVIDENCE = 100
_BLOB = 200
"""Length from which a string without spaces may be packed data."""
_BLOB_BITS = 4.5
"""Bits per character from which it is: base64 has about 6, prose about 4.2."""
_LONG_LINE = 5000

HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]|(?<!^)\ufeff"
)
COOKIE = re.compile(rb"^[ \t\f]*#.{0,200}?coding[:=][ \t]*([-_.a-zA-Z0-9]{1,40})")
URL = re.compile(
    r"\b(?:https?|ftps?|wss?)://(?:[^\s/@'\"]{0,200}@)?(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::(\d{1,5}))?"
)
ADDRESS = re.compile(
    r"\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?|[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}:\d{1,5}|localhost(?::\d{1,5})?"
)
PATH = re.compile(r"(?:/[A-Za-z0-9_.@+-][^\s'\"<>|;:]{0,180}|~/[^\s'\"<>|;:]{1,180})")

MODULES = {
    "process": {"subprocess", "multiprocessing", "pty", "popen2", "sh", "pexpect", "plumbum"},
    "network": {
        "socket", "ssl", "http", "urllib", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "nntplib", "xmlrpc", "socketserver",
        "requests", "httpx", "aiohttp", "urllib3", "paramiko", "websocket", "websockets", "pycurl", "boto3", "botocore", "grpc", "dns",
    },
    "native": {"ctypes", "_ctypes", "cffi", "_cffi_backend", "mmap", "cython", "pyximport", "numba", "llvmlite"},
    "deserialisation": {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"},
    "dynamic_code": {"importlib", "runpy", "code", "codeop", "imp", "pkgutil", "zipimport"},
    "introspection": {"inspect", "gc", "dis"},
}  # fmt: skip
"""Flag -> top-level modules whose import is enough to raise it."""
_FLAG_OF_MODULE = {module: flag for flag, modules in MODULES.items() for module in modules}

CALLS = {
    "eval": "dynamic_code", "exec": "dynamic_code", "compile": "dynamic_code", "__import__": "dynamic_code", "execfile": "dynamic_code",
    "types.CodeType": "dynamic_code", "types.FunctionType": "dynamic_code", "builtins.eval": "dynamic_code", "builtins.exec": "dynamic_code",
    "os.system": "process", "os.popen": "process", "os.fork": "process", "os.forkpty": "process", "os.kill": "process", "os.killpg": "process",
    "os.posix_spawn": "process", "os.posix_spawnp": "process", "asyncio.create_subprocess_exec": "process",
    "asyncio.create_subprocess_shell": "process", "os.environ": "environment", "os.getenv": "environment", "os.environb": "environment",
    "asyncio.open_connection": "network", "asyncio.start_server": "network", "yaml.load": "deserialisation",
    "yaml.unsafe_load": "deserialisation", "numpy.load": "deserialisation", "torch.load": "deserialisation",
    "pandas.read_pickle": "deserialisation", "shutil.rmtree": "deletes_files", "os.remove": "deletes_files", "os.unlink": "deletes_files",
    "os.rmdir": "deletes_files", "sys.settrace": "introspection", "sys._getframe": "introspection", "sys.modules": "introspection",
    "sys.addaudithook": "introspection", "os.setuid": "privileges", "os.setgid": "privileges", "os.chroot": "privileges",
    "os.unshare": "privileges", "os.setns": "privileges", "os.ptrace": "privileges",
}  # fmt: skip
"""Dotted name -> flag, wherever the name is used, called or not."""
_PROCESS_PREFIXES = ("os.exec", "os.spawn")
DECODERS = {
    "b64decode",
    "b32decode",
    "b16decode",
    "b85decode",
    "a85decode",
    "unhexlify",
    "fromhex",
    "decompress",
    "decodebytes",
    "a2b_base64",
}
DUNDERS = {
    "__subclasses__",
    "__globals__",
    "__builtins__",
    "__mro__",
    "__bases__",
    "__code__",
    "__closure__",
    "__getattribute__",
    "__reduce__",
}
WRITE_MODES = set("wax+")


class Facts:
    """What was seen, each list bounded."""

    def __init__(self) -> None:
        self.parsed = False
        self.error = ""
        self.imports: set[str] = set()
        self.flags: set[str] = set()
        self.hosts: set[str] = set()
        self.paths: set[str] = set()
        self.evidence: list[tuple[str, int]] = []

    def hit(self, flag: str, line: int) -> None:
        """Raise a flag and keep the line."""
        self.flags.add(flag)
        if len(self.evidence) < MAX_EVIDENCE and (flag, line) not in self.evidence:
            self.evidence.append((flag, line))

    def keep(self, where: set[str], text: str) -> None:
        """Keep a text, if there is room."""
        if len(where) < MAX_LIST:
            where.add(text[:MAX_TEXT].encode("utf-8", "replace").decode())  # an escape may make half a character

    def as_json(self) -> bytes:
        """All of it, sorted."""
        value = {
            "parsed": self.parsed,
            "error": self.error[:MAX_TEXT],
            "imports": sorted(self.imports),
            "flags": sorted(self.flags),
            "hosts": sorted(self.hosts),
            "paths": sorted(self.paths),
            "evidence": self.evidence,
        }
        return json.dumps(value, ensure_ascii=True).encode()


def read_program(code: bytes) -> Facts:
    """The facts of one python program."""
    facts = Facts()
    text = _text(code, facts)
    if text is None:
        return facts
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > _LONG_LINE:
            facts.hit("long_line", number)
        if not line.isascii() and HIDDEN.search(line):
            facts.hit("hidden_characters", number)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        facts.error = (
            f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else f"{type(error).__name__}"
        )
        return facts
    facts.parsed = True
    _walk(tree, facts)
    return facts


def _text(code: bytes, facts: Facts) -> str | None:
    """The program as text: UTF-8 and nothing else, whatever it says of itself."""
    if len(code) > MAX_CODE:
        facts.error = f"larger than {MAX_CODE // 1024} KiB"
        return None
    for number, line in enumerate(code.split(b"\n", 2)[:2], 1):
        cookie = COOKIE.match(line)
        name = cookie.group(1).decode("ascii").lower().replace("_", "-") if cookie else "utf-8"
        if name not in {"utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii"}:
            facts.hit("foreign_encoding", number)
            facts.error = f"declares the encoding {name}; only UTF-8 is read"
            return None
    try:
        return code.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        facts.hit("foreign_encoding", code.count(b"\n", 0, error.start) + 1)
        facts.error = "not UTF-8"
        return None


def _children(kind: type[ast.AST]) -> tuple[str, ...]:
    """Fields of a kind of node that can hold nodes of interest, last first; names, contexts and operators are none."""
    return tuple(name for name in reversed(kind._fields) if name not in _PLAIN_FIELDS)


_PLAIN_FIELDS = {
    "ctx",
    "op",
    "ops",
    "id",
    "attr",
    "arg",
    "name",
    "kind",
    "type_ignores",
    "type_comment",
    "conversion",
    "is_async",
    "simple",
}
_CHILDREN = {
    kind: _children(kind) for kind in vars(ast).values() if isinstance(kind, type) and issubclass(kind, ast.AST)
}
_CHILDREN[ast.Constant] = _CHILDREN[ast.Name] = ()


def _walk(tree: ast.AST, facts: Facts) -> None:
    """Two passes: names first, so that an alias is known wherever it is used.

    Every node in the order of the text and without recursion, as a hostile tree is deep; one loop over a table of fields, because this is
    most of what a reading costs.
    """
    names: dict[str, str] = {}
    kept: list[tuple[Callable[..., None], ast.AST]] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        kind = node.__class__
        see = _SEE.get(kind)
        if see is not None:
            kept.append((see, node))
        elif kind is ast.Import or kind is ast.ImportFrom:
            _imports(node, facts, names)  # type: ignore[arg-type]  # its class was just looked at
        # what is no node (None in a list, a name) has no entry, and is passed over
        for name in _CHILDREN.get(kind, ()):
            value = node.__dict__.get(name)
            if value.__class__ is list:
                waiting += value[::-1]
            elif value is not None:
                waiting.append(value)
    for see, node in kept:
        see(node, facts, names)
    if "decodes" in facts.flags and "dynamic_code" in facts.flags:
        facts.hit("obfuscated", next((line for flag, line in facts.evidence if flag == "decodes"), 0))


def _name(node: ast.Name, facts: Facts, names: dict[str, str]) -> None:
    if node.id == "__builtins__":
        facts.hit("introspection", node.lineno)
    _use(names.get(node.id, node.id), node.lineno, facts)


def _attribute(node: ast.Attribute, facts: Facts, names: dict[str, str]) -> None:
    if node.attr in DUNDERS:
        facts.hit("introspection", node.lineno)
    _use(_dotted(node, names), node.lineno, facts)


def _imports(node: ast.Import | ast.ImportFrom, facts: Facts, names: dict[str, str]) -> None:
    modules: list[str] = []
    if isinstance(node, ast.Import):
        for alias in node.names:
            modules.append(alias.name)
            names[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
    elif node.level == 0 and node.module:
        modules.append(node.module)
        for alias in node.names:
            names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            if alias.name == "*":
                facts.hit("star_import", node.lineno)
    for module in modules:
        top = module.split(".")[0]
        facts.keep(facts.imports, top)
        if flag := _FLAG_OF_MODULE.get(top):
            facts.hit(flag, node.lineno)


def _use(name: str | None, line: int, facts: Facts) -> None:
    if name is None:
        return
    if flag := CALLS.get(name):
        facts.hit(flag, line)
    elif name.startswith(_PROCESS_PREFIXES):
        facts.hit("process", line)


def _call(node: ast.Call, facts: Facts, names: dict[str, str]) -> None:
    name = _dotted(node.func, names) or ""
    last = node.func.attr if isinstance(node.func, ast.Attribute) else name.rpartition(".")[2]
    if last in DECODERS:
        facts.hit("decodes", node.lineno)
    if name in {"getattr", "setattr", "vars", "globals", "locals"}:
        computed = len(node.args) > 1 and not isinstance(node.args[1], ast.Constant)
        if computed or name in {"globals", "locals"}:
            facts.hit("computed_attribute", node.lineno)
    if name in {"open", "io.open"} and _writes(node):
        facts.hit("writes_files", node.lineno)
    if last in {"write_text", "write_bytes"}:
        facts.hit("writes_files", node.lineno)
    if (
        last == "join"
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Constant)
        and _spells(node)
    ):
        facts.hit("obfuscated", node.lineno)


def _writes(node: ast.Call) -> bool:
    mode = (
        node.args[1] if len(node.args) > 1 else next((word.value for word in node.keywords if word.arg == "mode"), None)
    )
    if mode is None:
        return False
    return not isinstance(mode, ast.Constant) or not isinstance(mode.value, str) or bool(WRITE_MODES & set(mode.value))


def _spells(node: ast.Call) -> bool:
    """Whether a string is joined from character codes: `''.join(chr(c) for c in [...])` and its like."""
    return any(
        isinstance(inner, ast.Name) and inner.id == "chr" for argument in node.args for inner in ast.walk(argument)
    )


def _constant(node: ast.Constant, facts: Facts, names: dict[str, str]) -> None:
    del names
    value = node.value
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return
    if "://" in value:
        for host, port in URL.findall(value):
            facts.keep(facts.hosts, f"{host}:{port}" if port else host)
    if ADDRESS.fullmatch(value):
        facts.keep(facts.hosts, value)
    if value.startswith(("/", "~")) and PATH.fullmatch(value):
        facts.keep(facts.paths, value)
    if len(value) >= _BLOB and not any(c.isspace() for c in value[:_BLOB]) and _bits(value[:4000]) > _BLOB_BITS:
        facts.hit("obfuscated", node.lineno)


_SEE: dict[type, Callable[..., None]] = {
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Constant: _constant,
    ast.Call: _call,
}


def _bits(text: str) -> float:
    """Shannon entropy in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """`a.b.c` for a chain of attributes on a name, with the name's import put in; None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([names.get(node.id, node.id), *reversed(parts)])


def frames(source: BinaryIO) -> Iterator[bytes]:
    """Programs from a stream, until it ends; a frame that is too large ends it too."""
    while len(head := source.read(4)) == 4:  # noqa: PLR2004 - four bytes of length
        size = int.from_bytes(head, "big")
        if size > MAX_CODE:
            return
        content = source.read(size)
        if len(content) < size:
            return
        yield content


def _become_nobody() -> None:
    """Give up root; where that is not allowed there is little of it to give up."""
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def main() -> None:
    """Read programs until there are no more."""
    for codec in ("utf-8", "utf-8-sig", "latin-1", "ascii"):
        codecs.lookup(codec)  # loads it: no file can be opened any more below
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    if os.geteuid() == 0:
        _become_nobody()
    gc.disable()  # trees have no cycles, and looking for some costs more than parsing
    warnings.simplefilter("ignore")  # a program's odd escapes are not our diagnostics
    for code in frames(sys.stdin.buffer):
        answer = read_program(code).as_json()
        sys.stdout.buffer.write(len(answer).to_bytes(4, "big") + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
