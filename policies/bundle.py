"""From our facts to the engine's questions: one run is a bundle of requests over one small slice of entities.

It must never hold a rule: it states facts, and it states all of them. Values that came from outside go in as JSON values, never as Cedar text.
"""

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from packaging.utils import canonicalize_name

from .engine import EngineRequest, Json, Uid
from .locations import Host, is_plain_path
from .settings_files import Lists
from .types import (
    Access,
    Budgets,
    CodeFacts,
    DependencyFacts,
    Exposure,
    History,
    HostRequest,
    Limits,
    MountRequest,
    PackageFacts,
    Principal,
    PrincipalKind,
    Profile,
    RunRequest,
    RunSubject,
    Usage,
)

__all__ = [
    "ACTIONS",
    "ANSWERS",
    "CHANGE_POLICY",
    "Bundle",
    "Item",
    "Slice",
    "context_of_action",
    "context_of_run",
    "context_of_submit",
]

_TYPES = {PrincipalKind.HUMAN: "Human", PrincipalKind.AGENT: "Agent", PrincipalKind.SERVICE: "Service"}
_MAX_TICKET = 80
_MAX_PURPOSE = 300
_PACKAGE_FACTS = (
    "version",
    "direct",
    "pinned",
    "hashed",
    "malicious",
    "critical",
    "high",
    "medium",
    "low",
    "unknown",
    "undetermined",
    "waived",
)

CHANGE_POLICY = "changePolicy"
"""The one action that is told which layers of a policy set it would change."""
ACTIONS: Mapping[str, str] = {
    "approve": "Run",
    "refuse": "Run",
    "continueRun": "Run",
    "cancelRun": "Run",
    "readRun": "Run",
    "readAudit": "Ledger",
    "verifyLedger": "Ledger",
    "runReview": "Ledger",
    "signReview": "Ledger",
    CHANGE_POLICY: "PolicySet",
    "readPrincipals": "Directory",
    "managePrincipals": "Directory",
    "importAdvisories": "AdvisoryData",
    "deploy": "Schedule",
}
"""Action besides running -> type of what it is about."""
ANSWERS = frozenset({"approve", "refuse"})
"""Actions that a person does in a role."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a bundle, with the words for its resource that people read."""

    request: EngineRequest
    resource: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the engine is asked at once."""

    items: tuple[Item, ...]
    entities: tuple[Mapping[str, Json], ...]
    conflicts: tuple[str, ...] = ()
    """What makes it undecidable."""

    @property
    def requests(self) -> tuple[EngineRequest, ...]:
        """The engine's questions in order."""
        return tuple(item.request for item in self.items)


