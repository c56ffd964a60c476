"""Building and keeping environments, by the real uv, from wheels that the tests make and serve themselves."""

import fcntl
import io
import os
import sys
import sysconfig
import tarfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from custody.dependencies import EnvironmentStore, parse_requirements
from custody.dependencies.installer import Installer, find_uv
from custody.dependencies.tree import digest_tree, remove_tree
from custody.dependencies.types import Environment, Lock
from custody.errors import DependencyError, Exit

Wheel = Callable[[str, str, Mapping[str, str]], bytes]
IndexOf = Callable[[Mapping[str, bytes]], str]
LockFor = Callable[[Mapping[str, bytes]], Lock]
Serve = Callable[[Callable[[str, bytes], tuple[int, Mapping[str, str], bytes]]], str]
_NAME = "small-1.0-py3-none-any.whl"


@pytest.fixture
def files(wheel: Wheel) -> dict[str, bytes]:
    return {
        _NAME: wheel("small", "1.0", {"small/__init__.py": "A = 1\n"}),
        "other-2.0-py3-none-any.whl": wheel("other", "2.0", {"other.py": "B = 2\n"}),
    }


class _Rejections(list[tuple[str, str]]):
    def __call__(self, key: str, reason: str) -> None:
        self.append((key, reason))


@pytest.fixture
def rejections() -> _Rejections:
    return _Rejections()


def _store(tmp_path: Path, index_url: str | None, environment: Mapping[str, str] | None = None) -> EnvironmentStore:
    return EnvironmentStore(
        tmp_path / "environments", uv=None, python=Path(sys.executable), index_url=index_url, environment=environment
    )


