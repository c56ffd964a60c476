"""Verifying through the door: never "verified" without a pin from outside, and on record where that is possible."""

import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from custody.errors import ConfigurationError, CustodyError, EvidenceError, Exit, LedgerError, UsageError
from custody.flows import pins
from custody.flows.house import House, Places, now, open_house, open_ledger
from custody.flows.pins import keep_pin, read_pin
from custody.flows.verification import check_receipt, prove, verify, write_receipt
from custody.ledger import events
from custody.policies.types import HostRequest
from custody.settings import Settings, load_settings
from tests.conftest import MakeHome, OwnAuthority

from .conftest import go, named, request_of


@pytest.fixture
def settings(make_home: MakeHome) -> Settings:
    return make_home()


def test_without_a_pin_it_is_consistent_but_not_anchored(settings: Settings) -> None:
    assert verify(settings, actor="alice").exit_code == Exit.UNANCHORED


def test_with_a_pin_from_outside_it_is_verified_and_recorded(settings: Settings, tmp_path: Path) -> None:
    pin = tmp_path / "elsewhere" / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    verified = verify(settings, actor="alice", pins=[str(pin)])
    assert verified.exit_code == Exit.DONE
    assert verified.verification.anchored_to is not None
    with open_ledger(settings) as ledger:
        newest = next(ledger.entries(newest_first=True))
        assert newest.index == verified.recorded
        assert isinstance(newest.event, events.LedgerVerified)


def test_a_pin_inside_the_home_anchors_nothing_and_is_said_to(settings: Settings) -> None:
    pin = settings.home / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    verified = verify(settings, actor="alice", pins=[str(pin)])
    assert verified.exit_code == Exit.UNANCHORED
    assert any("inside the home" in remark for remark in verified.remarks)


def test_a_pin_that_is_kept_outside_is_recorded_and_asked_for(make_home: MakeHome, tmp_path: Path) -> None:
    settings = make_home("pinned", configuration=f'\n[ledger]\npin_directory = "{tmp_path / "pins"}"\n')
    with open_house(settings) as house:
        go(house, request_of(house, hosts=(HostRequest("a.example", 443),)))
    asked = [said for said in verify(settings, actor="alice").verification.not_checked if "it was not given" in said]
    assert len(asked) == 1
    with_pin = verify(settings, actor="alice", pins=[str(tmp_path / "pins" / "latest.note")])
    assert with_pin.exit_code == Exit.DONE
    assert not any("it was not given" in said for said in with_pin.verification.not_checked)
    written = verify(settings, actor="alice", write_pin_to=tmp_path / "more.note")
    assert any(f"the pin of {written.verification.size} entries" in said for said in _not_checked(settings))


def _not_checked(settings: Settings) -> tuple[str, ...]:
    return verify(settings, actor="alice").verification.not_checked


def test_a_pin_directory_inside_the_home_anchors_nothing_and_is_said(make_home: MakeHome, tmp_path: Path) -> None:
    (tmp_path / "way-in").symlink_to(tmp_path / "inner")
    settings = make_home("inner", configuration=f'\n[ledger]\npin_directory = "{tmp_path / "way-in" / "pins"}"\n')
    with open_house(settings) as house:
        denied = go(house, request_of(house, hosts=(HostRequest("a.example", 443),)))
    assert denied.notes[0] == "the pin directory lies inside the home, so its pins anchor nothing"
    assert (settings.home / "pins" / "latest.note").is_file()
    assert not any("it was not given" in said for said in _not_checked(settings))


def test_a_link_from_outside_into_the_home_is_inside(settings: Settings, tmp_path: Path) -> None:
    verify(settings, actor="alice", write_pin_to=settings.home / "pin.note")
    (tmp_path / "link.note").symlink_to(settings.home / "pin.note")
    assert not read_pin(str(tmp_path / "link.note"), settings.caller_files).outside


PIN_NAMES = [
    "home/pin.note",
    "home/../home/./pin.note",
    "home/state/../pin.note",
    "link.note",
    "link-to-the-home/pin.note",
    "link-to-link/pin.note",
    "home/repository/pin.note",
    "second-name.note",
]


