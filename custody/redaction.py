"""One list of secret patterns for both ends: what is stored in the ledger and what is handed out of a jail.

It must never return what it replaced. Below both columns of rooms, so that neither has to import the other.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["SECRET_KINDS", "SIGNS", "Redacted", "Redactor", "secret_kinds_in"]

SECRET_KINDS: dict[str, re.Pattern[bytes]] = {
    "private_key": re.compile(
        rb"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[A-Za-z0-9+/=\s:,]|-(?!----)){0,20000}+"
        rb"(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|(?=-----)|\Z)"
    ),
    "aws_access_key": re.compile(rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "github_token": re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})"),
    "gitlab_token": re.compile(rb"\bglpat-[A-Za-z0-9_\-]{20,64}"),
    "slack_token": re.compile(rb"\bxox[abeoprs]-[A-Za-z0-9\-]{10,255}"),
    "model_api_key": re.compile(rb"\bsk-(?:ant-|proj-)?[A-Za-z0-9_\-]{20,255}"),
    "google_api_key": re.compile(rb"\bAIza[A-Za-z0-9_\-]{35}"),
    "stripe_key": re.compile(rb"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}"),
    "npm_token": re.compile(rb"\bnpm_[A-Za-z0-9]{36}"),
    "pypi_token": re.compile(rb"\bpypi-[A-Za-z0-9_\-]{50,500}"),
    "json_web_token": re.compile(rb"\beyJ[A-Za-z0-9_\-]{10,2000}\.eyJ[A-Za-z0-9_\-]{10,4000}\.[A-Za-z0-9_\-]{10,1000}"),
    "url_password": re.compile(rb"(?<=://)[^\s/:@'\"]{1,100}:[^\s/@'\"]{1,200}(?=@)"),
}
"""Kind -> pattern; every quantifier is bounded, and what is read for one match is not read again for many, so that no input makes
matching slow."""

SIGNS: dict[str, tuple[bytes, ...]] = {
    "private_key": (b"-----BEGIN ",),
    "aws_access_key": (b"AKIA", b"ASIA"),
    "github_token": (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
    "gitlab_token": (b"glpat-",),
    "slack_token": (b"xox",),
    "model_api_key": (b"sk-",),
    "google_api_key": (b"AIza",),
    "stripe_key": (b"k_live_", b"k_test_"),
    "npm_token": (b"npm_",),
    "pypi_token": (b"pypi-",),
    "json_web_token": (b"eyJ",),
    "url_password": (b"://",),
}
"""Kind -> what stands in every match: content without it is not searched, which is much the faster."""

_WORD_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
_BEGINS_WORD = re.compile(
    rb"\b(?:AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|sk-|AIza|[rs]k_(?:live|test)_|npm_|pypi-|eyJ)"
)
"""How every secret begins that is one word; a private key that is cut off matches as it is."""
_LONGEST_WORD = 8192
_BEGINS_PASSWORD = re.compile(rb"://[^\s/:@'\"]{1,100}:[^\s/@'\"]{0,200}\Z")
_LONGEST_ADDRESS = 320

_SHORTEST_VALUE = 8
"""Known values shorter than this are not searched for: they would hide ordinary text."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """Bytes without the secrets that were found in them."""

    content: bytes
    count: int


class Redactor:
    """Replaces secrets by `[redacted:kind]`.

    Args:
        values: secrets that are known by value, for example those of the environment; short ones are ignored.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = sorted({v.encode() for v in values if len(v) >= _SHORTEST_VALUE}, key=len, reverse=True)
        self._values = known
        self._known = re.compile(b"|".join(re.escape(v) for v in known)) if known else None

    def redact(self, content: bytes, *, cut: bool = False) -> Redacted:
        """The content with every known value and every match of a pattern replaced, and how many there were.

        Args:
            content: what is to be shown.
            cut: whether more followed, which is not there; then it also ends before what that could have made a secret.
        """
        count = 0
        if cut:
            content = content[: self.safe_end(content)]
        if self._known is not None:
            content, count = self._known.subn(b"[redacted:known_value]", content)
        for name, pattern in SECRET_KINDS.items():
            if _shows(content, name):
                content, found = pattern.subn(b"[redacted:%s]" % name.encode(), content)
                count += found
        return Redacted(content, count)

    def begins_before(self, content: bytes, place: int) -> int:
        """Where the first known value begins that lies on both sides of a place, or the place."""
        found = (content.find(v, max(0, place - len(v) + 1), place + len(v) - 1) for v in self._values)
        return min((start for start in found if start >= 0), default=place)

    def safe_end(self, content: bytes) -> int:
        """Where the first secret may begin that the cut at the end of the content went through, or the end."""
        end = len(content)
        word = content[-_LONGEST_WORD:]
        begun = _BEGINS_WORD.search(content, end - len(word) + len(word.rstrip(_WORD_BYTES)))
        password = _BEGINS_PASSWORD.search(content, max(0, end - _LONGEST_ADDRESS))
        places = [found.start() for found in (begun, password) if found is not None]
        for value in self._values:
            sizes = range(min(len(value) - 1, end), 0, -1)
            places += [end - size for size in sizes if content.endswith(value[:size])][:1]
        return min(places, default=end)

    def redact_text(self, text: str, *, cut: bool = False) -> str:
        """The same for text that goes into an entry."""
        return self.redact(text.encode("utf-8", "surrogateescape"), cut=cut).content.decode("utf-8", "replace")


def secret_kinds_in(content: bytes) -> tuple[str, ...]:
    """Kinds of secrets that stand literally in the content, sorted."""
    return tuple(
        sorted(name for name, pattern in SECRET_KINDS.items() if _shows(content, name) and pattern.search(content))
    )


def _shows(content: bytes, name: str) -> bool:
    return any(sign in content for sign in SIGNS[name])
