"""What is typed becomes a request, or a usage error that says what was meant."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from custody.cli.request import Asked, make_request
from custody.errors import UsageError
from custody.flows.house import House
from custody.policies.types import Access, HostRequest, Limits, MountRequest, RunRequest

ASKED = Asked(
    program="hello.py",
    arguments=None,
    requirements=None,
    inputs=None,
    hosts=None,
    mounts=None,
    profile=None,
    limits=None,
    purpose="",
    ticket="",
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hello.py").write_text("print('hello')\n")


def _make(house: House, asked: Asked) -> RunRequest:
    return make_request(house, house.directory.by_os_user("alice"), asked)


def test_a_plain_request_has_the_defaults_of_its_profile(house: House) -> None:
    request = _make(house, ASKED)
    assert (request.file_name, request.code, request.language) == ("hello.py", b"print('hello')\n", "python")
    assert (request.profile, request.limits) == ("default", house.gate.profiles["default"].defaults)
    assert request.principal.id == "alice"


def test_what_is_typed_for_a_limit_replaces_that_one_only(house: House) -> None:
    request = _make(house, replace(ASKED, profile="strict", limits=["wall_seconds=5", "output_kib=1"]))
    assert request.limits == replace(house.gate.profiles["strict"].defaults, wall_seconds=5, output_kib=1)


def test_limits_of_an_unknown_profile_are_left_for_the_whole_request_to_refuse(house: House) -> None:
    assert _make(house, replace(ASKED, profile="nowhere")).limits == Limits()


@pytest.mark.parametrize(
    "text",
    ["wall_seconds", "wall_seconds=", "wall_seconds=-1", "wall_seconds=1.5", "wall_seconds=1e3", "wall_seconds=0x10"],
)
def test_a_limit_is_a_whole_number(house: House, text: str) -> None:
    with pytest.raises(UsageError, match="needs a whole number"):
        _make(house, replace(ASKED, limits=[text]))


@pytest.mark.parametrize("digits", [10, 25, 5000])
def test_a_limit_that_no_machine_has_is_refused(house: House, digits: int) -> None:
    with pytest.raises(UsageError, match="needs a whole number"):
        _make(house, replace(ASKED, limits=["wall_seconds=" + "9" * digits]))


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("api.example.org:443", "api.example.org", 443),
        ("API.Example.ORG:443", "api.example.org", 443),
        ("[2001:db8::1]:8443", "2001:db8::1", 8443),
        ("127.0.0.1:80", "127.0.0.1", 80),
    ],
)
def test_a_host_is_a_name_and_a_port(house: House, text: str, name: str, port: int) -> None:
    assert _make(house, replace(ASKED, hosts=[text])).hosts == (HostRequest(name, port),)


@pytest.mark.parametrize(
    "text", ["example.com", ":443", "example.com:", "example.com:https", "example.com:" + "9" * 5000]
)
def test_what_is_no_host_and_port_is_refused(house: House, text: str) -> None:
    with pytest.raises(UsageError, match="is not a host and port"):
        _make(house, replace(ASKED, hosts=[text]))


def test_a_mount_is_judged_by_its_real_path(house: House, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    mounts = _make(house, replace(ASKED, mounts=["link", "data:read", "data:write"])).mounts
    real = str((tmp_path / "data").resolve())
    assert mounts == (
        MountRequest(real, Access.READ, "link"),
        MountRequest(real, Access.READ, "data"),
        MountRequest(real, Access.WRITE, "data"),
    )


def test_another_way_to_mount_is_refused(house: House) -> None:
    with pytest.raises(UsageError, match="`exec` is not a way to mount"):
        _make(house, replace(ASKED, mounts=["/srv:exec"]))


def test_the_suffix_says_the_language(house: House, tmp_path: Path) -> None:
    for name, language in (("a.sh", "bash"), ("a.js", "node"), ("a.txt", "python"), ("a", "python")):
        (tmp_path / name).write_text("1\n")
        assert _make(house, replace(ASKED, program=name)).language == language


def test_the_program_can_come_from_standard_input(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"print(1)\n")))
    request = _make(house, replace(ASKED, program="-"))
    assert (request.file_name, request.code) == ("stdin.py", b"print(1)\n")


def test_input_files_come_by_name_and_content(house: House, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "data.csv").write_bytes(b"a,b\n")
    (file,) = _make(house, replace(ASKED, inputs=[Path("below/data.csv")])).files
    assert (file.name, file.content) == ("data.csv", b"a,b\n")


def test_a_mistake_in_requirements_is_named_by_file_and_line(house: House, tmp_path: Path) -> None:
    (tmp_path / "loose.in").write_text("# comment\nrequests>=2\n")
    with pytest.raises(UsageError, match=r"^`loose.in`, line 2: not pinned"):
        _make(house, replace(ASKED, requirements=Path("loose.in")))