@dataclass(slots=True)
class Slice:
    """Entities of one bundle, collected while its items are made; each entity stands in it once."""

    principal: Principal
    now: datetime
    history: History
    lists: Lists = field(default_factory=Lists)
    ticket: str = ""
    approvals: frozenset[str] = frozenset()
    items: list[Item] = field(default_factory=list)
    entities: dict[Uid, Mapping[str, Json]] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    _common: Mapping[str, Json] | None = None
    _profiles: dict[str, Profile] = field(default_factory=dict)

    def bundle(self) -> Bundle:
        """All of it, finished."""
        self._principal()
        return Bundle(tuple(self.items), tuple(self.entities.values()), tuple(self.conflicts))

    def common(self) -> Mapping[str, Json]:
        """The part of the context that every action has; the same for the whole bundle, and made once."""
        if self._common is None:
            self._common = self._make_common()
        return self._common

    def _make_common(self) -> Mapping[str, Json]:
        history = self.history
        return {
            "now": {"__extn": {"fn": "datetime", "arg": self.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}},
            "authentication": self.principal.authentication,
            "approvals": sorted(self.approvals),
            "ticket": self.ticket[:_MAX_TICKET],
            "history": {
                "denied_10m": history.denied_10m,
                "failed_1h": history.failed_1h,
                "runs_1h": history.runs_1h,
                "runs_total": history.runs_total,
            },
        }

    def ask(self, action: str, resource: Uid, words: str, context: Mapping[str, Json]) -> None:
        """Add one question."""
        who = Uid(_TYPES[self.principal.kind], self.principal.id)
        self.items.append(Item(EngineRequest(who, action, resource, {"common": self.common(), **context}), words))

    def ask_for_both(self, action: str, resource: Uid, words: str, context: Mapping[str, Json]) -> None:
        """Add a question about something outside the jail: for an agent or service its owner has to be allowed it too.

        Without that an agent would be a way to what its owner may not reach. One without an owner is asked for as an unknown human.
        """
        self.ask(action, resource, words, context)
        who = self.principal
        if who.kind is not PrincipalKind.HUMAN:
            owner = self._owner(who)
            request = EngineRequest(owner, action, resource, {"common": self.common(), **context})
            self.items.append(Item(request, f"{words} (for the owner {who.owner or 'that is missing'})"))

    def profile(self, profile: Profile) -> Uid:
        """The profile as an entity."""
        uid = Uid("Profile", profile.name)
        if self._profiles.setdefault(profile.name, profile) is profile and uid in self.entities:
            return uid
        return self._add(
            uid,
            {
                "network": profile.network,
                "shell": profile.shell,
                "strict": profile.strict,
                "demo": profile.demo,
                "live_output": profile.live_output,
                "caps": _numbers(profile.caps),
            },
        )

    def requirement(self, name: str, version: str, profile: Profile) -> None:
        """Ask for a package by name."""
        canonical = str(canonicalize_name(name))
        uid = self._add(
            Uid("Requirement", f"{canonical}=={version}"),
            {"name": canonical, "version": version},
            [Uid("PackageList", list_) for list_ in self.lists.package_lists(name)],
        )
        self.ask("install", uid, f"{canonical}=={version}", {"profile": self.profile(profile).reference()})

    def package(self, package: PackageFacts, dependencies: DependencyFacts, profile: Profile) -> None:
        """Ask for a pin with what was found about it."""
        name = str(canonicalize_name(package.name))
        facts: dict[str, Json] = {name: getattr(package, name) for name in _PACKAGE_FACTS}
        facts |= {"name": name, "covered": dependencies.covered, "data_class": dependencies.data_class}
        # absent where unknown, so that a rule has to say `has` and cannot take unknown for no
        if package.yanked is not None:
            facts["yanked"] = package.yanked
        if package.age_days is not None:
            facts["age_days"] = package.age_days
        words = f"{name}=={package.version}"
        uid = self._add(
            Uid("Package", words), facts, [Uid("PackageList", list_) for list_ in self.lists.package_lists(name)]
        )
        self.ask("install", uid, words, {"profile": self.profile(profile).reference()})

    def host(self, request: HostRequest, profile: Profile) -> None:
        """Ask for a host."""
        host = Host.of(request.name, request.port)
        facts: dict[str, Json] = {"name": host.name, "port": host.port, "well_formed": host.well_formed}
        if host.address:
            facts["address"] = {"__extn": {"fn": "ip", "arg": host.address}}
        words = f"{host.name}:{host.port}"
        uid = self._add(Uid("Host", words), facts, [Uid("HostList", list_) for list_ in self.lists.host_lists(host)])
        self.ask_for_both("connect", uid, words, {"profile": self.profile(profile).reference()})

    def mount(self, request: MountRequest, profile: Profile) -> None:
        """Ask for a path."""
        facts: dict[str, Json] = {
            "path": request.path,
            "well_formed": is_plain_path(request.path) and _is_target(request.target),
        }
        parents = [
            self._add(Uid("DataSet", data_set.name), {"classification": data_set.classification})
            for data_set in self.lists.data_sets_of(request.path)
        ]
        uid = self._add(Uid("Path", request.path), facts, parents)
        action = "mountRead" if request.access is Access.READ else "mountWrite"
        self.ask_for_both(action, uid, request.path, {"profile": self.profile(profile).reference()})

    def subject(self, subject: RunSubject) -> Uid:
        """A run as what an action is about."""
        return self._add(Uid("Run", subject.run), {"requester": subject.requester, "accountable": subject.accountable})

    def single(self, kind: str) -> Uid:
        """The one ledger, policy set and so on."""
        return self._add(Uid(kind, "custody"), {})

    def _principal(self) -> None:
        who = self.principal
        human = who.kind is PrincipalKind.HUMAN
        # INVARIANT: roles and teams of a principal that the directory does not list count for nothing
        roles, teams = (who.roles, who.teams) if who.known else ((), ())
        facts: dict[str, Json] = {
            "name": who.id,
            "known": who.known,
            "enabled": who.enabled,
            "accountable": who.id if human else who.owner or "",
            "owner_enabled": human or (who.owner is not None and who.owner_enabled),
            "roles": sorted(roles),
        }
        self._add(
            Uid(_TYPES[who.kind], who.id),
            facts,
            [*(Uid("Role", role) for role in roles), *(Uid("Team", team) for team in teams)],
        )

    def _owner(self, who: Principal) -> Uid:
        """The accountable human of an agent or service, with what the directory says of that human."""
        owner, known = who.owner or "", who.known and who.owner is not None
        roles, teams = (who.owner_roles, who.owner_teams) if known and who.owner_enabled else ((), ())
        facts: dict[str, Json] = {
            "name": owner,
            "known": known,
            "enabled": who.owner_enabled,
            "accountable": owner,
            "owner_enabled": who.owner_enabled,
            "roles": sorted(roles),
        }
        parents = [*(Uid("Role", role) for role in roles), *(Uid("Team", team) for team in teams)]
        return self._add(Uid("Human", owner), facts, parents)

    def _add(self, uid: Uid, attributes: Mapping[str, Json], parents: Sequence[Uid] = ()) -> Uid:
        entity: Mapping[str, Json] = {
            "uid": uid.json(),
            "attrs": attributes,
            "parents": [parent.json() for parent in dict.fromkeys(parents)],
        }
        # INVARIANT: two things of one name and different facts are an error; keeping either would judge the other by its facts
        if self.entities.setdefault(uid, entity) != entity:
            self.conflicts.append(f"two different facts about {uid.type} `{uid.id}`")
        return uid


