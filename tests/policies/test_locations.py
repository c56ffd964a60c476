"""Names of hosts and paths: what is plainly one thing, and what is not."""

import pytest

from custody.policies.locations import Host, is_plain_path


@pytest.mark.parametrize(
    ("name", "plain", "address"),
    [
        ("API.Example.org.", "api.example.org", ""),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("[2001:DB8::1]", "2001:db8::1", "2001:db8::1"),
        ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", ""),
        ("_dmarc.example.org", "_dmarc.example.org", ""),
    ],
)
def test_well_formed(name: str, plain: str, address: str) -> None:
    assert Host.of(name, 443) == Host(plain, 443, address, well_formed=True)


@pytest.mark.parametrize(
    "name",
    ["", ".", "a..b", "-a.b", "a-.b", "a b", "a/b", "a@b", "2130706433", "0x7f.0.0.1", "127.1", "1.2.3", "a.0x", "010.0.0.1",
     "b\u00fccher.example", "a" * 64, ".".join(["a" * 60] * 5), "fe80::1%eth0", "a\n", "a\0b", "*.example.org"],
)  # fmt: skip
def test_not_well_formed(name: str) -> None:
    assert not Host.of(name, 443).well_formed


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_have_a_range(port: int) -> None:
    assert not Host.of("a.example", port).well_formed


@pytest.mark.parametrize("path", ["/", "/data", "/data/a b.csv", "/data/\u00e4"])
def test_plain_paths(path: str) -> None:
    assert is_plain_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "data",
        "/data/",
        "//data",
        "/data//x",
        "/data/./x",
        "/data/../x",
        "/a\nb",
        "/a\0",
        "/a\u202e",
        "/" + "a" * 5000,
    ],
)
def test_paths_that_are_not_plain(path: str) -> None:
    assert not is_plain_path(path)
