"""What is found in a granted tree or in its place by the time of the mount, and is refused: sockets of the machine, links."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import SandboxError
from custody.policies.types import Access, Grant, MountRequest
from custody.sandbox import JailSettings, Job, Outcome, Sandbox
from custody.sandbox.build import build_payload
from custody.sandbox.doors import find_doors
from custody.sandbox.runtime import Runtime
from custody.sandbox.types import Language


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").write_bytes(b"x")
    return folder


def _listen(place: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    monkeypatch.chdir(place)  # the name of a socket is short
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("socket")
    sock.listen()
    return sock


def test_a_socket_is_found_however_deep(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_doors(tree).first is None
    with _listen(tree / "below", monkeypatch):
        assert find_doors(tree).first == tree / "below" / "socket"
        assert find_doors(tree / "below" / "socket").first == tree / "below" / "socket"


def test_links_are_not_followed(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with _listen(elsewhere, monkeypatch):
        (tree / "folder").symlink_to(elsewhere)
        (tree / "socket").symlink_to(elsewhere / "socket")
        found = find_doors(tree)
    assert (found.first, found.complete) == (None, True)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
@pytest.mark.parametrize("listens", [True, False])
def test_a_socket_is_a_door_as_long_as_somebody_holds_it_and_is_not_spoken_to(
    tree: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: socket.SocketKind,
    listens: bool,  # noqa: FBT001 - one column of a table
) -> None:
    folder = tree / ("d" * 120)
    folder.mkdir()
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX, kind) as held:
        held.bind("socket")
        held.setblocking(False)
        if listens and kind is not socket.SOCK_DGRAM:
            held.listen()
        assert find_doors(tree).first == folder / "socket"
        assert find_doors(folder / "socket").first == folder / "socket"
        with pytest.raises(BlockingIOError if listens or kind is socket.SOCK_DGRAM else OSError):
            _ = held.recv(1) if kind is socket.SOCK_DGRAM else held.accept()
    assert find_doors(tree).first is find_doors(folder / "socket").first is None


@pytest.mark.jail
def test_a_program_that_leaves_a_socket_closes_the_mount_to_no_later_run(
    sandbox: Sandbox, tree: Path, grant_of: Callable[..., Grant], job_of: Callable[..., Job]
) -> None:
    tree.chmod(0o777)
    grant = replace(grant_of(), mounts=(MountRequest(path=str(tree), access=Access.WRITE, target="tree"),))
    leaving = "import socket\nsocket.socket(socket.AF_UNIX).bind('/mnt/tree/s')"
    first = sandbox.run(job_of(leaving), grant)
    assert [(f.path, f.action) for f in first.files if f.source == "manifest"] == [("/mnt/tree/s", "created")]
    assert (tree / "s").is_socket()
    asking = "import socket\ntry: socket.socket(socket.AF_UNIX).connect('/mnt/tree/s')\nexcept ConnectionRefusedError: print('refused')"
    second = sandbox.run(job_of(asking), grant)
    assert (second.outcome, second.stdout.content) == ("succeeded", b"refused\n"), second.stderr.content


def test_a_tree_that_is_too_large_is_not_called_searched(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.sandbox.doors._MOST", 1)
    assert not find_doors(tree).complete


@pytest.mark.jail
def test_such_a_mount_is_refused_before_anything_starts(
    sandbox: Sandbox,
    tree: Path,
    grant_of: Callable[..., Grant],
    job_of: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grant = replace(grant_of(), mounts=(MountRequest(path=str(tree), access=Access.READ, target="tree"),))
    with _listen(tree, monkeypatch), pytest.raises(SandboxError, match="holds a socket of this machine"):
        sandbox.run(job_of("pass"), grant)
    (tree / "socket").unlink()
    monkeypatch.setattr("custody.sandbox.doors._MOST", 1)
    outcome: Outcome = sandbox.run(job_of("pass"), grant)
    assert outcome.outcome == "succeeded", outcome.explanation
    assert any(said.startswith("whether a granted mount holds sockets") for said in outcome.unobserved)


@pytest.mark.jail
@pytest.mark.skipif(
    os.geteuid() != 0, reason="without root nothing is opened with more rights than the jail's: run as root"
)
def test_a_folder_that_its_owner_replaced_by_a_link_after_it_was_judged_is_not_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grant_of: Callable[..., Grant], job_of: Callable[..., Job]
) -> None:
    secret, tree = tmp_path / "secret", tmp_path / "tree"
    for folder in (secret, tree):
        folder.mkdir()
    (secret / "file").write_text("a secret of root")
    before = len(list(Path("/proc/self/fd").iterdir()))

    def swap(job: Job, runtime: Runtime, language: Language) -> bytes:
        tree.rename(tmp_path / "moved")
        tree.symlink_to(secret)
        return build_payload(job, runtime, language)

    monkeypatch.setattr("custody.sandbox.jail.build_payload", swap)
    grant = replace(grant_of(), mounts=(MountRequest(path=str(tree), access=Access.READ, target="tree"),))
    with pytest.raises(SandboxError, match="leads elsewhere than when it was judged"):
        Sandbox(JailSettings(state=tmp_path / "state")).run(job_of("print(open('/mnt/tree/file').read())"), grant)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