def context_of_action(action: str, *, role: str, layers: Collection[str]) -> dict[str, Json]:
    """What an action other than a run sees besides the common part."""
    if action in ANSWERS:
        return {"role": role}
    return {"layers": sorted(layers)} if action == CHANGE_POLICY else {}


def context_of_submit(request: RunRequest, code: CodeFacts, packages: int, spent: Budgets) -> dict[str, Json]:
    """What `submit` sees besides the common part."""
    size = (
        sum(len(file.content) for file in request.files)
        + len(request.requirements)
        + sum(len(text) for text in request.arguments)
    )
    return {
        "limits": _numbers(request.limits),
        "code": _code(code),
        "input": {
            "files": len(request.files),
            "bytes": size,
            "arguments": len(request.arguments),
            "packages": packages,
            "plain_texts": _is_line(request.purpose, _MAX_PURPOSE) and _is_line(request.ticket, _MAX_TICKET),
        },
        "spent": _spent(spent),
    }


def context_of_run(
    limits: Limits,
    code: CodeFacts,
    dependencies: DependencyFacts,
    *,
    exposure: Exposure,
    classes: "Classes",
    spent: Budgets,
) -> dict[str, Json]:
    """What `execute` sees besides the common part."""
    return {
        "limits": _numbers(limits),
        "code": _code(code),
        "dependencies": {
            "total": dependencies.total,
            "covered": dependencies.covered,
            "data_class": dependencies.data_class,
            "with_findings": len(exposure.packages_with_findings),
        },
        "exposure": {
            "hosts": len(exposure.hosts),
            "readable": sorted(classes.readable),
            "writable": sorted(classes.writable),
            "packages_with_findings": len(exposure.packages_with_findings),
            "new": len(exposure.new),
        },
        "spent": _spent(spent),
    }


@dataclass(frozen=True, slots=True)
class Classes:
    """Classifications of the data that a grant opens."""

    readable: frozenset[str] = frozenset()
    writable: frozenset[str] = frozenset()


def _numbers(value: Limits | Usage) -> dict[str, Json]:
    """A record of whole numbers; `dataclasses.asdict` copies deeply, which costs more than deciding."""
    return {name: getattr(value, name) for name in value.__slots__}


def _spent(budgets: Budgets) -> dict[str, Json]:
    return {
        name: {window: _numbers(getattr(spent, window)) for window in ("hour", "day", "month")}
        for name, spent in (("principal", budgets.principal), ("owner", budgets.owner), ("team", budgets.team))
    }


def _code(code: CodeFacts) -> dict[str, Json]:
    return {
        "language": code.language,
        "bytes": code.bytes,
        "parsed": code.parsed,
        "imports": list(code.imports),
        "flags": list(code.flags),
        "hosts": list(code.hosts),
        "paths": list(code.paths),
        "secrets": list(code.secrets),
    }


def _is_line(text: str, limit: int) -> bool:
    """Whether it is one bounded line without control, direction or hidden characters: people read it, in terminals and reports."""
    return len(text) <= limit and text.isprintable()


def _is_target(target: str) -> bool:
    """Whether a mount's name stays below /mnt."""
    return (
        bool(target)
        and target.isprintable()
        and not target.startswith(("/", "."))
        and posixpath.normpath(target) == target
    )
