"""The format of a scenario file: reading it, comparing it with what happened, and writing it anew.

README.md in this folder explains the format to people who write scenarios.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Command", "Scenario", "Values", "differences", "fill", "read", "renewed", "write"]

Values = dict[str, str]
"""What placeholders stand for."""

_PLACEHOLDER = re.compile(r"<([a-z][a-z0-9]*)>")
_PART = re.compile(r"<[a-z][a-z0-9]*>|\.\.\.")
_SECTION = re.compile(r"-- (\S+) --")
_MARKS = ("?", ">", "!", "=")
# what is new in every session, and what to write for it when a scenario is written anew
_CHANGING = (
    ("run", re.compile(r"\brun-\d{8}T\d{6}-[0-9a-f]{10}\b")),
    ("review", re.compile(r"\breview-\d{8}T\d{6}-[0-9a-f]{10}\b")),
)
_VOLATILE = re.compile(
    r"\bdec-\d{8}T\d{6}-[0-9a-f]{10}\b|\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?Z|\b[0-9a-f]{64}\b|(?<=root )[0-9a-f]{16}\b|\b\d+ MiB free"
)


@dataclass(slots=True)
class Command:
    """One thing that is typed, and what has to come back."""

    line: int
    text: str
    exit_code: int = 0
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    """`key: value` of the one JSON object on standard output; compared instead of the lines."""


@dataclass(slots=True)
class Scenario:
    """A file: comments and directives as they stand, commands, and files to begin with."""

    parts: list[str | Command]
    files: dict[str, str]

    @property
    def commands(self) -> list[Command]:
        """What is typed, in order."""
        return [part for part in self.parts if isinstance(part, Command)]

    def directives(self, word: str) -> list[str]:
        """What stands after this word at the beginning of lines."""
        return [part[len(word) + 1 :] for part in self.parts if isinstance(part, str) and part.startswith(f"{word} ")]


def read(text: str) -> Scenario:
    """Read a scenario file.

    Raises:
        ValueError: a line is none of the format.
    """
    scenario = Scenario([], {})
    section: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if found := _SECTION.fullmatch(line):
            section = found[1]
            scenario.files[section] = ""
        elif section is not None:
            scenario.files[section] += f"{line}\n"
        elif line.startswith("$ "):
            scenario.parts.append(Command(number, line[2:]))
        elif line.startswith(_MARKS):
            _expect(scenario.parts[-1] if scenario.parts else "", line, number)
        elif not line or line.startswith(("# ", "given ", "needs ", "env ")) or line == "#":
            scenario.parts.append(line)
        else:
            message = f"line {number} is none of the format: {line}"
            raise ValueError(message)
    return scenario


def _expect(command: str | Command, line: str, number: int) -> None:
    if not isinstance(command, Command):
        message = f"line {number} expects something, but follows no command"
        raise ValueError(message)  # noqa: TRY004 - the file is wrong, not a type of ours
    mark, text = line[0], line[2:]
    match mark:
        case "?":
            command.exit_code = int(text)
        case ">":
            command.stdout.append(text)
        case "!":
            command.stderr.append(text)
        case _:
            command.fields.append(text)


def write(scenario: Scenario) -> str:
    """The text of a scenario."""
    lines: list[str] = []
    for part in scenario.parts:
        if isinstance(part, str):
            lines.append(part)
            continue
        lines.append(f"$ {part.text}")
        lines += [f"? {part.exit_code}"] if part.exit_code else []
        lines += [f"> {line}".rstrip() for line in part.stdout]
        lines += [f"= {line}" for line in part.fields]
        lines += [f"! {line}".rstrip() for line in part.stderr]
    text = "".join(f"{line}\n" for line in lines)
    return text + "".join(f"-- {name} --\n{content}" for name, content in scenario.files.items())


def fill(text: str, values: Mapping[str, str]) -> str:
    """Text with its placeholders replaced.

    Raises:
        KeyError: nothing is known for one.
    """
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def differences(command: Command, exit_code: int, stdout: str, stderr: str, values: Values) -> list[str]:
    """How what came back differs from what has to; new placeholders are put into `values`."""
    found = [] if exit_code == command.exit_code else [f"exit code {exit_code} instead of {command.exit_code}"]
    if command.fields:
        found += _wrong_fields(command.fields, stdout, values)
    elif not _matches(command.stdout, stdout, values):
        found.append(f"standard output:\n{_shown(stdout)}instead of:\n{_block(command.stdout)}")
    if not _matches(command.stderr, stderr, values):
        found.append(f"standard error:\n{_shown(stderr)}instead of:\n{_block(command.stderr)}")
    return found


def _wrong_fields(fields: Sequence[str], stdout: str, values: Values) -> list[str]:
    try:
        value = json.loads(stdout)
    except ValueError:
        return [f"standard output is not one JSON object:\n{_shown(stdout)}"]
    if not isinstance(value, dict):
        return [f"standard output is no JSON object:\n{_shown(stdout)}"]
    wrong = []
    for line in fields:
        name, _, pattern = (part.strip() for part in line.partition(":"))
        if name != "..." and not _matches([pattern], f"{(found := _field(value, name))}\n", values):
            wrong.append(f"field {name} is {found} instead of {pattern}")
    return wrong


def _field(value: object, name: str) -> str:
    """A field by its path, as JSON on one line."""
    for part in name.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return "absent"
    return json.dumps(value, ensure_ascii=False)


def _lines(text: str) -> list[str]:
    """Output as lines of a scenario: tabs, spaces at the end of a line and a missing last line end are made visible."""
    if not text:
        return []
    lines = [re.sub(" +$", lambda found: "·" * len(found[0]), line) for line in text.replace("\t", "→").split("\n")]
    return [*lines[:-1], f"{lines[-1]}<no newline>"] if lines[-1] else lines[:-1]


def _matches(expected: Sequence[str], text: str, values: Values) -> bool:
    pattern = "".join("(?:.*\n)*?" if line == "..." else f"{_pattern(line, values)}\n" for line in expected)
    seen: set[str] = set()
    # a name that comes twice in one block is captured once and referred to after that
    pattern = re.sub(r"\(\?P<([a-z0-9]+)>[^)]*\)", lambda found: _once(found, seen), pattern)
    found = re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(text)))
    if found is None:
        return False
    values.update(found.groupdict())
    return True


def _once(found: re.Match[str], seen: set[str]) -> str:
    if found[1] in seen:
        return f"(?P={found[1]})"
    seen.add(found[1])
    return found[0]


def _pattern(line: str, values: Mapping[str, str]) -> str:
    pattern, end = "", 0
    for part in _PART.finditer(line):
        name = part[0].strip("<>")
        pattern += re.escape(line[end : part.start()])
        if part[0] == "...":
            pattern += ".*?"
        else:
            pattern += re.escape(values[name]) if name in values else rf"(?P<{name}>\S+?)"
        end = part.end()
    return pattern + re.escape(line[end:])


def renewed(command: Command, exit_code: int, stdout: str, stderr: str, values: Values) -> Command:
    """The command with expectations as things are now; lines that still fit keep their wildcards."""
    new = Command(command.line, command.text, exit_code)
    if command.fields:
        new.fields = [_renewed_field(line, stdout, values) for line in command.fields]
    else:
        new.stdout = _renewed_lines(command.stdout, stdout, values)
    new.stderr = _renewed_lines(command.stderr, stderr, values)
    return new


def _renewed_field(line: str, stdout: str, values: Values) -> str:
    name, _, pattern = (part.strip() for part in line.partition(":"))
    if name == "...":
        return line
    found = _field(json.loads(stdout), name)
    return line if pattern and _matches([pattern], f"{found}\n", values) else f"{name}: {_general(found, values)}"


def _renewed_lines(expected: Sequence[str], text: str, values: Values) -> list[str]:
    if _matches(expected, text, values):
        return list(expected)
    old = [line for line in expected if line != "..."]
    new = []
    for line in _lines(text):
        kept = next((pattern for pattern in old if _matches([pattern], f"{line}\n", values)), None)
        if kept is not None:
            old.remove(kept)
        new.append(_general(line, values) if kept is None else kept)
    return new


def _general(line: str, values: Values) -> str:
    """A line with wildcards for what is new in every session."""
    line = _VOLATILE.sub("...", line)
    for name, pattern in _CHANGING:
        for found in pattern.findall(line):
            if found not in values.values():
                taken = sum(known.rstrip("0123456789") == name for known in values)
                values[f"{name}{taken + 1}" if taken else name] = found
    for name, value in sorted(values.items(), key=lambda item: -len(item[1])):
        # a short value, such as a number or a user name, stands in many places that have nothing to do with it
        if len(value) > 8:
            line = line.replace(value, f"<{name}>")
    return line


def _shown(text: str) -> str:
    return _block(_lines(text))


def _block(lines: Sequence[str]) -> str:
    return "".join(f"    {line}\n" for line in lines) or "    (nothing)\n"
