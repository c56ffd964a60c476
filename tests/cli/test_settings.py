"""What custody takes over from the configuration of pip and uv, so that one setting serves all of them."""

import json
import os
from pathlib import Path

import pytest

from custody.errors import ConfigurationError
from custody.settings import load_settings

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_CONFIG_FILE")


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has told pip, and nobody else, where its index is and what it is certified by."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://index.invalid/simple\ncert = /own/authority.pem\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    return tmp_path


def test_the_index_and_the_certificate_of_pip_are_ours(configured: Path) -> None:
    settings = load_settings(configured / "home")
    assert settings.index_url == "https://index.invalid/simple"
    assert settings.network_environment["SSL_CERT_FILE"] == "/own/authority.pem"
    assert settings.certificates == Path("/own/authority.pem")


def test_variables_come_before_the_files_of_pip(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://other.invalid/simple")
    monkeypatch.setenv("SSL_CERT_FILE", "/another/authority.pem")
    settings = load_settings(configured / "home")
    assert settings.index_url == "https://other.invalid/simple"
    assert settings.network_environment["SSL_CERT_FILE"] == "/another/authority.pem"


@pytest.mark.parametrize(
    "content", ["x = " + "[" * 50_000, "x = " + "9" * 5000, "x = [", "[approvals]\nhold_hours = 99999999999999"]
)
def test_a_file_that_nobody_can_read_is_named_in_a_sentence(configured: Path, content: str) -> None:
    (configured / "custody.toml").write_text(content)
    with pytest.raises(ConfigurationError):
        load_settings(configured)


@pytest.mark.parametrize("value", ["{bad", "[" * 50_000])
def test_a_variable_of_a_whole_section_is_json(configured: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CUSTODY_LEDGER", value)
    with pytest.raises(ConfigurationError):
        load_settings(configured)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing"])
def test_what_is_no_file_is_not_passed_over(configured: Path, kind: str) -> None:
    """The settings in it would silently be the defaults."""
    place = configured / "custody.toml"
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case _:
            place.symlink_to(configured / "gone")
    with pytest.raises(ConfigurationError, match="is not a plain file"):
        load_settings(configured)


def test_a_settings_file_without_end_is_not_read(configured: Path) -> None:
    (configured / "custody.toml").write_text("# x\n" * 100_000)
    with pytest.raises(ConfigurationError, match="larger than 256 KiB"):
        load_settings(configured)


@pytest.mark.parametrize(("said", "uid"), [("1000", 1000), ("4294967295", None), ("9999999999", None), ("-1", None)])
def test_only_a_uid_is_taken_from_sudo(
    configured: Path, monkeypatch: pytest.MonkeyPatch, said: str, uid: int | None
) -> None:
    monkeypatch.setenv("SUDO_UID", said)
    assert load_settings(configured / "home").sudo_uid == uid


@pytest.mark.parametrize("name", ["a\x1b[31mb", "two\nlines", "\u202eteg", "nul\x00", "", "   ", "tab\t"])
def test_a_name_of_the_organisation_that_cannot_be_shown_as_it_is_is_refused(configured: Path, name: str) -> None:
    (configured / "custody.toml").write_text(f"organisation = {json.dumps(name)}\n")
    with pytest.raises(
        ConfigurationError, match=r"setting `organisation` cannot be used: .* control characters"
    ) as error:
        load_settings(configured)
    assert error.value.message.isprintable()
    assert "docs/settings.md" in error.value.hint


def test_a_name_of_the_organisation_may_have_any_letters(configured: Path) -> None:
    (configured / "custody.toml").write_text('organisation = "Müller & Söhne, 株式会社"\n')
    assert load_settings(configured).organisation == "Müller & Söhne, 株式会社"
