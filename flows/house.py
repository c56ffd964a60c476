"""Everything that a flow needs, opened once: settings, ledger, the policy set in force, directory and clock.

It must never create anything: `custody init` does (flows/setup.py).
"""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ConfigurationError, LedgerError, PolicyError, UsageError
from ..ledger import Ledger, LedgerFiles, events
from ..policies import Directory, Gate, PolicySet
from ..redaction import Redactor
from ..settings import Settings
from .belongings import require_ours

__all__ = [
    "House",
    "Places",
    "caller_policies",
    "new_id",
    "now",
    "open_house",
    "open_ledger",
    "policies_by_digest",
    "policies_in_force",
    "stored_policies",
]


def now() -> datetime:
    """The time, aware, UTC."""
    return datetime.now(UTC)


def new_id(prefix: str, time: datetime) -> str:
    """A fresh id that sorts by time and reads well: `run-20261123T101500-9f2c41d07a`."""
    return f"{prefix}-{time:%Y%m%dT%H%M%S}-{secrets.token_hex(5)}"


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie in one home."""

    home: Path

    @property
    def configuration(self) -> Path:
        """Settings of this home."""
        return self.home / "custody.toml"

    @property
    def directory(self) -> Path:
        """The principals."""
        return self.home / "directory.toml"

    @property
    def policies(self) -> Path:
        """The working copy of the policy folder; what is in force lies in the ledger."""
        return self.home / "policies"

    @property
    def ledger(self) -> LedgerFiles:
        """Database, and the keys beside it."""
        return LedgerFiles(self.home / "ledger" / "ledger.sqlite", self.home / "keys")

    @property
    def verifier_key(self) -> Path:
        """The public key to hand to auditors."""
        return self.home / "keys" / "verifier.key"

    @property
    def advisories(self) -> Path:
        """Advisory indexes."""
        return self.home / "advisories"

    @property
    def environments(self) -> Path:
        """Built environments."""
        return self.home / "environments"

    @property
    def reviews(self) -> Path:
        """Rendered reviews."""
        return self.home / "reviews"

    @property
    def jails(self) -> Path:
        """What the sandbox keeps while it runs."""
        return self.home / "state" / "jails"

    @property
    def owners(self) -> Path:
        """One lock file per run that a process is working on."""
        return self.home / "state" / "owners"

    @property
    def scratch(self) -> Path:
        """Private working files of audits."""
        return self.home / "state" / "scratch"

    @property
    def prefect(self) -> Path:
        """Home of Prefect's own server, mode 0700."""
        return self.home / "prefect"


@dataclass(frozen=True, slots=True)
class House:
    """One home, opened."""

    settings: Settings
    ledger: Ledger
    policies: PolicySet
    gate: Gate
    directory: Directory
    redactor: Redactor
    clock: Callable[[], datetime]

    @property
    def places(self) -> Places:
        """Where things lie."""
        return Places(self.settings.home)


def open_ledger(settings: Settings, *, read_only: bool = False, clock: Callable[[], datetime] = now) -> Ledger:
    """The ledger of a home.

    Raises:
        ConfigurationError: there is no home, or it has no ledger or keys.
        LedgerError: it cannot be opened, or a newer release wrote it.
    """
    places = Places(settings.home)
    if not settings.home.is_dir():
        raise ConfigurationError(
            f"there is no custody home at `{settings.home}`", hint="run `custody init`, or set CUSTODY_HOME"
        )
    require_ours(places.home, (places.directory, places.configuration), places.ledger)
    if not read_only:
        _require_writable(places)
    return Ledger.open(
        places.ledger,
        redactor=Redactor(settings.secret_values),
        read_only=read_only,
        disk_reserve_mib=settings.ledger.disk_reserve_mib,
        wait_seconds=settings.ledger.wait_seconds,
        clock=clock,
    )