@pytest.mark.parametrize("name", PIN_NAMES)
@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
def test_a_pin_inside_the_home_is_inside_by_any_name(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, *, relative: bool
) -> None:
    verify(settings, actor="alice", write_pin_to=settings.home / "pin.note")
    (tmp_path / "link.note").symlink_to(settings.home / "pin.note")
    (tmp_path / "link-to-the-home").symlink_to(settings.home)
    (tmp_path / "link-to-link").symlink_to("link-to-the-home")
    (tmp_path / "second-name.note").hardlink_to(settings.home / "pin.note")
    (settings.home / "repository").mkdir()
    git(settings.home / "repository", "init", "--quiet")
    shutil.copy(settings.home / "pin.note", settings.home / "repository")
    monkeypatch.chdir(tmp_path)
    verified = verify(settings, actor="alice", pins=[name if relative else f"{tmp_path}/{name}"])
    assert (verified.exit_code, verified.verification.consistent) == (Exit.UNANCHORED, True)
    assert any("lies inside the home, so it anchors nothing" in remark for remark in verified.remarks)


def test_a_file_with_two_names_of_which_none_is_in_the_home_is_outside(settings: Settings, tmp_path: Path) -> None:
    verify(settings, actor="alice", write_pin_to=tmp_path / "pin.note")
    (tmp_path / "second-name.note").hardlink_to(tmp_path / "pin.note")
    assert verify(settings, actor="alice", pins=[str(tmp_path / "second-name.note")]).exit_code == Exit.DONE


