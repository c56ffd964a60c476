"""A process that reads sections of a ledger for a verification, and knows nothing else of it.

Asked on its standard input, it answers on its standard output until that is closed: for each section its number and what was found
beyond doubt, or nothing. Started with as little as can be loaded, as it has to be worth its start. It must never write anywhere,
and never judge the whole: that is for whoever asks.
"""

import os
import sqlite3
import struct
import sys
from typing import BinaryIO

from .bounds import LONGEST_VALUE, bounded
from .sections import SectionReader

__all__ = ["ANSWER", "QUESTION", "answer", "main", "opened"]

QUESTION = struct.Struct("<QI")
"""First entry and number of entries."""
ANSWER = struct.Struct("<QI")
"""First entry and length of what follows: a section, or nothing if there was doubt."""


def opened(uri: str) -> sqlite3.Connection:
    """The driver's own connection, for reading what may come from anybody."""
    database = sqlite3.connect(uri, uri=True, isolation_level=None)
    bounded(database, LONGEST_VALUE)
    for pragma in ("trusted_schema = OFF", "query_only = ON"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("BEGIN")
    return database


def answer(reader: SectionReader, questions: BinaryIO, answers: int) -> None:
    """Answer until nobody asks any more."""
    os.write(answers, ANSWER.pack(0, 0))  # ready
    while len(asked := questions.read(QUESTION.size)) == QUESTION.size:
        first, count = QUESTION.unpack(asked)
        section = reader.read(first, count)
        packed = b"" if section is None else bytes(section)
        said = memoryview(ANSWER.pack(first, len(packed)) + packed)
        while said:
            said = said[os.write(answers, said) :]


def main() -> None:
    """The program: the address of the database, and `contents` or `leaves`."""
    uri, what = sys.argv[1:]
    answer(SectionReader(opened(uri), contents=what == "contents", rooted=True), sys.stdin.buffer, sys.stdout.fileno())
