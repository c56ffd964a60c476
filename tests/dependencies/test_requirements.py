"""The strict subset of requirements.txt: what is taken, and that everything else is refused by file and line."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.dependencies import parse_requirements
from custody.errors import Exit, UsageError

_HASH = "--hash=sha256:" + "a1" * 32
_OTHER = "--hash=sha256:" + "b2" * 32


def test_pins_are_read_in_canonical_order_whatever_their_own() -> None:
    text = f"""
# a comment with an address is a comment
Zope.Interface==7.2 \\
    {_OTHER} \\
    {_HASH}
    # via something
attrs [Extra_One, b]== 25.1.0 ; python_version >= '3.8' {_HASH}  # why
"""
    lock = parse_requirements(text.encode(), name="in.txt")
    attrs, zope = lock.pins
    assert (attrs.name, attrs.version, attrs.extras, attrs.marker) == (
        "attrs",
        "25.1.0",
        ("b", "extra-one"),
        'python_version >= "3.8"',
    )
    assert (zope.name, zope.hashes) == ("zope-interface", ("sha256:" + "a1" * 32, "sha256:" + "b2" * 32))
    assert lock.source == "requirements.txt"
    assert lock.text == (
        f'attrs[b,extra-one]==25.1.0 ; python_version >= "3.8" \\\n    {_HASH}\n'
        f"zope-interface==7.2 \\\n    {_HASH} \\\n    {_OTHER}\n"
    )


def test_a_pin_is_kept_whatever_its_marker_says() -> None:
    lock = parse_requirements(f"pywin32==306 ; sys_platform == 'win32' {_HASH}".encode(), name="in.txt")
    assert [pin.name for pin in lock.pins] == ["pywin32"]


def test_carriage_returns_before_line_feeds_are_line_ends() -> None:
    assert parse_requirements(f"six==1.17.0 \\\r\n  {_HASH}\r\n".encode(), name="x").pins[0].version == "1.17.0"


@pytest.mark.parametrize("text", [b"", b"\n", b"  \n\t\n"])
def test_an_empty_text_is_the_empty_lock(text: bytes) -> None:
    lock = parse_requirements(text, name="in.txt")
    assert (lock.pins, lock.text, lock.source) == ((), "", "none")


def test_a_text_of_comments_only_is_refused() -> None:
    with pytest.raises(UsageError, match="no package is pinned here"):
        parse_requirements(b"# six==1.17.0\n", name="in.txt")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("-r other.txt", "option `-r` is not taken"),
        ("-c constraints.txt", "option `-c` is not taken"),
        ("-e .", "option `-e` is not taken"),
        ("--index-url https://evil.invalid/simple", "option `--index-url` is not taken"),
        ("--extra-index-url=http://evil.invalid", "option `--extra-index-url=http://evil.invalid` is not taken"),
        ("--find-links /tmp", "option `--find-links` is not taken"),
        (f"six==1.17.0 --global-option=x {_HASH}", "option `--global-option=x` is not taken"),
        (f"six==1.17.0 {_HASH} --config-settings=a=b", "option `--config-settings=a=b` is not taken"),
        (f"six==1.17.0 {_HASH} -r other.txt", "option `-r` is not taken"),
        (f"six==1.17.0 --hash sha256:{'a1' * 32}", "option `--hash` is not taken"),
        ("https://evil.invalid/six-1.17.0-py3-none-any.whl", "an address is not taken"),
        ("six @ https://evil.invalid/six.whl", "an address is not taken"),
        ("six@file:///tmp/six", "an address is not taken"),
        ("git+https://evil.invalid/six.git", "an address is not taken"),
        ("./six-1.17.0-py3-none-any.whl", "a path is not taken"),
        ("/srv/six", "a path is not taken"),
        ("six-1.17.0-py3-none-any.whl", "a path is not taken"),
        (f"six===1.17.0 {_HASH}", "arbitrary equality is not taken"),
        (f"six==1.* {_HASH}", "a wildcard is not taken"),
        (f"six {_HASH}", "not pinned to one exact version"),
        (f"six>=1.0 {_HASH}", "not pinned to one exact version"),
        (f"six==1.0,>=1 {_HASH}", "not pinned to one exact version"),
        (f"six==1.0,==1.0 {_HASH}", "not pinned to one exact version"),
        (f"\u0455ix==1.0 {_HASH}", "letters beyond ASCII are not taken"),
        (f"six==${{VERSION}} {_HASH}", "not a pinned requirement"),
        (f"six==one {_HASH}", "`one` is not a version"),
        (f"six=={'9' * 5000} {_HASH}", "not a"),
        (f"six==1..0 {_HASH}", "`1..0` is not a version"),
        ("six==1.17.0", "the pin has no hash"),
        (f"six==1.17.0 --hash=md5:{'a' * 32}", "only sha256 hashes are taken"),
        (f"six==1.17.0 --hash=sha512:{'a' * 128}", "only sha256 hashes are taken"),
        ("six==1.17.0 --hash=sha256:abc", "only sha256 hashes are taken"),
        (f"six==1.17.0 {_HASH}x", "is not taken"),
        (f"six==1.17.0 ; python_version ~ 3 {_HASH}", "is not an environment marker"),
        (f"""six==1.17.0 ; os_name == 'a" or os_name == "b' {_HASH}""", "is not an environment marker"),
        (f"six==1.17.0 ; {'(' * 500}os_name == 'a'{')' * 500} {_HASH}", "is not an environment marker"),
        (f"six[a b]==1.17.0 {_HASH}", "is not the name of an extra"),
        (f"six==1.17.0 {_HASH} # ends in a backslash \\", "a comment must not end in a backslash"),
        (f"six==1.17.0 {_HASH} \\", "nothing follows"),
        ("six==1.17.0 \\\n\n", "nothing follows"),
    ],
)
def test_everything_but_a_hashed_pin_is_refused_by_line(line: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_requirements(f"good==1.0 {_HASH}\n{line}".encode(), name="in.txt")
    assert re.match(r"`in\.txt`, line [23]: ", refused.value.message)
    assert reason in refused.value.message
    assert "--generate-hashes" in refused.value.hint
    assert refused.value.exit_code is Exit.USAGE


def test_one_package_under_two_spellings_is_refused() -> None:
    text = f"typing_extensions==4.1 {_HASH}\n\nTyping.Extensions==4.2 {_HASH}\n"
    with pytest.raises(UsageError, match=r"line 3: `typing-extensions` is pinned twice"):
        parse_requirements(text.encode(), name="in.txt")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xef\xbb\xbfsix==1", "line 1: a byte-order mark"),
        ("six==1".encode("utf-16"), "line 1: a byte-order mark"),
        (b"\nsix==1\x00", "line 2: a NUL byte"),
        (b"\n\nsix==1\r-r other.txt", "line 3: a lone carriage return"),
        (b"six==1\x0c-r other.txt", "line 1: control character 0x0c"),
        ("six==1\u2028-r other.txt".encode(), "line 1: control character 0x2028"),
        (b"\n\xff\xf0", "line 2: the text is not UTF-8"),
    ],
)
def test_bytes_that_readers_take_differently_are_refused(text: bytes, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        parse_requirements(text, name="in.txt")


def test_more_than_five_thousand_pins_are_refused() -> None:
    five_thousand = "".join(f"p{n}==1 {_HASH}\n" for n in range(5_000))
    assert len(parse_requirements(five_thousand.encode(), name="x").pins) == 5_000
    with pytest.raises(UsageError, match="line 5001: more than 5000 packages"):
        parse_requirements(f"{five_thousand}one-more==1 {_HASH}".encode(), name="x")


def test_a_large_text_is_refused_unread() -> None:
    with pytest.raises(UsageError, match="is larger than 4 MiB"):
        parse_requirements(b"#" * (4 * 1024 * 1024 + 1), name="x")


def test_hostile_text_in_a_message_is_short_and_printable() -> None:
    with pytest.raises(UsageError) as refused:
        parse_requirements(("\u202esix`" + "y" * 10_000).encode(), name="a\nb")
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 250


_PIECES = st.sampled_from(
    [
        *(
            "six",
            "Jinja2",
            "==",
            "===",
            "1.0",
            "1.0rc1",
            "*",
            "!",
            "+local",
            " ",
            "\t",
            "\n",
            "\r",
            "\\",
            "\\\n",
            "#",
            ";",
        ),
        *(
            "--hash=sha256:",
            "a1" * 32,
            _HASH,
            "--hash=md5:",
            "-r",
            "@",
            "://",
            "[",
            "]",
            ",",
            "(",
            ")",
            "'",
            '"',
            "\0",
            "\u00e9",
        ),
        *("python_version", "<", "3.8", "extra", "or", "and", "in", "os_name", "-", ".", "_", "9" * 200),
    ]
)


@settings(deadline=None)  # a busy machine is no fault
@given(st.one_of(st.binary(max_size=200), st.lists(_PIECES, max_size=40).map(lambda parts: "".join(parts).encode())))
def test_any_bytes_are_a_lock_or_a_usage_error(text: bytes) -> None:
    try:
        lock = parse_requirements(text, name="in.txt")
    except UsageError:
        return
    assert parse_requirements(lock.text.encode(), name="again") == lock


_NAMES = st.from_regex(r"\A[A-Za-z0-9](?:[A-Za-z0-9._-]{0,10}[A-Za-z0-9])?\Z")
_VERSIONS = st.from_regex(
    r"\A(?:[1-9]!)?[0-9]{1,3}(?:\.[0-9]{1,3}){0,3}(?:(?:a|b|rc|RC)[0-9])?(?:\.post[0-9])?(?:\+[a-z0-9]{1,5})?\Z"
)
_MARKERS = st.sampled_from(
    ["", "; os_name == 'nt'", '; python_version<"3.9" and (extra == "x" or sys_platform!="win32")']
)
_PINS = st.builds(
    lambda n, e, v, m: f"{n}{e}=={v}{m} {_HASH}", _NAMES, st.sampled_from(["", "[a]", "[B, a]"]), _VERSIONS, _MARKERS
)


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(_PINS, min_size=1, max_size=8))
def test_the_rendering_round_trips_and_forgets_the_order(lines: list[str]) -> None:
    try:
        lock = parse_requirements("\n".join(lines).encode(), name="in.txt")
    except UsageError as error:
        assert "pinned twice" in error.message  # noqa: PT017 - because the other half of the property is below
        return
    assert parse_requirements("\n".join(reversed(lines)).encode(), name="other") == lock
    assert parse_requirements(lock.text.encode(), name="again") == lock