@pytest.mark.mounts
@pytest.mark.parametrize("folder", ["", "state"])
def test_a_part_of_the_home_that_is_mounted_elsewhere_is_inside(
    settings: Settings, tmp_path: Path, folder: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a folder at another place needs root: run the tests as root")
    place = tmp_path / "else where"
    place.mkdir()
    subprocess.run(["/usr/bin/mount", "--bind", settings.home / folder, place], check=True)
    try:
        written = verify(settings, actor="alice", write_pin_to=place / "pins" / "pin.note")
        assert (settings.home / folder / "pins" / "pin.note").is_file()
        assert any("the pin was written inside the home" in remark for remark in written.remarks)
        assert verify(settings, actor="alice", pins=[str(place / "pins" / "pin.note")]).exit_code == Exit.UNANCHORED
        behind = load_settings(place) if folder == "" else settings
        assert verify(behind, actor="alice", pins=[str(settings.home / folder / "pins" / "pin.note")]).exit_code == 9
    finally:
        subprocess.run(["/usr/bin/umount", place], check=True)


@pytest.mark.parametrize(
    "address", ["file:///{}", "FILE://{}", "file:{}", "ftp://example.org/{}", "data:,{}", "http[://{}"]
)
def test_only_a_path_or_a_web_address_is_a_pin(settings: Settings, tmp_path: Path, address: str) -> None:
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    with pytest.raises(UsageError, match="cannot be read"):
        verify(settings, actor="alice", pins=[address.format(pin)])


def test_a_rolled_back_ledger_is_found_by_the_pin_and_by_nothing_else(settings: Settings, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(settings.home, old)
    with open_house(settings) as house:
        keep_pin(house.ledger.checkpoint(), tmp_path / "pins")
    verify(settings, actor="alice")
    with open_ledger(settings) as ledger:
        keep_pin(ledger.checkpoint(), tmp_path / "pins")
    shutil.rmtree(settings.home)
    shutil.copytree(old, settings.home)
    assert verify(settings, actor="alice").exit_code == Exit.UNANCHORED
    shutil.rmtree(settings.home)
    shutil.copytree(old, settings.home)
    found = verify(settings, actor="alice", pins=[str(tmp_path / "pins" / "latest.note")])
    assert found.exit_code == Exit.TAMPERED
    assert {problem.code for problem in found.verification.problems} == {"truncated"}


def test_deleted_entries_are_found_even_without_a_pin(settings: Settings) -> None:
    connection = sqlite3.connect(Places(settings.home).ledger.database)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM entry WHERE idx >= 3")
    connection.commit()
    connection.close()
    assert verify(settings, actor="alice").exit_code == Exit.TAMPERED


def test_no_pin_is_written_of_a_ledger_that_does_not_verify_and_that_is_said(
    settings: Settings, tmp_path: Path
) -> None:
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    before = pin.read_text()
    with sqlite3.connect(Places(settings.home).ledger.database) as connection:
        connection.execute("UPDATE event_index SET actor = 'somebody' WHERE idx = 1")
    connection.close()
    verified = verify(settings, actor="alice", write_pin_to=pin)
    assert verified.exit_code == Exit.TAMPERED
    assert any(remark.startswith("no pin was written") for remark in verified.remarks)
    assert pin.read_text() == before


def test_a_home_behind_a_link_is_the_same_home(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(settings.home)
    behind = load_settings(tmp_path / "link")
    verify(behind, actor="alice", write_pin_to=settings.home / "pin.note")
    for name in (settings.home / "pin.note", tmp_path / "link" / "pin.note"):
        for home in (settings, behind):
            assert not read_pin(str(name), home.caller_files).outside
    verified = verify(behind, actor="alice", pins=[str(settings.home / "pin.note")])
    assert (verified.exit_code, verified.verification.consistent) == (Exit.UNANCHORED, True)


def test_on_a_copy_without_keys_it_works_with_a_key_from_elsewhere_and_says_that_it_did_not_record(
    settings: Settings, tmp_path: Path
) -> None:
    key = tmp_path / "verifier.key"
    shutil.copy(Places(settings.home).verifier_key, key)
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    copy = tmp_path / "copy"
    shutil.copytree(settings.home, copy)
    shutil.rmtree(copy / "keys")
    verified = verify(load_settings(copy), actor="auditor", pins=[str(pin)], key=key)
    assert verified.exit_code == Exit.DONE
    assert verified.recorded is None
    assert any("not recorded" in remark for remark in verified.remarks)


def test_a_missing_key_or_pin_is_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="verifier key"):
        verify(settings, actor="alice", key=tmp_path / "none.key")
    with pytest.raises(UsageError, match="cannot be read"):
        verify(settings, actor="alice", pins=[str(tmp_path / "none.note")])


def test_a_pin_that_is_no_note_is_no_anchor(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "junk.note").write_text("not a note\n")
    with pytest.raises(UsageError):
        verify(settings, actor="alice", pins=[str(tmp_path / "junk.note")])


def test_a_pin_is_kept_outside_after_each_run_where_a_place_is_set(make_home: MakeHome, tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    settings = make_home("pinned", configuration=f'\n[ledger]\npin_directory = "{pins}"\n')
    with open_house(settings) as house:
        denied = go(house, request_of(house, hosts=(HostRequest("a.example", 443),)))
        assert denied.notes == ()
    assert verify(settings, actor="alice", pins=[str(pins / "latest.note")]).exit_code == Exit.DONE


def test_who_controls_the_place_of_pins_does_not_lead_their_writer_to_another_file(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Custody may run as root, and the place is somebody else's on purpose."""
    victim, folder = tmp_path / "victim", tmp_path / "pins"
    victim.write_text("precious")
    folder.mkdir()
    monkeypatch.setattr(secrets, "token_hex", lambda *_: "foreseen")
    with open_ledger(settings) as ledger:
        checkpoint = ledger.checkpoint()
    for name in ("latest.note", f"checkpoint-{checkpoint.size:012d}.note"):
        for beside in (name, f".{name}.{os.getpid()}", f".{name}.foreseen"):
            (folder / beside).symlink_to(victim)
    with pytest.raises(LedgerError, match="cannot be written: File exists"):
        keep_pin(checkpoint, folder)
    monkeypatch.undo()
    kept = keep_pin(checkpoint, folder)
    assert kept.path.read_text() == (folder / "latest.note").read_text() == checkpoint.note
    assert victim.read_text() == "precious"


def test_a_pin_that_cannot_be_kept_is_said_and_costs_no_result(make_home: MakeHome, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    settings = make_home("pinned", configuration=f'\n[ledger]\npin_directory = "{tmp_path / "taken"}"\n')
    with open_house(settings) as house:
        denied = go(house, request_of(house, hosts=(HostRequest("a.example", 443),)))
    assert denied.end == "denied"
    assert "no pin was kept" in denied.notes[0]


# ---------------------------------------------------------------- pins from an address, several, in a git repository


@contextmanager
def serving(content: bytes, status: int = 200) -> Iterator[str]:
    """An address that answers with the content."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/latest.note"
        finally:
            server.shutdown()
            thread.join()


def test_a_pin_is_fetched_from_an_address(settings: Settings, tmp_path: Path) -> None:
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    with serving(pin.read_bytes()) as address:
        assert verify(settings, actor="alice", pins=[address]).exit_code == Exit.DONE
    for content, status in ((b"not a note", 200), (b"x" * 1_000_000, 200), (pin.read_bytes(), 404), (b"", 302)):
        with serving(content, status) as address, pytest.raises(UsageError):
            verify(settings, actor="alice", pins=[address])
    with pytest.raises(UsageError, match="cannot be fetched"):
        verify(settings, actor="alice", pins=[address])


def test_the_certificate_authority_that_pip_was_told_of_serves_pins_too(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_authority: OwnAuthority
) -> None:
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("PIP_CERT", str(own_authority.certificate))
    with own_authority.serving(pin.read_bytes(), "text/plain") as address:
        assert verify(settings, actor="alice", pins=[address]).exit_code == Exit.DONE
        for other in (os.devnull, str(tmp_path / "none.pem")):
            monkeypatch.setenv("PIP_CERT", other)
            with pytest.raises(UsageError, match="cannot be fetched"):
                verify(settings, actor="alice", pins=[address])


def test_what_is_secret_in_an_address_is_neither_shown_nor_recorded(
    settings: Settings, make_home: MakeHome, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.note"
    verify(make_home("other"), actor="alice", write_pin_to=foreign)
    with serving(foreign.read_bytes()) as address:
        secret = address.replace("://", "://reader:s3cret-word@") + "?token=s3cret-word"
        verified = verify(settings, actor="alice", pins=[secret])
        assert verified.exit_code == Exit.TAMPERED
        assert f"{address} cannot be used" in verified.verification.problems[0].message
    with pytest.raises(UsageError) as caught:
        verify(settings, actor="alice", pins=[secret])
    assert "s3cret" not in caught.value.message
    with open_ledger(settings) as ledger:
        assert not [entry for entry in ledger.entries() if b"s3cret" in entry.leaf]


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """An address behind which somebody writes to the socket as he likes, until the other side hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _peer = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/latest.note"
    finally:
        thread.join()
        listener.close()


def drip(connection: socket.socket, before: bytes) -> None:
    """A byte now and then, for ever: each wait is short, and all of them together have no end."""
    connection.sendall(before)
    connection.settimeout(0.02)
    while True:
        connection.sendall(b"x")
        with suppress(TimeoutError):
            if connection.recv(1) == b"":
                return


def hold_back(connection: socket.socket) -> None:
    connection.recv(1)


def flood(connection: socket.socket, before: bytes, again: bytes) -> None:
    """As fast as it goes, for as long as somebody listens."""
    connection.sendall(before)
    while True:
        connection.sendall(again)


@pytest.mark.parametrize(
    "answer",
    [
        lambda connection: drip(connection, b"HTTP/1.1 200 OK\r\n\r\n"),
        lambda connection: drip(connection, b"HTTP/1.1 200 OK\r\nX-Slow: "),
        hold_back,
        lambda connection: flood(connection, b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 65536),
        lambda connection: flood(connection, b"HTTP/1.1 200 OK\r\n", b"X-Many: x\r\n" * 1000),
        lambda connection: flood(connection, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
        lambda connection: flood(connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 4096),
    ],
    ids=["body", "headers", "nothing", "one header", "many headers", "early hints", "length of a chunk"],
)
def test_an_address_that_answers_without_end_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: Callable[[socket.socket], None]
) -> None:
    monkeypatch.setattr(pins, "_FETCH_SECONDS", 0.3)
    with answering(answer) as address, pytest.raises(UsageError, match="cannot be fetched"):
        read_pin(address, settings.caller_files)


def test_no_more_is_read_from_an_address_than_a_pin_may_have(settings: Settings) -> None:
    sent = []

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\na note\n\n\xe2\x80\x94 ")
        for _ in range(1000):
            connection.sendall(bytes(1 << 20))
            sent.append(1)

    with answering(pour) as address:
        assert len(read_pin(address, settings.caller_files).note) <= 64 * 1024
    assert len(sent) < 1000


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"\x00\xff not HTTP at all\r\n\r\n",
    ],
    ids=["redirect", "redirect to a file", "page", "packed", "cut", "noise"],
)
def test_what_is_no_note_is_refused_from_an_address_too(settings: Settings, head: bytes) -> None:
    with answering(lambda connection: connection.sendall(head)) as address, pytest.raises(UsageError):
        read_pin(address, settings.caller_files)


def test_of_several_pins_the_newest_anchors_and_one_that_differs_is_found(
    settings: Settings, make_home: MakeHome, tmp_path: Path
) -> None:
    first, second, foreign = (tmp_path / name for name in ("first.note", "second.note", "foreign.note"))
    verify(settings, actor="alice", write_pin_to=first)
    verify(settings, actor="alice", write_pin_to=second)
    verify(make_home("other"), actor="alice", write_pin_to=foreign)
    both = verify(settings, actor="alice", pins=[str(second), str(first)])
    alone = verify(settings, actor="alice", pins=[str(second)])
    assert both.verification.anchored_to == alone.verification.anchored_to
    assert both.exit_code == Exit.DONE
    mixed = verify(settings, actor="alice", pins=[str(first), str(foreign)])
    assert mixed.exit_code == Exit.TAMPERED
    assert [problem.code for problem in mixed.verification.problems] == ["pin-unusable"]


def test_from_the_pin_on_only_what_follows_is_read_and_that_is_said(settings: Settings, tmp_path: Path) -> None:
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    verified = verify(settings, actor="alice", pins=[str(pin)], from_pin=True)
    assert verified.exit_code == Exit.DONE
    assert any("were not read again" in sentence for sentence in verified.verification.not_checked)
    whole = verify(settings, actor="alice", from_pin=True)
    assert whole.exit_code == Exit.UNANCHORED
    assert any("everything was read" in sentence for sentence in whole.verification.checks)


def git(folder: Path, *arguments: str) -> str:
    command = ["/usr/bin/git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_in_a_git_repository_every_pin_is_a_commit(settings: Settings, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet")
    hook = repository / ".git" / "hooks" / "post-commit"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'hook-ran'}\n")
    hook.chmod(0o700)
    (repository / "somebody-elses-work").write_text("not to be committed")
    git(repository, "add", "somebody-elses-work")
    folder = repository / "pins"
    for _ in range(2):
        with open_ledger(settings) as ledger:
            checkpoint = ledger.checkpoint()
        kept = keep_pin(checkpoint, folder)
        assert kept.remark == ""
        assert keep_pin(checkpoint, folder).remark == ""
        assert git(repository, "show", f"HEAD:pins/{kept.path.name}") == checkpoint.note
        verify(settings, actor="alice")
    assert git(repository, "rev-list", "--count", "HEAD").strip() == "2"
    assert "somebody-elses-work" in git(repository, "diff", "--cached", "--name-only")
    assert not (tmp_path / "hook-ran").exists()


def test_a_commit_that_fails_is_said_and_the_pin_is_kept(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "pins" / ".git").mkdir(parents=True)
    with open_ledger(settings) as ledger:
        kept = keep_pin(ledger.checkpoint(), tmp_path / "pins")
    assert kept.remark.startswith("the pin is not committed: ")
    assert verify(settings, actor="alice", pins=[str(kept.path)]).exit_code == Exit.DONE


def test_a_run_says_what_could_not_be_committed(make_home: MakeHome, tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    (pins / ".git").mkdir(parents=True)
    settings = make_home("pinned", configuration=f'\n[ledger]\npin_directory = "{pins}"\n')
    with open_house(settings) as house:
        denied = go(house, request_of(house, hosts=(HostRequest("a.example", 443),)))
    assert denied.notes[0].startswith("the pin is not committed")
    assert (pins / "latest.note").is_file()


# ---------------------------------------------------------------- break-glass


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own; only root can make one."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root: run the tests as root to see the disk full")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["/usr/bin/umount", place], check=True)


def moved(settings: Settings, place: Path) -> Settings:
    """The same home on the small file system."""
    shutil.copytree(settings.home, place / "home")
    return load_settings(place / "home")


def fill(place: Path) -> None:
    """Leave not one byte."""
    with (place / "ballast").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


@pytest.mark.mounts
def test_with_a_full_disk_it_checks_and_says_that_it_did_not_record(
    settings: Settings, mounted: Path, tmp_path: Path
) -> None:
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    full = moved(settings, mounted)
    fill(mounted)
    verified = verify(full, actor="alice", pins=[str(pin)])
    assert verified.exit_code == Exit.DONE
    assert verified.recorded is None
    assert any("the verdict was not recorded" in remark for remark in verified.remarks)


@pytest.mark.mounts
def test_on_a_read_only_medium_it_checks_and_says_that_it_did_not_record(
    settings: Settings, mounted: Path, tmp_path: Path
) -> None:
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    copy = moved(settings, mounted)
    subprocess.run(["/usr/bin/mount", "-o", "remount,ro", mounted], check=True)
    verified = verify(copy, actor="alice", pins=[str(pin)])
    assert verified.exit_code == Exit.DONE
    assert verified.recorded is None


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.write_bytes(bytes(1 << 20))])
def test_a_copy_with_something_else_in_the_place_of_its_key_asks_for_one(
    settings: Settings, make: Callable[[Path], None]
) -> None:
    key = Places(settings.home).verifier_key
    kept = key.read_text()
    key.unlink()
    make(key)
    with pytest.raises(ConfigurationError, match=r"verifier key .* cannot be read") as caught:
        verify(settings, actor="alice")
    assert "give --key FILE" in caught.value.hint
    elsewhere = settings.home.parent / "verifier.key"
    elsewhere.write_text(kept)
    assert verify(settings, actor="alice", key=elsewhere).exit_code == Exit.UNANCHORED


