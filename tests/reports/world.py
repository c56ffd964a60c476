"""A window of a made-up ledger, told by hand-made entries: a dozen programs by three principals."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from custody.ledger.events import (
    AccessDenied,
    AdvisoriesImported,
    ApprovalConsumed,
    ApprovalGranted,
    ArtefactCollected,
    CodeRecord,
    CommandObserved,
    DataRecord,
    DependenciesAudited,
    DependenciesFreshness,
    DependenciesResolved,
    EgressAttempted,
    EnvironmentBuilt,
    Event,
    ExposureRecord,
    FileObserved,
    FindingRecord,
    FreshnessRecord,
    HostRecord,
    LedgerOpened,
    LimitsRecord,
    MountRecord,
    OutputRecord,
    PinRecord,
    PolicyChanged,
    PolicyDecided,
    ReasonRecord,
    RunClaimed,
    RunFinished,
    RunHeld,
    RunStarted,
    RunSubmitted,
    UsageRecord,
)
from custody.ledger.types import Checkpoint, Entry, PayloadRef, Problem, Verification
from custody.reports import Review, Window, judge

NOON = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
LIMITS = LimitsRecord(
    wall_seconds=30,
    cpu_seconds=30,
    memory_mib=256,
    processes=32,
    output_kib=256,
    disk_mib=32,
    files=1024,
    open_files=128,
    artefact_mib=4,
    artefacts=16,
)
NOTHING = ExposureRecord(hosts=(), readable=(), writable=(), packages_with_findings=(), new=())
"""What a grant exposes that opens nothing but the jail itself."""
DEMO_DATA = DataRecord(
    data_class="demo",
    sha256="d" * 64,
    source="custody demonstration advisories",
    as_of="2026-11-01T00:00:00Z",
    age_days=18,
    records=12,
    quarantined=0,
)
LIVE_DATA = replace(DEMO_DATA, data_class="imported", sha256="e" * 64, source="osv export", records=18_204, age_days=1)
OWNERS = {"agent-mailer": "maria", "agent-analyst": "jonas", "agent-builder": "maria"}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def ref(text: str) -> PayloadRef:
    return PayloadRef(id=sha(text)[:32], commitment=sha("c" + text), bytes=len(text), media="text/plain", redactions=0)


@dataclass
class World:
    """Writes entries one after another, half a second apart."""

    now: datetime = NOON
    entries: list[Entry] = field(default_factory=list)
    payloads: dict[str, bytes] = field(default_factory=dict)
    _sequence: dict[str, int] = field(default_factory=dict)

    def put(self, event: Event | None, *, run: str | None = None, actor: str = "custody", kind: str = "") -> Entry:
        index = len(self.entries)
        sequence = None
        if run is not None:
            sequence = self._sequence.get(run, 0)
            self._sequence[run] = sequence + 1
        leaf = f"{index} {event!r}".encode("utf-8", "surrogatepass")
        entry = Entry(
            index=index,
            leaf=leaf,
            leaf_hash=hashlib.sha256(b"\0" + leaf).digest(),
            id=f"event-{index:05d}",
            kind=kind or (event.KIND.name if event else "later:kind"),
            version=event.KIND.version if event else 9,
            time=self.now,
            actor=actor,
            run=run,
            sequence=sequence,
            event=event,
        )
        self.entries.append(entry)
        self.now += timedelta(milliseconds=500)
        return entry

    def payload(self, content: bytes) -> PayloadRef:
        made = ref(hashlib.sha256(content).hexdigest())
        self.payloads[made.id] = content
        return replace(made, bytes=len(content))

    def read(self, wanted: PayloadRef) -> bytes:
        return self.payloads[wanted.id]

    def window(self, hours: int = 24) -> Window:
        until = (self.now + timedelta(minutes=1)).replace(microsecond=0)
        return Window(until - timedelta(hours=hours), until, len(self.entries))

    def verification(self, *problems: Problem, anchored_to: int | None = None) -> Verification:
        root = hashlib.sha256(b"".join(entry.leaf_hash for entry in self.entries)).digest()
        return Verification(
            size=len(self.entries),
            root=root,
            problems=problems,
            checks=("every leaf hashes to the signed root", "every checkpoint extends the one before"),
            not_checked=("payload bytes: they were not read",),
            anchored_to=anchored_to,
            checkpoint=Checkpoint("custody.test", len(self.entries), root, "note"),
        )

    # ---------------------------------------------------------------- steps of a run

    def submit(
        self,
        run: str,
        principal: str,
        program: str,
        *,
        hosts: tuple[HostRecord, ...] = (),
        requirements: int = 0,
        facts: CodeRecord | None = None,
        limits: LimitsRecord = LIMITS,
        purpose: str = "",
        code: str = "",
        profile: str = "demo",
        conductor: str = "direct",
    ) -> None:
        plain = CodeRecord(
            language="python", parsed=True, error="", imports=(), flags=(), hosts=(), paths=(), secrets=()
        )
        self.put(
            RunSubmitted(
                principal=principal,
                principal_kind="agent",
                owner=OWNERS.get(principal),
                authentication="demo-directory",
                conductor=conductor,
                request_sha256=sha("request" + program + code),
                language="python",
                file_name=program,
                code_sha256=sha(code or program),
                code_bytes=412,
                code=ref(program),
                request=ref("request" + program),
                argument_count=0,
                files=(),
                requirements_sha256=sha("requirements" + program) if requirements else None,
                requirement_count=requirements,
                profile=profile,
                hosts=hosts,
                mounts=(),
                limits=limits,
                facts=facts or plain,
                purpose=purpose,
                ticket="",
            ),
            run=run,
            actor=principal,
        )

    def decide(
        self,
        run: str,
        result: str,
        *,
        rules: tuple[str, ...] = (),
        reasons: tuple[str, ...] = (),
        stage: str = "run",
        roles: tuple[str, ...] = (),
        exposure: ExposureRecord = NOTHING,
        limits: LimitsRecord = LIMITS,
    ) -> None:
        self.put(
            PolicyDecided(
                decision=f"d-{sha(run + stage + str(len(self.entries)))[:8]}",
                stage=stage,
                result=result,
                rules=rules,
                reasons=tuple(ReasonRecord(rule=rule, text=text) for rule, text in zip(rules, reasons, strict=False)),
                roles=roles,
                items=(),
                items_total=1,
                profile="demo",
                limits=limits,
                exposure=exposure,
                obligations=(),
                errors=(),
                policy_sha256=sha("policy"),
                schema_sha256=sha("schema"),
                engine="cedar 4.12",
                inputs=ref("inputs" + run),
            ),
            run=run,
        )

    def start(
        self,
        run: str,
        *,
        approval: Entry | None = None,
        hosts: tuple[HostRecord, ...] = (),
        mounts: tuple[MountRecord, ...] = (),
        limits: LimitsRecord = LIMITS,
    ) -> None:
        self.put(
            RunClaimed(nonce=sha(run)[:32], conductor="direct", pid=4711, boot_id="b", process_started="1"), run=run
        )
        if approval is not None and isinstance(approval.event, ApprovalGranted):
            self.put(
                ApprovalConsumed(
                    granted=approval.index, binding=approval.event.binding, approver=approval.event.approver
                ),
                run=run,
            )
        self.put(
            RunStarted(
                decision="d-1",
                grant_sha256=sha("grant" + run),
                profile="demo",
                limits=limits,
                hosts=hosts,
                mounts=mounts,
                layers=("user_namespace", "mount_namespace", "network_namespace", "seccomp"),
                lock_sha256=None,
                environment=None,
                environment_sha256=None,
            ),
            run=run,
        )

    def finish(
        self,
        run: str,
        outcome: str,
        *,
        wall_ms: int = 300,
        exit_code: int | None = 0,
        signal: int | None = None,
        stderr: bytes = b"",
        stdout: bytes = b"",
        limits_hit: tuple[str, ...] = (),
        explanation: str = "",
        artefacts: int = 0,
        undeclared: tuple[str, ...] = (),
        truncated: bool = False,
        layers: tuple[str, ...] = ("user_namespace", "seccomp", "cgroup_memory", "cgroup_pids"),
        rules: tuple[str, ...] = (),
        unobserved: tuple[str, ...] = ("files that the program opened inside its own workspace are not recorded",),
    ) -> None:
        self.put(
            RunFinished(
                end="executed",
                started=True,
                outcome=outcome,
                explanation=explanation or f"the program ended and was classed as {outcome}",
                rules=rules,
                exit_code=exit_code,
                signal=signal,
                limits_hit=limits_hit,
                usage=UsageRecord(wall_ms=wall_ms, cpu_ms=wall_ms // 2, peak_memory_bytes=12_000_000, peak_processes=1),
                stdout=self.output(stdout, truncated=truncated),
                stderr=self.output(stderr),
                artefacts=artefacts,
                unobserved=unobserved,
                layers=layers,
                undeclared=undeclared,
            ),
            run=run,
        )

    def output(self, content: bytes, *, truncated: bool = False) -> OutputRecord:
        return OutputRecord(
            sha256=hashlib.sha256(content).hexdigest(),
            seen=len(content),
            truncated=truncated,
            redactions=0,
            payload=self.payload(content) if content else None,
        )

    def end(self, run: str, end: str, *, rules: tuple[str, ...] = (), explanation: str = "") -> None:
        self.put(RunFinished(end=end, started=False, outcome=None, explanation=explanation, rules=rules), run=run)

    def egress(
        self,
        run: str,
        host: str,
        port: int,
        *,
        count: int = 1,
        allowed: bool = False,
        reason: str = "network is unreachable",
    ) -> None:
        self.put(
            EgressAttempted(
                host=host,
                port=port,
                allowed=allowed,
                reason="" if allowed else reason,
                source="audit_hook",
                program_controlled=True,
                count=count,
            ),
            run=run,
        )

    def resolve(self, run: str | None, *pins: tuple[str, str]) -> None:
        self.put(
            DependenciesResolved(
                lock_sha256=sha(repr(pins)),
                source="requirements.txt",
                resolver="given",
                total=len(pins),
                pins=tuple(PinRecord(name=name, version=version, direct=True) for name, version in pins),
                lock=ref("lock" + repr(pins)),
            ),
            run=run,
        )

    def audit(
        self, run: str | None, pins: int, *findings: FindingRecord, data: DataRecord = DEMO_DATA, lock: str = ""
    ) -> None:
        vulnerable = sum(finding.state == "vulnerable" for finding in findings)
        self.put(
            DependenciesAudited(
                lock_sha256=lock or sha(f"lock {run}"),
                real=data.data_class != "demo",
                complete=True,
                coverage_error="",
                data=data,
                clean=pins - len(findings),
                vulnerable=vulnerable,
                waived=0,
                undetermined=len(findings) - vulnerable,
                unauditable=0,
                findings=findings,
                second_opinion="pip-audit 2.10.1",
                second_opinion_agreed=True,
                report=ref(f"report {run}"),
            ),
            run=run,
        )

    def freshness(self, *packages: tuple[str, str, str | None, str]) -> None:
        self.put(
            DependenciesFreshness(
                as_of="2026-11-19T12:01:00Z",
                known=sum(latest is not None for _, _, latest, _ in packages),
                unknown=sum(latest is None for _, _, latest, _ in packages),
                packages=tuple(
                    FreshnessRecord(name=name, used=used, latest=latest, reason=reason, yanked=False)
                    for name, used, latest, reason in packages
                ),
            )
        )

    def built(self, run: str) -> None:
        self.put(
            EnvironmentBuilt(
                environment=f"env-{run}",
                lock_sha256=sha(run),
                tree_sha256=sha("tree"),
                files=120,
                bytes=900_000,
                tool="uv 0.13",
                in_jail=False,
                wall_ms=900,
            ),
            run=run,
        )

    # ---------------------------------------------------------------- whole runs

    def succeeded(self, run: str, principal: str, program: str) -> None:
        self.submit(run, principal, program)
        self.decide(run, "allowed")
        self.start(run)
        self.finish(run, "succeeded")

    def denied(self, run: str, principal: str, program: str, rule: str = "no-network", *, code: str = "") -> None:
        self.submit(run, principal, program, code=code)
        self.decide(run, "denied", rules=(rule,), reasons=(f"{rule} says no",))
        self.end(run, "denied", rules=(rule,))


def reviewed(world: World, *problems: Problem, anchored_to: int | None = None, hours: int = 24) -> Review:
    """The last hours of a world, judged."""
    return judge(
        world.entries,
        window=world.window(hours),
        verification=world.verification(*problems, anchored_to=anchored_to),
        review="R-2026-11-19-1",
        organisation="Northwind Pay",
        read_payload=world.read,
    )


CONTACTS = b"""Traceback (most recent call last):
  File "mail_everyone.py", line 31, in <module>
    post("https://mail.example.net/send", letter)
