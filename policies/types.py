"""What a request asks for, what a decision answers, and the facts that go into it; plain data, standard library only.

Facts are filled in by flows/ from the ledger, the audit and the code; a caller's own facts are never taken over.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from .approval_records import Approval as Approval  # noqa: PLC0414 - shown on: other rooms import this page
from .approval_records import ApprovalEvent as ApprovalEvent  # noqa: PLC0414 - shown on: other rooms import this page
from .approval_records import ApprovalEventKind as ApprovalEventKind  # noqa: PLC0414 - shown on: other rooms import this page
from .approval_records import ApprovalStage as ApprovalStage  # noqa: PLC0414 - shown on: other rooms import this page
from .approval_records import ApprovalState as ApprovalState  # noqa: PLC0414 - shown on: other rooms import this page
from .facts import Budgets as Budgets  # noqa: PLC0414 - shown on: other rooms import this page
from .facts import CodeFacts as CodeFacts  # noqa: PLC0414 - shown on: other rooms import this page
from .facts import DependencyFacts as DependencyFacts  # noqa: PLC0414 - shown on: other rooms import this page
from .facts import History as History  # noqa: PLC0414 - shown on: other rooms import this page
from .facts import PackageFacts as PackageFacts  # noqa: PLC0414 - shown on: other rooms import this page
from .facts import Spent as Spent  # noqa: PLC0414 - shown on: other rooms import this page
from .facts import Usage as Usage  # noqa: PLC0414 - shown on: other rooms import this page

__all__ = ["Allowed", "Decision", "Denied", "Grant", "NeedsApproval", "RunRequest"]


class PrincipalKind(StrEnum):
    """Who can be a principal."""

    HUMAN = "human"
    AGENT = "agent"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An identity from the directory file, or an unknown one."""

    id: str
    """ASCII name, unique in the directory."""
    kind: PrincipalKind
    known: bool = True
    """False if the directory does not list it: policies deny it, and the attempt is recorded."""
    enabled: bool = True
    owner: str | None = None
    """The accountable human of an agent or service."""
    owner_enabled: bool = True
    """Whether that human is listed and enabled; False without an owner that is both."""
    owner_roles: tuple[str, ...] = ()
    """That human's own roles: what reaches out of the jail must be allowed to both."""
    owner_teams: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    authentication: str = "os-user"
    """How the identity was established: `os-user`, `sudo-user`, `login-user`, `demo-directory`; later peer, key, token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use; each at least 1."""

    wall_seconds: int = 60
    cpu_seconds: int = 60
    memory_mib: int = 512
    processes: int = 64
    """Processes and threads together."""
    output_kib: int = 1024
    """Standard output and standard error together."""
    disk_mib: int = 64
    """Workspace and /tmp, each."""
    files: int = 4096
    """Inodes in workspace and /tmp, each."""
    open_files: int = 256
    artefact_mib: int = 16
    artefacts: int = 64


@dataclass(frozen=True, slots=True, order=True)
class HostRequest:
    """One host and port that the program wants to reach."""

    name: str
    port: int


