"""What is read from a folder, what is refused, and that a set survives storage unchanged."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import PolicyError
from custody.policies import PolicySet
from custody.policies.policy_set import layer_of


def folder_with(root: Path, **files: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "a.cedar").write_text("// rules\n")
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def test_only_policy_files_are_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "p", profiles__toml="x", README__md="no", schema__cedarschema="s", notes__yaml="no")
    (folder / "tests").mkdir()
    (folder / "tests" / "a.yaml").write_text("rules: {}")
    (folder / "tests" / "a.cedar").write_text("no")
    (folder / "project").mkdir()
    (folder / "project" / "b.cedar").write_text("// more\n")
    (folder / ".hidden.cedar").write_text("no")
    names = list(PolicySet.from_folder(folder).files)
    assert names == ["a.cedar", "profiles.toml", "project/b.cedar", "schema.cedarschema", "tests/a.yaml"]


def test_a_link_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "p")
    (folder / "b.cedar").symlink_to(folder / "a.cedar")
    with pytest.raises(PolicyError, match=r"cannot read `b\.cedar`"):
        PolicySet.from_folder(folder)


@pytest.mark.parametrize(("old", "new"), [("\n", "\r\n"), ("\n", "")])
def test_a_change_of_line_ends_shows_as_a_change(old: str, new: str) -> None:
    before = PolicySet({"a.cedar": "// one\n", "b.cedar": "// two\n"})
    after = PolicySet({"a.cedar": "// one\n".replace(old, new), "b.cedar": "// two\n"})
    assert after.changes_since(before) == "--- a/a.cedar\n+++ b/a.cedar\n@@ only line ends differ @@"
    assert after.changes_since(after) == ""


def test_a_linked_folder_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    """Whoever linked it counts on the rules in it."""
    folder = folder_with(tmp_path / "p")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.cedar").write_text("// outside")
    (folder / "more").symlink_to(outside)
    with pytest.raises(PolicyError, match="`more` is a link to a folder"):
        PolicySet.from_folder(folder)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "p")
    os.mkfifo(folder / "b.toml")
    with pytest.raises(PolicyError, match="not a plain file"):
        PolicySet.from_folder(folder)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "p", b__cedar="/" * (256 * 1024 + 1))
    with pytest.raises(PolicyError, match=r"`b\.cedar` is larger than 256 KiB"):
        PolicySet.from_folder(folder)


def test_many_files_are_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "p")
    for number in range(501):
        (folder / f"r{number}.cedar").write_text("")
    with pytest.raises(PolicyError, match="larger than 500 files"):
        PolicySet.from_folder(folder)


def test_deep_folders_are_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "p")
    (folder / "a" / "b" / "c" / "d" / "e").mkdir(parents=True)
    with pytest.raises(PolicyError, match="lies deeper than 4 folders"):
        PolicySet.from_folder(folder)


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "p")
    (folder / "b.cedar").write_bytes(b"// \xff")
    with pytest.raises(PolicyError, match=r"`b\.cedar` is not UTF-8"):
        PolicySet.from_folder(folder)


def test_no_folder_or_no_rules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("absent", "file", "empty"):
        with pytest.raises(PolicyError):
            PolicySet.from_folder(tmp_path / name)


def test_storage_gives_the_same_set(shipped: PolicySet) -> None:
    again = PolicySet.from_bytes(shipped.to_bytes())
    assert again == shipped
    assert (again.digest, again.schema_digest) == (shipped.digest, shipped.schema_digest)
    assert again.to_bytes() == shipped.to_bytes()


@given(st.dictionaries(st.sampled_from(["a.toml", "b.cedar", "tests/c.yaml", "project/d.cedar"]), st.text(max_size=50)))
def test_storage_round_trips_any_text(files: dict[str, str]) -> None:
    one = PolicySet({"a.cedar": ""} | files)
    assert PolicySet.from_bytes(one.to_bytes()) == one


def test_any_change_changes_the_digest(shipped: PolicySet) -> None:
    for name, text in shipped.files.items():
        assert PolicySet(dict(shipped.files) | {name: text + " "}).digest != shipped.digest


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"a.cedar": 1}', b'{"a.toml": ""}', json.dumps("x").encode(), b"\xff"]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PolicyError):
        PolicySet.from_bytes(data)


@pytest.mark.parametrize(
    "name",
    [
        "../a.cedar",
        "/a.cedar",
        "a/../b.cedar",
        "./a.cedar",
        ".a.cedar",
        "a//b.cedar",
        "a\n.cedar",
        "\u0430.cedar",
        "a.py",
        "a.yaml",
        "x" * 200 + ".cedar",
    ],
)
def test_a_stored_set_cannot_name_files_elsewhere(name: str) -> None:
    with pytest.raises(PolicyError, match="no name of a policy file"):
        PolicySet.from_bytes(json.dumps({"a.cedar": "", name: ""}).encode())


def test_writing_a_set_and_reading_it_gives_the_same(shipped: PolicySet, tmp_path: Path) -> None:
    shipped.write_to(tmp_path / "copy")
    assert PolicySet.from_folder(tmp_path / "copy") == shipped


def test_writing_overwrites_nothing(shipped: PolicySet, tmp_path: Path) -> None:
    (tmp_path / "runs.cedar").write_text("mine")
    with pytest.raises(PolicyError, match="already there"):
        shipped.write_to(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.cedar"]
    assert (tmp_path / "runs.cedar").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("runs.cedar", "locked"),
        ("tests/runs.yaml", "locked"),
        ("net/hosts.cedar", "locked"),
        ("other/project/a.cedar", "locked"),
        ("project.cedar", "locked"),
        ("Project/a.cedar", "locked"),
        ("project/a.cedar", "project"),
        ("project/tests/a.yaml", "project"),
        ("project/red/a.cedar", "project/red"),
        ("project/red/tests/a.yaml", "project/red"),
        ("project/red/deep/a.cedar", "project/red"),
    ],
)
def test_each_file_has_one_layer(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_layers_that_change_are_those_of_files_that_are_new_other_or_gone(shipped: PolicySet) -> None:
    files = dict(shipped.files) | {"project/a.cedar": "// a\n", "project/red/a.cedar": "// a\n"}
    one = PolicySet(files)
    assert one.layers_changed_since(one) == frozenset()
    assert one.layers_changed_since(shipped) == {"project", "project/red"}
    del files["project/red/a.cedar"]
    files["tests/runs.yaml"] += "# more\n"
    assert PolicySet(files).layers_changed_since(one) == {"locked", "project/red"}


def test_changes_are_shown_as_a_diff(shipped: PolicySet) -> None:
    files = dict(shipped.files)
    files["code.cedar"] = files["code.cedar"].replace('@id("code-native")', '@id("code-foreign")')
    files["project/more.cedar"] = "// new\n"
    del files["mounts.cedar"]
    changed = PolicySet(files)
    diff = changed.changes_since(shipped).splitlines()
    assert '-@id("code-native")' in diff
    assert '+@id("code-foreign")' in diff
    assert "+// new" in diff
    assert '-@id("mount-shared-read")' in diff
    assert shipped.changes_since(shipped) == ""


def test_files_cannot_be_changed_behind_the_digest(shipped: PolicySet) -> None:
    with pytest.raises(TypeError):
        shipped.files["runs.cedar"] = ""  # type: ignore[index]  # that is the attack