def _require_writable(places: Places) -> None:
    """Refuse a home that takes no entry before anything is shown: what goes through a door is put on record.

    Raises:
        LedgerError: it lies on a file system that is mounted read-only, or its mode forbids writing.
    """
    folder = places.ledger.database.parent
    if not folder.is_dir():
        return  # the ledger itself says so
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        reason = "read-only file system"
    elif not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        reason = "permission denied"
    else:
        return
    raise LedgerError(
        f"the home `{places.home}` cannot be written: {reason}, and nothing is shown or done without being recorded",
        hint="`custody verify` works on a home that is mounted read-only; for all else make it writable",
    )


@contextmanager
def open_house(settings: Settings, *, clock: Callable[[], datetime] = now) -> Iterator[House]:
    """A home with everything opened; closed again at the end.

    A policy set that does not fit this release closes its gate and not its doors: nothing runs, and another set can be applied.

    Raises:
        ConfigurationError: something that `custody init` makes is missing.
        PolicyError: no policy set is in force, or its bytes are not the ones that were put in force.
        LedgerError: the ledger cannot be opened.
    """
    ledger = open_ledger(settings, clock=clock)
    try:
        policies = policies_in_force(ledger)
        yield House(
            settings=settings,
            ledger=ledger,
            policies=policies,
            gate=Gate.in_force(policies),
            directory=Directory.from_file(Places(settings.home).directory),
            redactor=Redactor(settings.secret_values),
            clock=clock,
        )
    finally:
        ledger.close()


def caller_policies(settings: Settings, folder: Path) -> PolicySet:
    """The policy set of a folder that the caller named, read with the rights of the caller; the home's own folder is ours to read.

    Raises:
        UsageError: it cannot be read at all.
        PolicyError: it cannot be read as a policy set.
    """
    own = Places(settings.home).policies
    if os.path.realpath(folder) == os.path.realpath(own):
        return PolicySet.from_folder(own)
    try:
        with settings.caller_files.rights():
            return PolicySet.from_folder(folder)
    except OSError as error:
        raise UsageError(
            f"`{folder}` cannot be read: {(error.strerror or '').lower()}", hint="check the path and its permissions"
        ) from error
    except PolicyError as error:
        if settings.caller_files.holds(folder, ("*.cedar", "*/*.cedar")):
            raise
        raise PolicyError(f"`{folder}` holds no `.cedar` file: {error.message}", hint=error.hint) from error


def policies_in_force(ledger: Ledger) -> PolicySet:
    """The last policy set that was put in force, from its payload; files that were edited since change nothing.

    Raises:
        PolicyError: there is none, or its bytes are not the ones that were put in force.
    """
    changed = next((entry.event for entry in ledger.entries(kinds=("policy:changed",), newest_first=True)), None)
    if changed is None:
        raise PolicyError(
            "no policy set is in force, so nothing may run",
            hint="run `custody init` to put the default policies in force",
        )
    return stored_policies(ledger, changed)


def policies_by_digest(ledger: Ledger, sha256: str) -> PolicySet:
    """The policy set of that digest, which was in force at some time.

    Raises:
        PolicyError: there is none, or its bytes are not the ones that were put in force.
    """
    for entry in ledger.entries(kinds=("policy:changed",), newest_first=True):
        if getattr(entry.event, "policy_sha256", "") == sha256:
            return stored_policies(ledger, entry.event)
    raise PolicyError(
        f"no policy set with the digest `{sha256[:12]}` was ever in force here", hint="run `custody verify`"
    )


def stored_policies(ledger: Ledger, changed: events.Event | None) -> PolicySet:
    """The policy set of one `policy:changed`, checked against its digest.

    Raises:
        PolicyError: a newer release wrote the entry, or the stored bytes are not the ones that were put in force.
    """
    if not isinstance(changed, events.PolicyChanged | events.PolicyReplaced):
        raise PolicyError(
            "the policy set in force was put there by a newer release", hint="use that release, or a newer one"
        )
    policies = PolicySet.from_bytes(ledger.read_payload(changed.policy_set))
    if policies.digest != changed.policy_sha256:
        raise PolicyError(
            "the stored policy set is not the one that was put in force",
            hint="run `custody verify`: the ledger's payloads were changed",
        )
    return policies
