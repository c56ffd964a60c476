"""What lies in the output directory is hostile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from custody.redaction import Redactor
from custody.sandbox.artefacts import Caps, Collected, collect, shown

CAPS = Caps(files=4, size=1000)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def collected(path: Path, caps: Caps = CAPS, redactor: Redactor | None = None) -> Collected:
    with opened(path.parent) as descriptor:
        return collect(descriptor, path.name, caps, redactor)


def test_files_come_in_the_order_of_names_with_size_and_digest(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"B")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"A")
    found = collected(tmp_path)
    assert [(a.name, a.bytes, a.content) for a in found.artefacts] == [("a/x", 1, b"A"), ("b", 1, b"B")]
    assert found.artefacts[1].sha256 == "df7e70e5021544f4834bbee64a9e3789febc4be81470df629cad6ddb03320a5c"


def test_links_pipes_and_second_names_are_refused_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "one").write_bytes(b"")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    found = collected(tmp_path)
    assert found.artefacts == []
    assert {r.name: r.reason for r in found.refused} == {
        "link": "a symbolic link, not a regular file",
        "folder": "a symbolic link, not a regular file",
        "pipe": "a pipe, not a regular file",
        "one": "has 2 names",
        "two": "has 2 names",
    }


def test_a_directory_that_is_not_there_any_more_or_is_no_directory_is_refused_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    found = {name: collected(tmp_path / name) for name in ("link", "pipe", "file", "gone")}
    assert [c.artefacts for c in found.values()] == [[], [], [], []]
    assert [c.refused[0].reason for c in found.values()] == [
        "the directory was replaced by a symbolic link",
        "the directory was replaced by a pipe",
        "the directory was replaced by a file",
        "the directory was moved or removed",
    ]


def test_caps_on_size_count_and_depth_hold(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 1001)
    for number in range(6):
        (tmp_path / f"small{number}").write_bytes(b"x" * 10)
    (tmp_path / "/".join("d" * 10)).mkdir(parents=True)
    found = collected(tmp_path)
    assert [a.name for a in found.artefacts] == ["small0", "small1", "small2", "small3"]
    assert [r.reason.split(" ")[0] for r in found.refused] == ["1001", "deeper", "more", "more"]


def test_refusals_are_listed_up_to_a_number_and_counted_past_it(tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / f"{number}").symlink_to("x")
    found = collected(tmp_path)
    assert (len(found.refused), found.refused_total) == (100, 150)


def test_a_hostile_name_is_shown_in_printable_ascii() -> None:
    for name in ("\udcff", "a\nb", "\x1b[31m", "\u202eevil", "x" * 5000):
        assert shown(name).isascii()
        assert shown(name).isprintable()
        assert len(shown(name)) <= 200


def test_text_is_redacted_and_the_digest_is_of_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"key AKIAABCDEFGHIJKLMNOP")
    plain, redacted = collected(tmp_path).artefacts[0], collected(tmp_path, redactor=Redactor()).artefacts[0]
    assert redacted.content == b"key [redacted:aws_access_key]"
    assert (redacted.sha256, redacted.bytes, redacted.redactions) == (plain.sha256, plain.bytes, 1)


def test_names_that_redaction_makes_the_same_stay_apart_and_hide_no_file(tmp_path: Path) -> None:
    keys = [f"AKIAABCDEFGHIJKLMNO{letter}" for letter in "PQR"]
    (tmp_path / keys[0]).write_bytes(b"0")
    (tmp_path / keys[1]).mkdir()
    (tmp_path / keys[1] / "x").write_bytes(b"1")
    (tmp_path / keys[2]).write_bytes(b"2")
    found = collected(tmp_path, redactor=Redactor())
    assert [(a.name, a.content, a.redactions) for a in found.artefacts] == [
        ("[redacted:aws_access_key]", b"0", 1),
        ("2.[redacted:aws_access_key]/x", b"1", 1),
        ("3.[redacted:aws_access_key]", b"2", 1),
    ]


def test_a_hostile_name_is_redacted_before_it_is_cut() -> None:
    assert "AKIA" not in shown("x" * 190 + " AKIAABCDEFGHIJKLMNOP", Redactor())


def test_text_of_two_bytes_a_character_is_searched_wherever_it_is_cut_and_comes_out_as_it_was(tmp_path: Path) -> None:
    secret = "AKIAABCDEFGHIJKLMNOP"
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        text = f"{'a line of text, ' * 70_000}\n{secret} \U0001f600 \ud800".encode(encoding, "surrogatepass") + b"x"
        (tmp_path / "t").write_bytes(text)
        left = collected(tmp_path, Caps(files=4, size=10**7), Redactor()).artefacts[0]
        expected = text[:-1].decode(encoding, "surrogatepass").replace(secret, "[redacted:aws_access_key]")
        assert (left.content, left.redactions) == (expected.encode(encoding, "surrogatepass") + b"x", 1)


def test_what_is_no_text_comes_out_as_it_was_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\x7fELF\x02\x01\0\0://user:password@")
    found = collected(tmp_path, redactor=Redactor())
    assert (found.artefacts[0].content, found.unsearched) == (b"\x7fELF\x02\x01\0\0://user:password@", 1)
    assert collected(tmp_path).unsearched == 0
