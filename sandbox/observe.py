"""Turns the audit hook's records into observations.

Every record was written by a process that the program controls: it must never be read as more than what the program let us
see, and reading it costs bounded memory whatever it holds.
"""

import re
from dataclasses import dataclass, field

from .names import told
from .types import ObservedCommand, ObservedEgress, ObservedFile

__all__ = ["SOURCE", "Observations", "Recorder"]

SOURCE = "audit_hook"
_LINE = 4096
_FIELDS = 32
_KINDS = 2000
_EACH = 200
_HEAD = 3
_RECORD = re.compile(r"[0-9]{1,9}\x1f[0-9]{1,15}\x1f[a-z]{1,20}")
"""Process, count and kind."""
_BEYOND = re.compile(r"… and ([0-9]{1,7}) more")
_PORT = re.compile(r"[0-9]{1,5}")
_SERVICES = {"http": 80, "https": 443, "smtp": 25, "ftp": 21, "ssh": 22, "domain": 53}
_NO_NETWORK = "no network"
_NOTHING_THERE = "the jail's own loopback, where the program had opened nothing"
_LOOPBACK = re.compile(r"127\.[0-9.]{1,11}|::1|localhost|0\.0\.0\.0|::|")
_EPHEMERAL = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What the program's own interpreter reported."""

    commands: tuple[ObservedCommand, ...] = ()
    files: tuple[ObservedFile, ...] = ()
    egress: tuple[ObservedEgress, ...] = ()
    limits: frozenset[str] = frozenset()
    totals: dict[str, int] = field(default_factory=dict)
    """How often each kind was seen, at least."""
    lost: bool = False


class Recorder:
    """Reads the record stream as it comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._counts: dict[tuple[str, ...], dict[str, int]] = {}
        self._kinds = 0
        self._lost = False

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the stream."""
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > _LINE:
            rest, self._lost = b"", True
        self._rest = rest
        for line in lines:
            self._take(line[:_LINE])

    def give_up(self) -> None:
        """No more is read; that is said."""
        self._lost = True

    def finish(self) -> Observations:
        """Everything that was reported."""
        totals = {key: sum(by_process.values()) for key, by_process in self._counts.items()}
        commands: dict[tuple[str, ...], int] = {}
        files: dict[str, int] = {}
        egress: dict[tuple[str, int], int] = {}
        own: set[tuple[str, int]] = set()
        limits = set()
        for key, count in totals.items():
            match key:
                case ("egress", _, host, port):
                    place = (host, _port(port))
                    egress[place] = max(egress.get(place, 0), count)
                case ("bind", _, host, port):
                    own.add(_own_place(host, _port(port)))
                case ("command", _, *words) if words:
                    commands[tuple(words)] = commands.get(tuple(words), 0) + count
                case ("file", _, path):
                    files[path] = files.get(path, 0) + count
                case ("limit", name) if name in {"memory", "disk", "processes"}:
                    limits.add(name)
                case _:
                    self._lost = True
        egress = {place: count for place, count in egress.items() if not _is_own(place, own)}
        return Observations(
            commands=tuple(_command(words) for words in list(commands)[:_EACH]),
            files=tuple(
                ObservedFile(path=path, action="attempted", source=SOURCE, program_controlled=True)
                for path in list(files)[:_EACH]
            ),
            egress=tuple(
                ObservedEgress(
                    host=host,
                    port=port,
                    allowed=False,
                    reason=_NOTHING_THERE if _LOOPBACK.fullmatch(host) else _NO_NETWORK,
                    source=SOURCE,
                    program_controlled=True,
                    count=count,
                )
                for (host, port), count in _merged(egress)[:_EACH]
            ),
            limits=frozenset(limits),
            totals={
                "commands": sum(commands.values()),
                "files": sum(files.values()),
                "egress": sum(count for _, count in _merged(egress)),
            },
            lost=self._lost,
        )

    def _take(self, line: bytes) -> None:
        fields = [told(part) for part in line.split(b"\x1f")[:_FIELDS]]
        if _RECORD.fullmatch("\x1f".join(fields[:_HEAD])) is None:
            self._lost = True
            return
        process, count, key = fields[0], int(fields[1]), tuple(fields[2:])
        by_process = self._counts.get(key)
        if by_process is None or process not in by_process:
            if self._kinds >= _KINDS:
                self._lost = True
                return
            self._kinds += 1
            by_process = self._counts.setdefault(key, {})
        by_process[process] = max(by_process.get(process, 0), count)


def _own_place(host: str, port: int) -> tuple[str, int]:
    return ("loopback" if _LOOPBACK.fullmatch(host) else host, port)


def _is_own(place: tuple[str, int], own: set[tuple[str, int]]) -> bool:
    """Whether it is a place that the program itself had opened: then nothing was to leave, and it is no egress.

    A place that was opened with port 0 has a number that the hook did not see.
    """
    host, port = _own_place(*place)
    return (host, port) in own or (host == "loopback" and port >= _EPHEMERAL and (host, 0) in own)


def _merged(egress: dict[tuple[str, int], int]) -> list[tuple[tuple[str, int], int]]:
    """Without lookups of a name alone where the same name was also tried with a port."""
    named = {host for host, port in egress if port}
    return [(place, count) for place, count in egress.items() if place[1] or place[0] not in named]


def _command(words: tuple[str, ...]) -> ObservedCommand:
    beyond = _BEYOND.fullmatch(words[-1])
    return ObservedCommand(
        path=words[0],
        arguments=words[1:-1] if beyond else words[1:],
        source=SOURCE,
        program_controlled=True,
        more=int(beyond[1]) if beyond else 0,
    )


def _port(text: str) -> int:
    return int(text) if _PORT.fullmatch(text) else _SERVICES.get(text, 0)
