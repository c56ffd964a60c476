"""Hints from a program's text, taken in a process of their own so that hostile text can break nothing of ours.

Facts are hints that may tighten a decision: what is not seen is not proven absent. A reader that crashes, stalls or says something odd gives
"not parsed" with the reason, never an error and never fewer facts than the bytes themselves show (digest, size, secrets, hidden characters).
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ..redaction import secret_kinds_in
from .reader_process import ReaderProcess, Seen
from .types import CodeFacts

__all__ = ["read_code"]

_MAX_CODE = 1024 * 1024
_MAX_LIST = 200
_MAX_HITS = 10_000
_HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]|(?<!^)\ufeff"
)
_URL = re.compile(
    rb"\b(?:https?|ftps?|wss?)://(?:[^\s/@'\"]{0,200}@)?(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(?::(\d{1,5}))?"
)
_SHEBANG = re.compile(rb"#![^\r\n]{1,200}")
_INTERPRETERS = {"python": "python", "bash": "bash", "/sh": "bash", "dash": "bash", "node": "node"}
_SUFFIXES = {".py": "python", ".sh": "bash", ".bash": "bash", ".js": "node", ".mjs": "node", ".cjs": "node"}


def read_code(code: bytes, *, language: str, file_name: str, reader: ReaderProcess | None = None) -> CodeFacts:
    """What stands in a program; python is parsed, other languages are searched only.

    Args:
        code: the bytes that will run.
        language: `python`, `bash` or `node`.
        file_name: a name whose ending says another language is a fact too.
        reader: a resident reader process; without one, a process is started for this program alone.
    """
    flags = set(_contradictions(code, language, file_name))
    if len(code) > _MAX_CODE:
        seen = Seen(error=f"larger than {_MAX_CODE // 1024} KiB")
    elif language != "python":
        seen = Seen(error=f"{language[:20]} is searched, not parsed", hosts=_hosts(code))
    elif reader is not None:
        seen = reader.read(code)
    else:
        with ReaderProcess() as single:
            seen = single.read(code)
    if not seen.parsed:
        flags |= _hidden(code)
        hosts: Iterable[str] = {*seen.hosts, *_hosts(code)}
    else:
        hosts = seen.hosts
    return CodeFacts(
        language=language,
        sha256=hashlib.sha256(code).hexdigest(),
        bytes=len(code),
        parsed=seen.parsed,
        error=seen.error,
        imports=seen.imports,
        flags=tuple(sorted(flags.union(seen.flags))),
        hosts=tuple(sorted(hosts))[:_MAX_LIST],
        paths=seen.paths,
        secrets=secret_kinds_in(code),
        evidence=seen.evidence,
    )


def _contradictions(code: bytes, language: str, file_name: str) -> Iterable[str]:
    """Flags for a program that says in its first line or its name that it is something else."""
    shebang = _SHEBANG.match(code)
    if shebang is not None:
        yield "shebang"
        if _language_of(shebang.group(), _INTERPRETERS) not in {language, ""}:
            yield "other_language"
    if _SUFFIXES.get(PurePosixPath(file_name).suffix.lower(), language) != language:
        yield "other_language"


def _language_of(shebang: bytes, interpreters: Mapping[str, str]) -> str:
    text = shebang.decode("latin-1")
    return next((language for word, language in interpreters.items() if word in text), "")


def _hidden(code: bytes) -> set[str]:
    """The flag for characters that people do not see, for text that no tree was made of."""
    return {"hidden_characters"} if _HIDDEN.search(code[:_MAX_CODE].decode("utf-8", "replace")) else set()


def _hosts(code: bytes) -> tuple[str, ...]:
    found: set[str] = set()
    for count, match in enumerate(_URL.finditer(code[:_MAX_CODE])):
        if count >= _MAX_HITS or len(found) >= _MAX_LIST:
            break
        host, port = (group.decode("ascii") if group else "" for group in match.groups())
        found.add(f"{host}:{port}" if port else host)
    return tuple(sorted(found))