def test_nothing_is_written_into_a_ledger_with_a_trigger_of_somebodys_own(settings: Settings) -> None:
    """A trigger in a copy from anybody would run, and need never end."""
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    with sqlite3.connect(Places(settings.home).ledger.database) as connection:
        connection.execute(f"CREATE TRIGGER mine BEFORE INSERT ON entry BEGIN {endless}; END")
    connection.close()
    verified = verify(settings, actor="alice")
    assert verified.exit_code == Exit.TAMPERED
    assert [problem.code for problem in verified.verification.problems] == ["schema-changed"]
    assert verified.recorded is None
    assert "holds `'mine'`, which is not of this release" in verified.remarks[-1]


# ---------------------------------------------------------------- one entry


def receipt(tmp_path: Path, proof: str) -> Path:
    path = tmp_path / "receipt.tlog-proof"
    path.write_text(proof, encoding="utf-8")
    return path


def test_the_end_of_a_run_is_proved_to_somebody_with_the_key_alone(house: House, tmp_path: Path) -> None:
    run = go(house, request_of(house, hosts=(HostRequest("a.example", 443),))).run
    done = prove(house, named(house, "alice"), run)
    assert (done.entry.kind, done.entry.run) == ("run:finished", run)
    key = tmp_path / "verifier.key"
    shutil.copy(house.places.verifier_key, key)
    proved = check_receipt(receipt(tmp_path, done.proof), key=key, files=house.settings.caller_files)
    assert (proved.index, proved.leaf) == (done.entry.index, done.entry.leaf)
    newest = house.ledger.entry_at(done.recorded)
    assert isinstance(newest.event, events.LedgerExported)
    assert (newest.event.first, newest.event.last) == (done.entry.index, done.entry.index)


