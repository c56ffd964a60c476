"""`custody init`: a home with keys, a ledger, a directory, a policy set in force and commented settings.

Everything is made beside the home and put in its place by one rename: there is never half a home, and never one that is made twice.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path

from .. import __version__
from ..errors import ConfigurationError, UsageError
from ..ledger import Draft, Ledger, events
from ..policies import Directory, Gate, PolicySet
from ..policies.types import Principal
from ..redaction import Redactor
from .candidates import examine, file_records
from .house import Places, now

__all__ = ["initialise"]

_CONFIGURATION = """\
# Settings of this custody home; docs/settings.md lists them all with their defaults.
# organisation = "Example Ltd"

# [ledger]
# pin_directory = "/a/place/that/another/person/controls"

# [dependencies]
# index_url = "the simple API of your package index"
"""


def initialise(
    home: Path,
    *,
    os_user: str,
    policies: Path | None = None,
    directory: str | None = None,
    configuration: str = "",
    secret_values: Sequence[str] = (),
    reading: Callable[[], AbstractContextManager[None]] = nullcontext,
    clock: Callable[[], datetime] = now,
) -> None:
    """Make a home.

    Args:
        home: where; must not exist, or be an empty directory.
        os_user: the OS user that becomes the first principal.
        policies: folder of the policy set to put in force; the shipped one by default.
        directory: text of directory.toml; one with that user by default.
        configuration: settings to write at the end of custody.toml.
        secret_values: this machine's secrets, none of which may stand in the policy set.
        reading: gives this process the rights of whoever named the folder, for as long as it is read.
        clock: gives the time of the first entries.

    Raises:
        UsageError: there is something at that place already.
        ConfigurationError: the home cannot be written.
        PolicyError: the policy set or the directory cannot be used.
    """
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise UsageError(f"`{home}` exists already", hint="use it, or set CUSTODY_HOME to another place")
    principals_text = directory or Directory.starter(os_user)
    with reading():
        given = PolicySet.from_folder(policies) if policies else None
    policy_set = given or PolicySet.shipped()
    gate = (
        _gate_over(policy_set, Directory.from_text(principals_text), Redactor(secret_values), clock())
        if policies
        else Gate(policy_set)
    )
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
    except OSError as error:
        raise ConfigurationError(
            f"`{home}` cannot be made: {error.strerror}", hint="set CUSTODY_HOME to a place that you may write"
        ) from error
    try:
        _fill(Places(beside), policy_set, gate, principals_text, os_user, configuration, clock())
        os.rename(beside, home)  # noqa: PTH104 - onto an empty directory, which Path.rename documents less clearly
    except OSError as error:
        raise ConfigurationError(
            f"`{home}` cannot be made: {error.strerror}", hint="check free space and permissions"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _gate_over(policies: PolicySet, directory: Directory, redactor: Redactor, time: datetime) -> Gate:
    """The gate over a set of somebody's own, which is held to what `custody policy apply` would hold it to."""
    found = examine(policies, directory=directory, redactor=redactor, now=time)
    if found.gate is None:
        raise found.rejection
    return found.gate


def _fill(
    places: Places, policy_set: PolicySet, gate: Gate, directory: str, os_user: str, configuration: str, time: datetime
) -> None:
    places.directory.write_text(directory, encoding="utf-8")
    places.configuration.write_text(_CONFIGURATION + configuration, encoding="utf-8")
    for path in (places.directory, places.configuration):
        path.chmod(0o600)  # whatever the umask: a home that others could write is refused
    principals = Directory.from_file(places.directory)
    policy_set.write_to(places.policies)
    for folder in (places.advisories, places.environments, places.reviews, places.jails, places.owners, places.scratch):
        folder.mkdir(parents=True, mode=0o700)
    author = principals.by_os_user(os_user, authentication="os-user")
    with Ledger.create(places.ledger, origin=f"custody.local/{secrets.token_hex(4)}") as ledger:
        _open_book(ledger, policy_set, gate, principals, author, time)


def _open_book(
    ledger: Ledger, policy_set: PolicySet, gate: Gate, principals: Directory, author: Principal, time: datetime
) -> None:
    """The first entries: the ledger, the policy set in force, and who is in the directory."""
    payload = ledger.seal(policy_set.to_bytes(), media="application/json")
    opened = events.LedgerOpened(
        origin=ledger.origin, verifier_key=ledger.verifier_key, schema="0001", release=__version__, by=author.id
    )
    changed = events.PolicyChanged(
        author=author.id,
        policy_sha256=policy_set.digest,
        schema_sha256=policy_set.schema_digest,
        previous_sha256=None,
        rules=gate.rules,
        profiles=tuple(sorted(gate.profiles)),
        policy_set=payload.ref,
        files=file_records(policy_set),
    )
    drafts = [
        Draft(id="ledger/opened", event=opened, actor=author.id, time=time),
        Draft(id=f"policy/{policy_set.digest}/1", event=changed, actor=author.id, time=time),
    ]
    drafts += [
        Draft(
            id=f"principal/{principal.id}/added",
            event=events.PrincipalAdded(
                principal=principal.id,
                principal_kind=principal.kind,
                owner=principal.owner,
                roles=principal.roles,
                teams=principal.teams,
                by=author.id,
            ),
            actor=author.id,
            time=time,
        )
        for principal in principals.principals.values()
    ]
    ledger.append(drafts, [payload])
