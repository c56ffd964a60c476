"""Who is calling is asked of the kernel: what an ordinary user says about sudo counts for nothing."""

import os
import pwd

import pytest

from custody import identity
from custody.identity import Caller, calling_user

ROOT = os.geteuid() == 0


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


@pytest.mark.parametrize("said", [None, 0, 1, 4242, 2**32 - 1])
def test_an_ordinary_user_is_himself_whatever_he_says_of_sudo(
    said: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(identity, "_login_uid", lambda: 1)
    assert calling_user(said) == Caller(name_of(65534), "os-user")


def test_root_is_who_called_sudo_else_who_logged_in_else_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(identity, "_login_uid", lambda: 1)
    assert calling_user(65534) == Caller(name_of(65534), "sudo-user")
    assert calling_user(None) == Caller(name_of(1), "login-user")
    assert calling_user(0) == Caller(name_of(1), "login-user"), "root that called sudo logged in as somebody"
    monkeypatch.setattr(identity, "_login_uid", lambda: None)
    assert calling_user(None) == Caller("root", "os-user")


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else: run the tests as root")
def test_a_process_that_really_is_an_ordinary_user_gains_nothing_by_what_it_says() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        os.environ.update(SUDO_UID="0", SUDO_USER="root", USER="root", LOGNAME="root")
        said = calling_user(int(os.environ["SUDO_UID"]) or 1)
        os.write(writer, " ".join(said).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as told:  # noqa: PTH123 - a descriptor, not a path
        assert told.read().split() == [name_of(65534), "os-user"]
    os.waitpid(child, 0)
