"""One function renders the configuration, and one rule escapes."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from custody.sandbox.spec import Bind, Content, JailSpec, Link, Proc, Rlimits, Tmpfs, digest, quote, render

GOLDEN = Path(__file__).parent / "golden" / "jail.cfg"
SPEC = JailSpec(
    command=("/usr/bin/python3", "-I", 'a "quoted" \\ word'),
    environment=(("LANG", "C.UTF-8"), ("NAME", "größe\n")),
    mounts=(
        Bind(Path("/usr/lib/x"), "/usr/lib/x", executable=True),
        Bind(Path("/data/in"), "/mnt/in", writable=True),
        Bind(Path("/dev/null"), "/dev/null", writable=True, device=True),
        Tmpfs("/work", 1048576, 100),
        Tmpfs("/hidden", 4096, 1, mode=0o755, writable=False),
        Proc(),
        Content("/etc/hosts", b"127.0.0.1 localhost\n\0\xff"),
        Link("/lib", "usr/lib"),
    ),
    rlimits=Rlimits(address_space_mib=None, cpu_seconds=61, file_size_mib=64, open_files=256, processes=68),
    wall_seconds=70,
    seccomp="POLICY x {\n  ALLOW { read }\n}\nUSE x DEFAULT KILL\n",
    staged=True,
)


def test_the_rendering_is_the_golden_one() -> None:
    """To renew the file: write `render(SPEC)` into it."""
    assert render(SPEC) == GOLDEN.read_text()


def test_the_digest_follows_every_part() -> None:
    changes = [
        replace(SPEC, namespaces=("user",)),
        replace(SPEC, seccomp=""),
        replace(SPEC, hostname="other"),
        replace(SPEC, mounts=SPEC.mounts[1:]),
        replace(SPEC, rlimits=replace(SPEC.rlimits, open_files=1)),
    ]
    assert len({digest(render(spec)) for spec in (SPEC, *changes)}) == len(changes) + 1


@given(st.binary(max_size=64))
def test_a_quoted_value_is_one_printable_word_without_a_bare_quote(raw: bytes) -> None:
    quoted = quote(raw)
    assert quoted.isascii()
    assert quoted.isprintable()
    inner = quoted[1:-1]
    assert '"' not in inner
    assert inner.encode().decode("unicode_escape").encode("latin-1") == raw


def test_the_wide_filter_only_adds() -> None:
    folder = Path(__file__).resolve().parents[2] / "sandbox" / "seccomp"
    default, wide = (_policies((folder / f"{name}.kafel").read_text()) for name in ("default", "wide"))
    assert default["ordinary"] < wide["ordinary"]
    assert default["hostile"] == wide["hostile"]
    assert default["refused"] >= wide["refused"]


def _policies(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for part in text.split("POLICY ")[1:]:
        name, _, body = part.partition("{")
        lines = [line.split("//")[0] for line in body.splitlines()]
        found[name.strip()] = {word.strip(" ,{}") for line in lines for word in line.split(",")} - {""}
    return found
