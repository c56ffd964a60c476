"""Causes and cures are those that this machine shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from custody.sandbox import JailSettings, Layer, Sandbox
from custody.sandbox.binary import find_nsjail
from custody.sandbox.cures import cure_of_no_jail, cure_of_rights, is_nsjail

FULL, WITHOUT = "000001ffffffffff", "000001ffffdfffff"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root loses its rights here: run as root")


def process(folder: Path, uid_map: str, effective: str = FULL) -> Path:
    (folder / "uid_map").write_text(uid_map)
    (folder / "status").write_text(f"Name:\tpython\nCapEff:\t{effective}\n")
    return folder


def test_root_without_what_root_has_is_told_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = "         0          0 4294967295\n"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert cure_of_rights(process(tmp_path, everybody)) == ""
    assert "CAP_SYS_ADMIN" in cure_of_rights(process(tmp_path, everybody, WITHOUT))
    assert "user namespace only" in cure_of_rights(process(tmp_path, "         0      65534          1\n"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert cure_of_rights(process(tmp_path, everybody, "0000000000000000")) == ""


def layers_of(*command: str, settings: str = "") -> str:
    """What a machine's layers are called by a process that is started so."""
    code = (
        "import tempfile; from pathlib import Path; from custody.sandbox import JailSettings, Sandbox\n"
        f"with tempfile.TemporaryDirectory() as state: layers = Sandbox(JailSettings(state=Path(state){settings})).layers()\n"
        "print({layer.cure for layer in layers if layer.name == 'user_namespace'})"
    )
    done = subprocess.run([*command, sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return done.stdout


@as_root
@pytest.mark.jail
def test_doctor_says_so_of_root_in_a_user_namespace_and_of_root_that_may_not_mount() -> None:
    assert "user namespace only" in layers_of("unshare", "-Ur")
    assert "CAP_SYS_ADMIN" in layers_of("setpriv", "--bounding-set=-sys_admin")


def test_nsjail_is_told_from_other_programs() -> None:
    assert is_nsjail(find_nsjail(None).path)
    assert not is_nsjail(Path("/usr/bin/true"))
    assert not is_nsjail(Path("/nowhere"))
    assert cure_of_no_jail()


def layers(**settings: object) -> dict[str, Layer]:
    return {layer.name: layer for layer in Sandbox(JailSettings(**settings)).layers()}  # type: ignore[arg-type]  # tests pass the right ones


@pytest.mark.jail
def test_another_program_in_the_place_of_nsjail_is_the_cause(tmp_path: Path) -> None:
    found = layers(state=tmp_path, nsjail=Path("/usr/bin/true"))
    assert {layer.cause for layer in found.values()} == {"no jail can be run: `/usr/bin/true` is not nsjail"}
    assert all("`sandbox.nsjail`" in layer.cure for layer in found.values())


@pytest.mark.jail
def test_what_a_setting_switches_off_is_no_fault_of_the_machine(tmp_path: Path) -> None:
    found = layers(state=tmp_path, cgroups=False, watch_commands=False)
    off = {"command_watch": "sandbox.watch_commands"} | dict.fromkeys(
        ("cgroup_memory", "cgroup_pids", "cgroup_cpu"), "sandbox.cgroups"
    )
    for name, setting in off.items():
        assert (found[name].state, found[name].cause) == ("missing", f"the setting `{setting}` switches it off")
        assert setting in found[name].cure