def test_an_environment_holds_exactly_the_packages_read_only(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    built = _store(tmp_path, index_of(files)).obtain(lock_for(files), on_reject=rejections)
    assert sorted(path.name for path in built.path.iterdir()) == [
        "other-2.0.dist-info",
        "other.py",
        "small",
        "small-1.0.dist-info",
    ]
    assert (built.path / "small" / "__init__.py").read_text() == "A = 1\n"
    assert {path.stat().st_mode & 0o222 for path in [built.path, *built.path.rglob("*")]} == {0}
    assert (built.built_in_jail, built.reused, rejections) == (False, False, [])
    assert built.tool.startswith("uv ")
    tree = digest_tree(built.path)
    assert (built.tree_sha256, built.files, built.bytes) == tuple(tree)
    assert list((tmp_path / "environments" / "building").iterdir()) == []


def test_the_same_lock_gives_the_same_environment_without_the_index(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    first = _store(tmp_path, index_of(files)).obtain(lock_for(files), on_reject=rejections)
    again = _store(tmp_path, "http://127.0.0.1:9/simple").obtain(lock_for(files), on_reject=rejections)
    assert (again.key, again.path, again.tree_sha256, again.reused) == (first.key, first.path, first.tree_sha256, True)


def test_a_relative_folder_is_taken_from_where_we_are(
    files: dict[str, bytes],
    index_of: IndexOf,
    lock_for: LockFor,
    tmp_path: Path,
    rejections: _Rejections,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    built = _store(Path(), index_of(files)).obtain(lock_for(files), on_reject=rejections)
    assert built.path.is_relative_to(tmp_path / "environments")


def test_two_builds_give_the_same_tree(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    index_url = index_of(files)
    trees = {
        _store(tmp_path / name, index_url).obtain(lock_for(files), on_reject=rejections).tree_sha256
        for name in ("one", "two")
    }
    assert len(trees) == 1


def test_a_poisoned_tree_is_found_told_and_built_anew(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    store = _store(tmp_path, index_of(files))
    first = store.obtain(lock_for(files), on_reject=rejections)
    poisoned = first.path / "small" / "__init__.py"
    poisoned.chmod(0o644)
    poisoned.write_text("A = 1\nimport evil\n")
    again = store.obtain(lock_for(files), on_reject=rejections)
    assert rejections == [(first.key, "its tree is not what was built: the digest is wrong")]
    assert (again.reused, again.tree_sha256) == (False, first.tree_sha256)
    assert poisoned.read_text() == "A = 1\n"


def test_an_added_link_or_a_lost_manifest_is_found_too(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    store = _store(tmp_path, index_of(files))
    first = store.obtain(lock_for(files), on_reject=rejections)
    first.path.chmod(0o755)
    (first.path / "link.py").symlink_to("/etc/hostname")
    second = store.obtain(lock_for(files), on_reject=rejections)
    (second.path.parent / "manifest.json").write_text("[]")
    third = store.obtain(lock_for(files), on_reject=rejections)
    (third.path.parent / "manifest.json").unlink()
    assert not store.obtain(lock_for(files), on_reject=rejections).reused
    assert [reason for _, reason in rejections] == [
        "link.py is not a plain file of its own",
        "its tree is not what was built: the digest is wrong",
        "its manifest cannot be read",
    ]


def test_nothing_is_built_when_the_rejection_cannot_be_told(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    store = _store(tmp_path, index_of(files))
    first = store.obtain(lock_for(files), on_reject=rejections)
    (first.path.parent / "manifest.json").unlink()

    def full(_key: str, _reason: str) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        store.obtain(lock_for(files), on_reject=full)
    assert not (first.path.parent / "manifest.json").exists()


@pytest.mark.parametrize(
    "member", ["evil.pth", "EVIL.PTH", "sitecustomize.py", "usercustomize/__init__.py", "small-1.0.data/purelib/x.pth"]
)
def test_startup_files_are_refused_by_name_and_never_run(
    member: str, wheel: Wheel, index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    marker = tmp_path / "marker"
    hostile = {_NAME: wheel("small", "1.0", {member: f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n"})}
    store = _store(tmp_path, index_of(hostile))
    with pytest.raises(DependencyError) as refused:
        store.obtain(lock_for(hostile), on_reject=rejections)
    assert "which runs by itself when an interpreter starts" in refused.value.message
    assert refused.value.exit_code is Exit.BLOCKED
    assert not marker.exists()
    assert not list((tmp_path / "environments").glob("built/*"))


def test_startup_files_that_were_granted_are_kept_apart_from_others(
    wheel: Wheel, index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    granted = {_NAME: wheel("small", "1.0", {"harmless.pth": "# nothing\n"})}
    store = _store(tmp_path, index_of(granted))
    built = store.obtain(lock_for(granted), on_reject=rejections, allow_startup_files=True)
    assert (built.path / "harmless.pth").exists()
    with pytest.raises(DependencyError):
        store.obtain(lock_for(granted), on_reject=rejections)


def test_a_wheel_with_another_hash_is_not_installed(
    files: dict[str, bytes], wheel: Wheel, index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    lock = lock_for(files)
    swapped = {**files, _NAME: wheel("small", "1.0", {"small/__init__.py": "import evil\n"})}
    with pytest.raises(DependencyError, match="could not be installed"):
        _store(tmp_path, index_of(swapped)).obtain(lock, on_reject=rejections)
    assert not list((tmp_path / "environments").glob("built/*"))
    assert list((tmp_path / "environments" / "building").iterdir()) == []


def test_a_source_distribution_is_never_built(
    index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    """With a marker that its setup script would leave."""
    marker = tmp_path / "marker"
    sources = {"small-1.0.tar.gz": _sdist(f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n")}
    lock = lock_for({_NAME: sources["small-1.0.tar.gz"]})
    with pytest.raises(DependencyError, match="could not be installed"):
        _store(tmp_path, index_of(sources)).obtain(lock, on_reject=rejections)
    assert not marker.exists()


def _sdist(setup: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in {"setup.py": setup, "PKG-INFO": "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n"}.items():
            info = tarfile.TarInfo(f"small-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def test_a_package_that_the_index_does_not_have_is_one_sentence(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    lock = lock_for(files)
    with pytest.raises(DependencyError) as refused:
        _store(tmp_path, index_of({_NAME: files[_NAME]})).obtain(lock, on_reject=rejections)
    assert refused.value.message.isprintable()
    assert "other" in refused.value.message


def test_a_password_in_the_index_address_is_not_shown(
    files: dict[str, bytes], serve: Serve, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    address = serve(lambda _path, _body: (403, {}, b"")).replace("//", "//joe:hunter22hunter@")
    with pytest.raises(DependencyError) as refused:
        _store(tmp_path, f"{address}/simple").obtain(lock_for(files), on_reject=rejections)
    assert "hunter22" not in refused.value.message


def test_builders_of_one_lock_at_once_build_once_and_never_see_half(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    index_url, lock = index_of(files), lock_for(files)
    start = threading.Barrier(4)

    def build(_number: int) -> Environment:
        start.wait(30)
        environment = _store(tmp_path, index_url).obtain(lock, on_reject=rejections)
        assert digest_tree(environment.path).sha256 == environment.tree_sha256
        return environment

    with ThreadPoolExecutor(4) as pool:
        environments = list(pool.map(build, range(4)))
    assert sorted(environment.reused for environment in environments) == [False, True, True, True]
    assert len({environment.path for environment in environments}) == 1
    assert rejections == []


def test_what_a_dead_builder_left_is_not_taken_for_an_environment(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    left = tmp_path / "environments" / "building" / "0123456789abcdef" / "environment" / "site-packages"
    left.mkdir(parents=True)
    built = _store(tmp_path, index_of(files)).obtain(lock_for(files), on_reject=rejections)
    assert not built.reused
    assert len(list((tmp_path / "environments" / "built").iterdir())) == 1
    assert not left.exists()


def test_a_builder_at_work_is_not_swept(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    at_work = tmp_path / "environments" / "building" / "0123456789abcdef"
    at_work.mkdir(parents=True)
    descriptor = os.open(at_work, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    _store(tmp_path, index_of(files)).obtain(lock_for(files), on_reject=rejections)
    assert at_work.exists()
    os.close(descriptor)


def test_pins_for_other_machines_are_left_out(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    text = lock_for(files).text.replace("other==2.0", "other==2.0 ; sys_platform == 'win32'")
    lock = parse_requirements(text.encode(), name="lock")
    built = _store(tmp_path, index_of({_NAME: files[_NAME]})).obtain(lock, on_reject=rejections)
    assert not (built.path / "other.py").exists()


def test_the_caller_s_configuration_does_not_reach_uv(
    files: dict[str, bytes],
    index_of: IndexOf,
    lock_for: LockFor,
    tmp_path: Path,
    rejections: _Rejections,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evil = "http://127.0.0.1:9/simple"
    for name in (
        "UV_INDEX",
        "UV_DEFAULT_INDEX",
        "UV_INDEX_URL",
        "UV_EXTRA_INDEX_URL",
        "PIP_INDEX_URL",
        "UV_FIND_LINKS",
    ):
        monkeypatch.setenv(name, evil)
    (tmp_path / "uv.toml").write_text(f'index-url = "{evil}"\n')
    monkeypatch.chdir(tmp_path)
    store = _store(tmp_path, index_of(files), {**os.environ, "UV_INDEX": evil, "LD_PRELOAD": "/nowhere.so"})
    assert store.obtain(lock_for(files), on_reject=rejections).files > 0


def test_an_empty_lock_needs_no_environment(lock_for: LockFor, tmp_path: Path, rejections: _Rejections) -> None:
    with pytest.raises(DependencyError, match="needs no environment"):
        _store(tmp_path, None).obtain(lock_for({}), on_reject=rejections)
    assert not (tmp_path / "environments").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(
    files: dict[str, bytes], index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    folder = tmp_path / "environments"
    store, lock = _store(tmp_path, index_of(files)), lock_for(files)
    for name in ("", "building", "locks", "built"):
        remove_tree(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("a file")
        with pytest.raises(DependencyError, match="the environments cannot be written"):
            store.obtain(lock, on_reject=rejections)


def test_a_tool_that_is_not_uv_is_refused(
    files: dict[str, bytes], lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    for tool, reason in (
        (Path("/bin/echo"), "is not uv"),
        (tmp_path / "absent", "cannot be started"),
        (Path("/bin/false"), "does not answer"),
    ):
        store = EnvironmentStore(tmp_path / "e", uv=tool, python=Path(sys.executable), index_url=None)
        with pytest.raises(DependencyError, match=reason):
            store.obtain(lock_for(files), on_reject=rejections)


def test_uv_is_found_beside_the_interpreter_and_not_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    installer = Installer(uv=None, python=Path(sys.executable), index_url=None, environment={})
    assert find_uv().name == "uv"
    assert installer.tool(tmp_path).startswith("uv ")


@pytest.mark.online
def test_the_default_index_serves_a_real_package(tmp_path: Path, rejections: _Rejections) -> None:
    text = b"""six==1.17.0 \\
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274 \\
    --hash=sha256:ff70335d468e7eb6ec65b95b99d3a2836546063f63acc5171de367e834932a81
"""
    built = _store(tmp_path, None, os.environ).obtain(parse_requirements(text, name="six"), on_reject=rejections)
    assert (built.path / "six.py").is_file()


@pytest.mark.parametrize(
    "member",
    [
        "../escaped.py",
        "small/../../escaped.py",
        "/tmp/custody-escaped.py",
        "small-1.0.data/headers/escaped.h",
        "small-1.0.data/headers/../../../../escaped.h",
        "small-1.0.data/data/escaped.txt",
        "small-1.0.data/data/../../escaped.txt",
        "small-1.0.data/scripts/escaped",
        "small-1.0.data/platlib/../../escaped.py",
    ],
)
def test_a_wheel_cannot_put_a_file_outside_of_the_environment(
    member: str, wheel: Wheel, index_of: IndexOf, lock_for: LockFor, tmp_path: Path, rejections: _Rejections
) -> None:
    hostile = {_NAME: wheel("small", "1.0", {member: "#!python\nescaped\n", "small/__init__.py": ""})}
    home = tmp_path / "environments"
    with suppress(DependencyError):
        built = _store(tmp_path, index_of(hostile)).obtain(lock_for(hostile), on_reject=rejections)
        home = built.path
    places = (tmp_path, Path(sysconfig.get_path("include")).parent, Path(sysconfig.get_path("scripts")))
    found = [path for place in places for path in place.rglob("escaped*")]
    assert [path for path in found if not path.is_relative_to(home)] == []
    assert not Path("/tmp/custody-escaped.py").exists()