OSError: [Errno 101] Network is unreachable
"""


def demo() -> World:
    """What the demonstration leaves in a ledger."""
    world = World()
    world.put(LedgerOpened(origin="custody.demo", verifier_key="k", schema="1", release="0.1.0", by="custody"))
    world.put(
        PolicyChanged(
            author="ana",
            policy_sha256=sha("policy"),
            schema_sha256=sha("schema"),
            previous_sha256=None,
            rules=12,
            profiles=("default", "demo"),
            policy_set=ref("set"),
            files=(),
        )
    )
    world.put(AdvisoriesImported(data=DEMO_DATA, previous_sha256=None, by="ana"))
    _mailer(world)
    _ordinary(world)
    _not_run(world)
    _approved(world)
    _limits(world)
    _snooper(world)
    world.put(
        AccessDenied(
            action="approve",
            source="cli",
            rules=("only-approvers-approve",),
            reason="the role approver is missing",
            count=1,
        ),
        actor="agent-builder",
    )
    world.submit("run-14", "agent-builder", "decode_payload.py", purpose="unpack a bundle")
    world.decide(
        "run-14",
        "needs_approval",
        rules=("obfuscated-code-needs-approval",),
        reasons=("The code hides what it does; a person has to read it first.",),
        roles=("approver",),
        exposure=replace(NOTHING, hosts=("bundles.example.org:443",), new=("host bundles.example.org:443",)),
    )
    world.put(
        RunHeld(decision="d-14", roles=("approver",), binding=sha("b14"), expires="2026-11-20T12:00:00Z"), run="run-14"
    )
    world.freshness(
        ("tabulate", "0.9.0", "0.10.0", ""),
        ("python-dateutil", "2.9.0", "2.9.0", ""),
        ("oldyaml", "5.1", "6.0.2", ""),
        ("six", "1.16.0", None, "the index did not answer within 10 s"),
    )
    return world


def _mailer(world: World) -> None:
    facts = CodeRecord(
        language="python",
        parsed=True,
        error="",
        imports=("csv", "smtplib", "urllib"),
        flags=("network",),
        hosts=("smtp.example.net",),
        paths=(),
        secrets=(),
    )
    world.submit(
        "run-01", "agent-mailer", "mail_everyone.py", facts=facts, purpose="send the newsletter to every contact"
    )
    world.decide("run-01", "allowed", stage="submit")
    world.decide("run-01", "allowed", rules=("demo-programs-may-run",))
    world.start("run-01")
    world.egress("run-01", "smtp.example.net", 25, count=40)
    world.egress("run-01", "mail.example.net", 443, count=40)
    world.finish(
        "run-01",
        "failed",
        exit_code=1,
        wall_ms=640,
        stderr=CONTACTS,
        stdout=b"40 contacts\n",
        undeclared=("host name",),
    )


def _ordinary(world: World) -> None:
    world.submit("run-02", "agent-analyst", "sales_by_region.py", requirements=3, purpose="monthly figures")
    world.resolve("run-02", ("tabulate", "0.9.0"), ("python-dateutil", "2.9.0"), ("six", "1.16.0"))
    world.audit("run-02", 3)
    new = ("package python-dateutil==2.9.0", "package six==1.16.0", "package tabulate==0.9.0")
    world.decide("run-02", "allowed", rules=("demo-programs-may-run",), exposure=replace(NOTHING, new=new))
    world.built("run-02")
    world.start("run-02")
    world.finish("run-02", "succeeded", wall_ms=410, stdout=b"north 12\nsouth 7\n")

    world.submit("run-03", "agent-analyst", "inline_metadata.py", requirements=1, conductor="prefect")
    world.resolve("run-03", ("tabulate", "0.9.0"))
    world.audit("run-03", 1)
    world.decide("run-03", "allowed")
    world.built("run-03")
    world.start("run-03")
    world.finish("run-03", "succeeded", wall_ms=350, stdout=b"ok\n")

    world.submit("run-04", "agent-builder", "make_report.py")
    figures = replace(NOTHING, readable=("/srv/figures (internal)",), new=("read /srv/figures",))
    world.decide("run-04", "allowed", exposure=figures)
    world.start("run-04", mounts=(MountRecord(path="/srv/figures", access="read", target="figures"),))
    for name in ("figures.csv", "summary.txt"):
        world.put(
            ArtefactCollected(name=name, sha256=sha(name), bytes=2_048, redactions=0, content=ref(name)), run="run-04"
        )
    world.finish("run-04", "succeeded", wall_ms=280, artefacts=2)


def _not_run(world: World) -> None:
    world.submit("run-05", "agent-analyst", "fetch_rates.py", hosts=(HostRecord(name="rates.example.com", port=443),))
    world.decide("run-05", "denied", rules=("demo-has-no-network",), reasons=("The profile demo gives no network.",))
    world.end("run-05", "denied", rules=("demo-has-no-network",), explanation="denied by policy")

    world.submit("run-06", "agent-builder", "parse_config.py", requirements=1)
    world.resolve("run-06", ("oldyaml", "5.1"))
    finding = FindingRecord(
        name="oldyaml",
        version="5.1",
        state="vulnerable",
        severity="critical",
        advisories=("DEMO-2026-0003",),
        fixed_in=("5.4",),
    )
    world.audit("run-06", 1, finding)
    world.decide("run-06", "denied", rules=("no-critical-findings",), reasons=("A package has a critical finding.",))
    world.end("run-06", "blocked", rules=("no-critical-findings",), explanation="a package is vulnerable")


def _approved(world: World) -> None:
    facts = CodeRecord(
        language="python",
        parsed=True,
        error="",
        imports=("base64",),
        flags=("dynamic_code", "obfuscated"),
        hosts=(),
        paths=(),
        secrets=(),
    )
    world.submit("run-07", "agent-builder", "packed.py", facts=facts, purpose="run a packed tool")
    rule = ("obfuscated-code-needs-approval",)
    world.decide("run-07", "needs_approval", rules=rule, reasons=("The code hides what it does.",), roles=("approver",))
    world.put(
        RunHeld(decision="d-7", roles=("approver",), binding=sha("b7"), expires="2026-11-20T12:00:00Z"), run="run-07"
    )
    granted = world.put(
        ApprovalGranted(
            role="approver",
            approver="jonas",
            authentication="demo-directory",
            binding=sha("b7"),
            decision="d-8",
            comment="read it: it only unpacks a table",
            expires="2026-11-20T12:00:00Z",
        ),
        run="run-07",
        actor="jonas",
    )
    world.decide("run-07", "allowed")
    world.start("run-07", approval=granted)
    world.finish("run-07", "succeeded", wall_ms=220, stdout=b"unpacked\n")


def _limits(world: World) -> None:
    for run, program, outcome, wall, hit, limits in (
        ("run-08", "fork_bomb.py", "failed", 1_900, ("processes",), LIMITS),
        ("run-09", "memory_bomb.py", "killed_memory", 700, ("memory",), LIMITS),
        ("run-10", "sleeper.py", "timed_out", 2_040, ("wall",), replace(LIMITS, wall_seconds=2)),
        ("run-11", "output_flood.py", "killed_output", 900, ("output",), LIMITS),
    ):
        world.submit(run, "agent-builder", program, limits=limits)
        world.decide(run, "allowed", limits=limits)
        world.start(run, limits=limits)
        flood = outcome == "killed_output"
        world.finish(
            run,
            outcome,
            wall_ms=wall,
            limits_hit=hit,
            exit_code=1 if outcome == "failed" else None,
            signal=None if outcome == "failed" else 9,
            stdout=b"la la la\n" * 300 if flood else b"",
            stderr=b""
            if flood
            else b"BlockingIOError: [Errno 11] Resource temporarily unavailable\n"
            if hit == ("processes",)
            else b"",
            truncated=flood,
        )
    world.submit("run-12", "agent-analyst", "divide.py")
    world.decide("run-12", "allowed")
    world.start("run-12")
    world.finish("run-12", "failed", exit_code=1, wall_ms=190, stderr=b"ZeroDivisionError: division by zero\n")


def _snooper(world: World) -> None:
    facts = CodeRecord(
        language="python",
        parsed=True,
        error="",
        imports=("socket",),
        flags=("network",),
        hosts=("127.0.0.1",),
        paths=("/etc/shadow",),
        secrets=(),
    )
    world.submit("run-13", "agent-builder", "look_around.py", facts=facts)
    world.decide("run-13", "allowed")
    world.start("run-13")
    world.put(
        FileObserved(path="/etc/shadow", action="attempted", source="audit_hook", program_controlled=True, sha256=""),
        run="run-13",
    )
    world.put(
        CommandObserved(
            number=1,
            parent=None,
            path="/bin/id",
            arguments=("id", "-u"),
            source="audit_hook",
            program_controlled=True,
            exit_status=None,
            wall_ms=None,
        ),
        run="run-13",
    )
    world.egress("run-13", "127.0.0.1", 22, reason="connection refused")
    world.finish("run-13", "succeeded", wall_ms=240, stdout=b"nothing to see\n")
