"""Why no jail can be run on this machine, and what to do: looked up where the machine says it, the nearest cause first.

It must never name a cause that it did not see.
"""

import os
import subprocess
from pathlib import Path

__all__ = ["cure_of_no_jail", "cure_of_rights", "is_nsjail"]

_CAP_SYS_ADMIN = 21
_ALL_USERS = "0 0 4294967295"
_HELP_SECONDS = 10
_OPTIONS = (b"--pass_fd", b"--seccomp_string", b"--rlimit_as")
_SWITCHES = (
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "allow nsjail in an AppArmor profile, or set kernel.apparmor_restrict_unprivileged_userns to 0",
    ),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "set kernel.unprivileged_userns_clone to 1"),
    ("/proc/sys/user/max_user_namespaces", "0", "set user.max_user_namespaces above 0"),
)


def cure_of_rights(process: Path = Path("/proc/self")) -> str:
    """What to do where this is root without what root has; empty where it has, or is not root."""
    if os.geteuid() != 0:
        return ""
    if " ".join(_read(process / "uid_map").split()) not in {_ALL_USERS, ""}:
        return (
            "this is root in a user namespace only, in which no run can have a uid of its own: "
            "run custody outside of it, as an ordinary user or as the machine's root"
        )
    status = dict(line.split(":\t", 1) for line in _read(process / "status").splitlines() if ":\t" in line)
    if not int(status.get("CapEff", "ffffffffffffffff"), 16) >> _CAP_SYS_ADMIN & 1:
        return "this is root without CAP_SYS_ADMIN: give it that capability, or run custody as an ordinary user"
    return ""


def cure_of_no_jail() -> str:
    """The usual reasons why nsjail cannot make its namespaces, in the order in which they are looked up."""
    if cure := cure_of_rights():
        return cure
    # the switches are for those who are not root
    for path, bad, cure in _SWITCHES if os.geteuid() != 0 else _SWITCHES[-1:]:
        if _read(Path(path)).strip() == bad:
            return cure
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "in a container: allow user namespaces and an unmasked /proc, or run it privileged"
    return "read the cause: it is nsjail's own"


def is_nsjail(binary: Path) -> bool:
    """Whether a program answers as nsjail does when it is asked for its options."""
    try:
        answer = subprocess.run(
            [str(binary), "--help"],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_HELP_SECONDS,
            env={},
            cwd="/",
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    return all(option in answer for option in _OPTIONS)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