def test_a_receipt_is_the_same_proof_in_a_new_file(house: House, tmp_path: Path) -> None:
    done, path = go(house, request_of(house, hosts=(HostRequest("a.example", 443),))), tmp_path / "receipt.tlog-proof"
    assert write_receipt(house, named(house, "alice"), done.entry, path) == ""
    proved = check_receipt(path, key=house.places.verifier_key, files=house.settings.caller_files)
    assert (proved.index, proved.leaf) == (done.entry, house.ledger.entry_at(done.entry).leaf)


def test_a_receipt_that_cannot_be_written_is_said_and_nothing_is_overwritten(house: House, tmp_path: Path) -> None:
    done, path = go(house, request_of(house, hosts=(HostRequest("a.example", 443),))), tmp_path / "mine"
    path.write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")
    for place, reason in {
        path: "exists already",
        tmp_path / "dangling": "exists already",
        path / "x": "cannot be written: not a directory",
    }.items():
        said = write_receipt(house, named(house, "alice"), done.entry, place)
        assert said == f"no receipt was written: `{place}` {reason}"
    assert path.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()
    said = write_receipt(house, named(house, "scout"), done.entry, tmp_path / "not-mine")
    assert said.startswith("no receipt was written: ")
    assert not (tmp_path / "not-mine").exists()


