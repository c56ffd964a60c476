"""The digest of a tree: every change shows, and only plain files have one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.dependencies.tree import NotATreeError, digest_tree, remove_tree, seal_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "package" / "empty").mkdir(parents=True)
    (root / "package" / "__init__.py").write_text("A = 1\n")
    (root / "tool").write_text("#!/bin/sh\n")
    (root / "tool").chmod(0o755)
    return root


def test_a_digest_counts_and_depends_on_nothing_but_the_tree(root: Path, tmp_path: Path) -> None:
    tree = digest_tree(root)
    assert (tree.files, tree.bytes) == (2, 16)
    os.utime(root / "tool", (0, 0))
    root.rename(tmp_path / "moved")
    assert digest_tree(tmp_path / "moved") == tree


def _append(root: Path) -> None:
    with (root / "package" / "__init__.py").open("a") as file:
        file.write("B = 2\n")


_CHANGES: list[Callable[[Path], object]] = [
    _append,
    lambda root: (root / "package" / "new.py").write_text(""),
    lambda root: (root / "package" / "new").mkdir(),
    lambda root: (root / "package" / "empty").rmdir(),
    lambda root: (root / "tool").unlink(),
    lambda root: (root / "tool").rename(root / "tool2"),
    lambda root: (root / "tool").chmod(0o644),
    lambda root: (root / "package" / "__init__.py").write_text("A = 2\n"),
]


@pytest.mark.parametrize("change", _CHANGES)
def test_every_change_changes_the_digest(root: Path, change: Callable[[Path], object]) -> None:
    before = digest_tree(root)
    change(root)
    assert digest_tree(root).sha256 != before.sha256


_TRICKS: list[Callable[[Path], object]] = [
    lambda root: (root / "link").symlink_to("tool"),
    lambda root: (root / "link").symlink_to("/etc"),
    lambda root: (root / "hard").hardlink_to(root / "tool"),
    lambda root: os.mkfifo(root / "pipe"),
]


@pytest.mark.parametrize("trick", _TRICKS)
def test_what_is_no_plain_file_has_no_digest(root: Path, trick: Callable[[Path], object]) -> None:
    trick(root)
    with pytest.raises(NotATreeError):
        digest_tree(root)


def test_a_sealed_tree_is_read_only_unchanged_and_can_be_removed(root: Path) -> None:
    before = digest_tree(root)
    seal_tree(root)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")]}
    assert modes == {"tree": 0o555, "package": 0o555, "empty": 0o555, "__init__.py": 0o444, "tool": 0o555}
    assert digest_tree(root) == before
    remove_tree(root)
    assert not root.exists()


def test_removing_follows_no_links_and_takes_what_is_gone_for_done(root: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o750)
    (kept / "file").write_text("x")
    (root / "link").symlink_to(kept)
    remove_tree(root)
    remove_tree(root)
    assert (kept / "file").read_text() == "x"
    assert kept.stat().st_mode & 0o777 == 0o750
    (tmp_path / "link").symlink_to(kept)
    remove_tree(tmp_path / "link")
    assert kept.exists()