class Access(StrEnum):
    """How a path is mounted."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, order=True)
class MountRequest:
    """One path of this machine that the program wants to see, resolved before it is judged."""

    path: str
    access: Access
    target: str
    """Name below /mnt in the jail."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that goes into the workspace by content."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Who wants to run what, with what, and why."""

    principal: Principal
    code: bytes
    file_name: str
    """Base name, for messages and tracebacks."""
    language: str = "python"
    arguments: tuple[str, ...] = ()
    files: tuple[InputFile, ...] = ()
    requirements: bytes = b""
    """The pinned and hashed requirements as given; empty for none."""
    declared: tuple[str, ...] = ()
    """Requirement specifiers from inline metadata (PEP 723), which the requirements must satisfy."""
    hosts: tuple[HostRequest, ...] = ()
    mounts: tuple[MountRequest, ...] = ()
    limits: Limits = field(default_factory=Limits)
    profile: str = "default"
    purpose: str = ""
    ticket: str = ""

    def digest(self) -> str:
        """SHA-256 (hex) of everything in the request that decides what would happen; who asks and why are left out."""
        return digest_of(
            {
                "arguments": list(self.arguments),
                "code": hashlib.sha256(self.code).hexdigest(),
                "declared": list(self.declared),
                "file_name": self.file_name,
                "files": [[f.name, hashlib.sha256(f.content).hexdigest()] for f in self.files],
                "hosts": [[h.name, h.port] for h in self.hosts],
                "language": self.language,
                "limits": asdict(self.limits),
                "mounts": [[m.path, m.access, m.target] for m in self.mounts],
                "profile": self.profile,
                "requirements": hashlib.sha256(self.requirements).hexdigest(),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSubject:
    """A run as the object of an action, for example of `approve`."""

    run: str
    requester: str
    requester_kind: PrincipalKind
    owner: str | None = None
    """The accountable human of the requester, if that is an agent or service."""

    @property
    def accountable(self) -> str:
        """The human who answers for the request; empty if nobody does."""
        return self.requester if self.requester_kind is PrincipalKind.HUMAN else self.owner or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One named way to run, from the policy set."""

    name: str
    description: str
    defaults: Limits
    """What a request gets that asks for nothing."""
    caps: Limits
    """What rules may lower a request to; see the rule `limits-profile-caps`."""
    layers: tuple[str, ...]
    """Layers of the jail that must be there."""
    seccomp: str = "default"
    shell: bool = False
    network: bool = False
    strict: bool = False
    demo: bool = False
    """Whether a verdict on demo data is accepted: not a real audit."""
    live_output: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyProblem:
    """Something that is wrong in a policy folder, where it stands."""

    file: str
    line: int
    rule: str
    """Id of the rule, or empty."""
    text: str
    blocking: bool = True
    """Whether the set cannot be put in force; False for what only lint asks for."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: rule `{self.rule}`: {self.text}" if self.rule else f"{where}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTestResult:
    """One case of a rule test and what came of it."""

    file: str
    rule: str
    """The rule that the case is about."""
    name: str
    fires: bool
    """Whether the case expects the rule to fire."""
    problems: tuple[str, ...] = ()
    """Empty if the case passed."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One deciding rule in words that anybody may read."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedItem:
    """One request of the bundle and its answer."""

    action: str
    resource: str
    result: str
    """`allowed`, `needs_approval` or `denied`."""
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What the grant could do at worst, and what of it is new for this principal."""

    hosts: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    packages_with_findings: tuple[str, ...] = ()
    new: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What every decision carries so that it can be explained and made again later."""

    decision: str
    """Id of the decision."""
    rules: tuple[str, ...]
    """Deciding rule ids, sorted."""
    items: tuple[DecidedItem, ...]
    exposure: Exposure
    policy_digest: str
    schema_digest: str
    inputs: bytes
    """Canonical JSON of every engine request (principal, action, resource, context, entities) of the last turn."""
    engine: str
    obligations: tuple[str, ...] = ()
    """One sentence for each thing that rules changed or added, with the rule's id."""
    errors: tuple[str, ...] = ()
    binding: str = ""
    """What an approval of exactly this is bound to; empty where nothing could be approved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Exactly what the jail may open."""

    decision: str
    principal: str
    profile: str
    limits: Limits
    hosts: tuple[HostRequest, ...] = ()
    mounts: tuple[MountRequest, ...] = ()
    layers: tuple[str, ...] = ()
    """Layers that the profile demands; a missing one is a refusal."""
    seccomp: str = "default"
    """Name of the system-call filter."""
    shell: bool = False
    redactions: tuple[str, ...] = ("secrets",)
    records: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Secret name by host; the values never come here."""
    live_output: bool = False

    def digest(self) -> str:
        """SHA-256 (hex) of everything but the decision's id."""
        fields = asdict(self)
        del fields["decision"]
        return digest_of(fields)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Everything in the bundle may happen, under this grant."""

    basis: Basis
    grant: Grant


@dataclass(frozen=True, slots=True)
class Permitted:
    """An action other than a run may go on: a submission may be resolved, a person may approve, an auditor may read. It opens no jail."""

    basis: Basis


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """It would be allowed if people with these roles agreed; the grant is what they would agree to."""

    basis: Basis
    roles: tuple[str, ...]
    reasons: tuple[Reason, ...]
    grant: Grant


@dataclass(frozen=True, slots=True)
class Denied:
    """It may not happen."""

    basis: Basis
    reasons: tuple[Reason, ...]

    @property
    def about_packages_only(self) -> bool:
        """Whether every deciding rule is about `install`: then the run is blocked (exit 5) rather than denied (exit 3)."""
        refused = [item for item in self.basis.items if item.result == "denied"]
        return bool(refused) and not self.basis.errors and all(item.action == "install" for item in refused)


Decision = Allowed | NeedsApproval | Denied


def digest_of(value: object) -> str:
    """SHA-256 (hex) of a value as JSON with sorted keys and no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
