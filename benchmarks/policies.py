"""What the gate costs over plain Cedar, what code facts cost over parsing alone, and what a long past costs over a short one.

python benchmarks/policies.py [--json] [--quick]
"""

import ast
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cedarpy
from measuring import Figure, against, asked, interleaved, told

from custody.flows.history import history_of
from custody.ledger import Draft, Ledger, LedgerFiles, events
from custody.policies import Directory, Gate, PolicySet, read_code
from custody.policies.reader_process import ReaderProcess
from custody.policies.types import (
    Allowed,
    CodeFacts,
    DependencyFacts,
    History,
    PackageFacts,
    Principal,
    PrincipalKind,
    RunRequest,
)

ROUNDS = 400
QUICK_ROUNDS = 100
BUNDLE = 10
RULES = (50, 500)
GATE_TARGET = 1.5
FACTS_TARGET = 3.0
PAST_TARGET = 1.5
PAST_ROUNDS = 60
ENTRIES = 100_000
QUICK_ENTRIES = 20_000
GROWTH = 20
"""The longer ledger has so many times the entries of the shorter one."""
APPENDED = 2000
LINES = 200

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
CODE = b"print('hello')\n"
_RULE = re.compile(r'@id\("([^"]+)"\)')
_EXTRA = """
@id("extra-{number}") @reason("This package is not used here") @control("CM-7")
forbid (principal in Role::"developer", action == Action::"install", resource is Package)
when {{ resource.name == "package-{number}" && resource.critical + resource.high >= 0 }};
"""


def main() -> int:
    """Measure, print, and say by the exit code whether every target was met."""
    options = asked(__doc__).parse_args()
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    figures = [*(gate_figure(rules, rounds) for rules in RULES), facts_figure(rounds), past_figure(quick=options.quick)]
    return told(figures, as_json=options.json)


# ---------------------------------------------------------------- the gate


def gate_figure(rules: int, rounds: int) -> Figure:
    """A whole decision of one turn, from facts to grant, against the engine's answer to the same questions, already written down."""
    gate = Gate(policies_of(rules))
    if gate.rules != rules:
        message = f"{gate.rules} rules where {rules} were to be measured"
        raise RuntimeError(message)
    packages = tuple(PackageFacts(name=f"dependency-{n}", version="1.0", age_days=90) for n in range(BUNDLE - 1))
    dependencies = DependencyFacts(total=len(packages), data_class="imported", packages=packages)
    person = Principal(id="alice", kind=PrincipalKind.HUMAN, roles=("developer",))
    request = RunRequest(principal=person, code=CODE, file_name="program.py")
    facts = CodeFacts(language="python", sha256=hashlib.sha256(CODE).hexdigest(), bytes=len(CODE), parsed=True)

    def decide() -> object:
        return gate.run(
            request,
            dependencies=dependencies,
            code=facts,
            history=History(),
            approvals=(),
            lock_sha256="0" * 64,
            now=NOW,
            decision="decision",
        )

    decision = decide()
    if not isinstance(decision, Allowed) or len(decision.basis.items) != BUNDLE:
        message = "the measured request is not the bundle that was meant"
        raise RuntimeError(message)
    return compared(
        f"decision on {BUNDLE} items under {rules} rules",
        decide,
        plain_batch(gate, decision.basis.inputs),
        baseline="a plain cedarpy batch",
        target=GATE_TARGET,
        rounds=rounds,
    )


def policies_of(rules: int) -> PolicySet:
    """The shipped set, brought to exactly that many rules."""
    files = {name: text for name, text in PolicySet.shipped().files.items() if not name.startswith("tests/")}
    for name in ("administration.cedar", "approvals.cedar"):
        del files[name]
    known = sum(len(_RULE.findall(text)) for name, text in files.items() if name.endswith(".cedar"))
    files["extra.cedar"] = "".join(_EXTRA.format(number=number) for number in range(rules - known))
    return PolicySet(files)


def plain_batch(gate: Gate, inputs: bytes) -> Callable[[], object]:
    """The same questions over the same entities, put to Cedar directly: policies and schema read once, as ours are."""
    asked = json.loads(inputs)
    schema = cedarpy.Schema.from_str(next(iter(gate.policies.texts(".cedarschema").values())))
    policies = cedarpy.PolicySet.from_str("\n".join(gate.policies.texts(".cedar").values()))
    entities = json.dumps(asked["entities"])
    requests = [{name: value for name, value in one.items() if name != "words"} for one in asked["requests"]]

    def batch() -> object:
        return cedarpy.is_authorized_batch(requests, policies, cedarpy.Entities.from_json_str(entities, schema), schema)

    return batch


