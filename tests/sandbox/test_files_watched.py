"""Granted mounts: what is opened in them is told by the kernel, what changed by a list before and after."""

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import LayerError
from custody.policies.types import Access, Grant, MountRequest
from custody.sandbox import JailSettings, Job, Outcome, Sandbox
from custody.sandbox.manifest import changes, take_manifest

MakeGrant = Callable[..., Grant]
MakeJob = Callable[..., Job]
is_root = os.geteuid() == 0
as_root = pytest.mark.skipif(not is_root, reason="marks on file systems need CAP_SYS_ADMIN: run as root")
SOMEBODY = 54321


def granting(grant: Grant, path: Path, access: Access) -> Grant:
    return replace(grant, mounts=(MountRequest(path=str(path), access=access, target="data"),))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "inner").mkdir(parents=True)
    (folder / "kept").write_text("kept")
    (folder / "changed").write_text("before")
    (folder / "gone").write_text("gone")
    (folder / "inner" / "read").write_text("read")
    if is_root:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, SOMEBODY, SOMEBODY)
    return folder


@as_root
@pytest.mark.jail
def test_the_kernel_tells_what_was_opened_also_by_native_code(
    sandbox: Sandbox, tree: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    native = "import ctypes\nprint(ctypes.CDLL(None).open(b'/mnt/data/inner/read', 0) > 2)"
    outcome = sandbox.run(job_of(native), granting(grant_of(), tree, Access.READ))
    assert outcome.stdout.content == b"True\n"
    assert [(f.path, f.action, f.source, f.program_controlled) for f in outcome.files] == [
        ("/mnt/data/inner/read", "opened", "fanotify", False)
    ]
    assert "file_watch" in outcome.layers


@as_root
@pytest.mark.jail
def test_what_others_open_in_the_same_tree_meanwhile_is_not_told(
    sandbox: Sandbox, tree: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            (tree / "kept").read_bytes()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        outcome = sandbox.run(job_of("open('/mnt/data/changed').close()"), granting(grant_of(), tree, Access.READ))
    finally:
        stop.set()
        thread.join()
    assert [file.path for file in outcome.files] == ["/mnt/data/changed"]


@pytest.mark.jail
def test_changes_in_a_writable_mount_are_told_with_digests_and_belong_to_the_owner(
    sandbox: Sandbox, tree: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    code = (
        "import os\nos.chdir('/mnt/data')\n"
        "open('changed', 'w').write('after'); os.remove('gone'); open('inner/new', 'w').write('N'); os.symlink('/etc', 'way-out')"
    )
    outcome = sandbox.run(job_of(code), granting(grant_of(), tree, Access.WRITE))
    assert outcome.exit_code == 0, outcome.stderr.content
    told = {(f.path, f.action): f.sha256 for f in outcome.files if f.source == "manifest"}
    assert told == {
        ("/mnt/data/changed", "changed"): hashlib.sha256(b"after").hexdigest(),
        ("/mnt/data/gone", "deleted"): "",
        ("/mnt/data/inner/new", "created"): hashlib.sha256(b"N").hexdigest(),
        ("/mnt/data/way-out", "created"): hashlib.sha256(b"/etc").hexdigest(),
    }
    assert not any("writable mounts" in sentence for sentence in outcome.unobserved)
    assert (tree / "inner" / "new").stat().st_uid == (SOMEBODY if is_root else os.getuid())


@pytest.mark.jail
def test_a_writable_mount_brings_no_set_uid_file_and_nothing_of_root(
    sandbox: Sandbox, tree: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    code = (
        "import os\n"
        "for make in (lambda: os.open('/mnt/data/s', os.O_CREAT | os.O_WRONLY, 0o4755), lambda: os.mknod('/mnt/data/t', 0o106755)):\n"
        "    try: make(); print('made')\n"
        "    except PermissionError: print('refused')\n"
    )
    outcome = sandbox.run(job_of(code), granting(grant_of(), tree, Access.WRITE))
    assert outcome.stdout.content == b"refused\nrefused\n"
    if is_root:
        os.chown(tree, 0, 0)
        tree.chmod(0o755)
        outcome = sandbox.run(job_of("open('/mnt/data/x', 'w')"), granting(grant_of(), tree, Access.WRITE))
        assert b"Permission denied" in outcome.stderr.content


def test_an_unprivileged_runner_says_that_openings_are_not_observed_and_refuses_a_profile_that_demands_it(
    unprivileged: Callable[[Sequence[tuple[Job, Grant]]], list[Outcome]],
    tree: Path,
    grant_of: MakeGrant,
    job_of: MakeJob,
) -> None:
    for path in (tree, *tree.parents[:3]):
        path.chmod(0o755)
    outcome = unprivileged([(job_of("print(open('/mnt/data/kept').read())"), granting(grant_of(), tree, Access.READ))])[
        0
    ]
    assert outcome.stdout.content == b"kept\n"
    assert any("openings of files in granted mounts are not observed" in said for said in outcome.unobserved)
    assert "file_watch" not in outcome.layers


@as_root
@pytest.mark.jail
def test_a_watch_that_cannot_be_had_for_this_run_is_a_refusal(
    tmp_path: Path, tree: Path, grant_of: MakeGrant, job_of: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = Sandbox(JailSettings(state=tmp_path / "state"))
    demanding = replace(granting(grant_of(), tree, Access.READ), layers=("file_watch",))
    assert sandbox.run(job_of("pass"), demanding).exit_code == 0

    def none(_: object) -> str:
        return "the file system cannot be watched"

    monkeypatch.setattr("custody.sandbox.sources.open_files", none)
    with pytest.raises(LayerError, match="file_watch"):
        sandbox.run(job_of("pass"), demanding)


def test_a_manifest_follows_no_link_and_says_when_it_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret").write_text("x")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    assert list(take_manifest(tmp_path / "in").entries) == ["link"]
    assert not take_manifest(tmp_path / "in" / "absent").complete
    monkeypatch.setattr("custody.sandbox.manifest._ENTRIES", 1)
    before = take_manifest(tmp_path / "in")
    (tmp_path / "in" / "another").touch()
    after = take_manifest(tmp_path / "in", before)
    assert (before.complete, after.complete) == (True, False)
    # `link` fell out of the list, not out of the tree
    assert [(file.path, file.action) for file in changes("t", before, after)] == [("/mnt/t/another", "created")]


def test_a_file_that_was_only_written_again_has_not_changed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same")
    before = take_manifest(tmp_path)
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_text("same")
    assert changes("t", before, take_manifest(tmp_path, before)) == []
    (tmp_path / "a").chmod(0o777)
    assert [f.action for f in changes("t", before, take_manifest(tmp_path, before))] == ["changed"]


def test_a_mount_of_one_file_is_listed_as_itself(tmp_path: Path) -> None:
    file = tmp_path / "one"
    file.write_text("1")
    before = take_manifest(file)
    file.write_text("2")
    found = changes("one", before, take_manifest(file, before))
    assert [(f.path, f.action, f.sha256) for f in found] == [("/mnt/one", "changed", hashlib.sha256(b"2").hexdigest())]


@as_root
@pytest.mark.jail
def test_what_is_opened_in_the_last_moment_is_told_though_the_jail_is_gone_when_it_is_read(
    sandbox: Sandbox, tree: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    for number in range(400):
        (tree / f"f{number}").write_text("x")
    code = (
        "import ctypes, os\nc = ctypes.CDLL(None)\n"
        "for number in range(400): c.close(c.open(b'/mnt/data/f%d' % number, 0))\n"
        "c.open(b'/mnt/data/inner/read', 0)\nos._exit(0)"
    )
    outcome = sandbox.run(job_of(code), granting(grant_of(), tree, Access.READ))
    assert {f.path for f in outcome.files} == {
        "/mnt/data/inner/read",
        *(f"/mnt/data/f{number}" for number in range(400)),
    }
    alone = replace(grant_of(), mounts=(MountRequest(path=str(tree / "kept"), access=Access.READ, target="one"),))
    code = "import ctypes, os\nc = ctypes.CDLL(None)\nfor _ in range(400): c.open(b'/mnt/one', 0)\nos._exit(0)"
    assert [f.path for f in sandbox.run(job_of(code), alone).files] == ["/mnt/one"]


@as_root
@pytest.mark.jail
def test_a_file_is_told_by_the_name_that_it_had_before_too(
    sandbox: Sandbox, tree: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    code = (
        "import ctypes, os\nos.chdir('/mnt/data')\nos.rename('inner/read', 'harmless')\n"
        "ctypes.CDLL(None).open(b'harmless', 0)\nos.rename('harmless', 'inner/read')\n"
    )
    outcome = sandbox.run(job_of(code), granting(grant_of(), tree, Access.WRITE))
    assert outcome.exit_code == 0, outcome.stderr.content
    opened = {f.path for f in outcome.files if f.action == "opened"}
    assert "/mnt/data/inner/read" in opened
    code = "import os\nos.chdir('/mnt/data')\nos.remove('gone'); open('new', 'w').close(); open('new').close()"
    outcome = sandbox.run(job_of(code), granting(grant_of(), tree, Access.WRITE))
    assert {f.path for f in outcome.files if f.action == "opened"} == {"/mnt/data/new"}


@as_root
@pytest.mark.jail
def test_one_file_has_one_name_whoever_tells_of_it(
    sandbox: Sandbox, tree: Path, grant_of: MakeGrant, job_of: MakeJob
) -> None:
    code = "open(b'/mnt/data/\\xff \\xc3\\xa9 \\x1b', 'w').close(); open('/mnt/data/\\udcff \\xe9 \\x1b').close()"
    outcome = sandbox.run(job_of(code), granting(grant_of(), tree, Access.WRITE))
    assert outcome.exit_code == 0, outcome.stderr.content
    assert {(f.path, f.source) for f in outcome.files} == {
        (r"/mnt/data/\xff é \x1b", "fanotify"),
        (r"/mnt/data/\xff é \x1b", "manifest"),
    }