def test_entries_are_named_by_number_or_event_and_what_is_not_there_is_said(house: House) -> None:
    alice = named(house, "alice")
    assert prove(house, alice, "0").entry.id == prove(house, alice, "ledger/opened").entry.id
    for nothing in ("999999", "9" * 400, "run-none", "²", "-1", ""):
        with pytest.raises(UsageError, match="there is no"):
            prove(house, alice, nothing)


def test_a_proof_is_for_who_may_read_the_entry(house: House) -> None:
    run = go(house, request_of(house, who="carol", hosts=(HostRequest("a.example", 443),))).run
    assert prove(house, named(house, "carol"), run).entry.run == run
    for principal, what in (("scout", run), ("carol", "0")):
        with pytest.raises(CustodyError) as caught:
            prove(house, named(house, principal), what)
        assert caught.value.exit_code == Exit.DENIED
        newest = next(house.ledger.entries(newest_first=True))
        assert newest.kind == "access:denied"


def test_a_changed_proof_and_what_is_no_proof_prove_nothing(house: House, tmp_path: Path) -> None:
    proof = prove(house, named(house, "alice"), "1").proof
    with pytest.raises(EvidenceError):
        check_receipt(
            receipt(tmp_path, proof.replace("index 1", "index 0")),
            key=house.places.verifier_key,
            files=house.settings.caller_files,
        )
    with pytest.raises(EvidenceError):
        check_receipt(
            receipt(tmp_path, proof.replace("extra e", "extra f")),
            key=house.places.verifier_key,
            files=house.settings.caller_files,
        )
    (tmp_path / "noise").write_bytes(os.urandom(1000))
    for path in (tmp_path / "noise", tmp_path / "none", tmp_path):
        with pytest.raises(UsageError):
            check_receipt(path, key=house.places.verifier_key, files=house.settings.caller_files)


# ---------------------------------------------------------------- a clock that was wrong


def test_a_home_whose_clock_was_far_ahead_goes_on_and_verify_says_so(settings: Settings, tmp_path: Path) -> None:
    ahead = now() + timedelta(days=365 * 70)
    with open_house(settings, clock=lambda: ahead) as house:
        denied = go(house, request_of(house, hosts=(HostRequest("a.example", 443),)))
    with open_house(settings) as house:
        again = go(house, request_of(house, hosts=(HostRequest("a.example", 443),)))
        said = next(house.ledger.entries(kinds=("ledger:clock_set_back",)))
        assert house.ledger.count(kinds=("ledger:clock_set_back",)) == 1
    assert (denied.end, again.end) == ("denied", "denied")
    pin = tmp_path / "pin.note"
    verify(settings, actor="alice", write_pin_to=pin)
    verified = verify(settings, actor="alice", pins=[str(pin)])
    assert verified.exit_code == Exit.DONE
    sentence = f"when entries were written: the machine's clock was set back, as entry {said.index} says"
    assert sentence in verified.verification.not_checked