# ---------------------------------------------------------------- code facts


def facts_figure(rounds: int) -> Figure:
    """Everything that is read from a program, by way of the resident reader, against parsing it in this process."""
    code = program().encode()
    with ReaderProcess() as reader:

        def facts() -> object:
            return read_code(code, language="python", file_name="program.py", reader=reader)

        return compared(
            f"code facts of {LINES} lines",
            facts,
            lambda: ast.parse(code),
            baseline="ast.parse",
            target=FACTS_TARGET,
            rounds=rounds,
        )


def program() -> str:
    """A program as agents write them: imports, functions, strings, calls; the same every time."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from ("import csv", "import json", "from collections import defaultdict", "from pathlib import Path", "")
    for number in range(19):
        yield from (
            f"def summarise_{number}(rows, *, key='region', limit={number}):",
            f'    """Totals of column {number} by region, the largest first."""',
            "    totals = defaultdict(float)",
            "    for row in rows:",
            "        if row.get(key) and float(row['amount']) > 0:",
            "            totals[row[key].strip().lower()] += float(row['amount']) * 1.19",
            "    ordered = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))",
            f"    Path('out/table-{number}.json').write_text(json.dumps(dict(ordered[:limit]), indent=2))",
            "    return [f'{name}: {value:.2f}' for name, value in ordered if value > limit]",
            "",
        )
    yield from (
        "if __name__ == '__main__':",
        "    with open('input.csv', newline='', encoding='utf-8') as file:",
        "        everything = list(csv.DictReader(file))",
        "    for line in summarise_0(everything):",
        "        print(line)",
    )


# ---------------------------------------------------------------- the past


def past_figure(*, quick: bool) -> Figure:
    """Everything that rules may know of a principal's past, on a ledger that is many times as long as another."""
    short, long = (QUICK_ENTRIES if quick else ENTRIES) // GROWTH, QUICK_ENTRIES if quick else ENTRIES
    directory = Directory.from_text('[humans.alice]\n[agents.scout]\nowner = "alice"\n')
    who = directory.principals["scout"]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ledgers = [stack.enter_context(grown(Path(folder) / str(size), size)) for size in (long, short)]

        def told(ledger: Ledger) -> Callable[[], object]:
            return lambda: history_of(ledger, directory, who, now=NOW)

        return compared(
            f"history and budgets on a ledger of {long} entries",
            told(ledgers[0]),
            told(ledgers[1]),
            baseline=f"the same on {short} entries",
            target=PAST_TARGET,
            rounds=PAST_ROUNDS,
        )


def grown(folder: Path, size: int) -> Ledger:
    """A ledger of runs that ended over two months, the last minutes of both of any size alike."""
    ledger = Ledger.create(LedgerFiles(folder / "ledger.sqlite", folder / "keys"), origin="custody.local/benchmark")
    output = events.OutputRecord(sha256="0" * 64, seen=10, truncated=False, redactions=0, payload=None)
    ended = events.RunFinished(
        end="executed",
        started=True,
        outcome="succeeded",
        explanation="",
        rules=(),
        usage=events.UsageRecord(wall_ms=900, cpu_ms=150, peak_memory_bytes=None, peak_processes=None),
        stdout=output,
    )
    step = timedelta(days=60) / size
    for begin in range(0, size, APPENDED):
        ledger.append(
            [
                Draft(
                    id=f"event-{number}",
                    event=ended,
                    actor="scout",
                    time=NOW - timedelta(days=60, hours=2) + step * number,
                    run=f"run-{number}",
                )
                for number in range(begin, min(size, begin + APPENDED))
            ]
        )
    return ledger


# ---------------------------------------------------------------- measuring


def compared(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], *, baseline: str, target: float, rounds: int
) -> Figure:
    """One against the other."""
    took = interleaved({"ours": ours, "theirs": theirs}, rounds, warm_up=rounds // 10)
    return against(name, took["ours"] / took["theirs"], baseline=baseline, target=target, runs=rounds)


if __name__ == "__main__":
    sys.exit(main())
