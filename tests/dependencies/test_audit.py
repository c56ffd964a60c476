"""The audit of a lock by two opinions, with the real pip-audit over loopback; every way to pass silently is an error."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from custody.dependencies import AdvisoryStore, Auditor
from custody.dependencies.endpoint import Endpoint
from custody.dependencies.index import AdvisoryIndex
from custody.dependencies.locks import make_lock
from custody.dependencies.opinion import Answer
from custody.dependencies.types import DataClass, Findings, Lock, PinState, Severity

Make = Callable[..., dict[str, object]]
StoreOf = Callable[..., AdvisoryStore]
LockOf = Callable[..., Lock]
Reply = tuple[int, Mapping[str, str], bytes]
Serve = Callable[[Callable[[str, bytes], Reply]], str]


def _auditor(store: AdvisoryStore, tmp_path: Path, kind: type[Auditor] = Auditor, **settings: float) -> Auditor:
    return kind(store, work=tmp_path / "work", python=Path(sys.executable), **settings)  # type: ignore[arg-type]  # because the settings are all numbers


def _states(findings: Findings) -> dict[str, PinState]:
    return {finding.pin.name: finding.state for finding in findings.pins}


def test_an_empty_lock_is_complete_without_any_data(lock_of: LockOf, tmp_path: Path, now: datetime) -> None:
    findings = _auditor(AdvisoryStore(tmp_path / "none"), tmp_path).audit(lock_of(), now=now)
    assert (findings.complete, findings.data, findings.second_opinion, findings.pins) == (True, None, None, ())


def test_without_data_nothing_is_audited(lock_of: LockOf, tmp_path: Path, now: datetime) -> None:
    findings = _auditor(AdvisoryStore(tmp_path / "none"), tmp_path).audit(lock_of("six==1.17.0"), now=now)
    assert not findings.complete
    assert findings.coverage_error.startswith("no advisory data: ")
    assert _states(findings) == {"six": PinState.UNAUDITABLE}


@pytest.fixture
def store(osv_record: Make, store_of: StoreOf, now: datetime) -> AdvisoryStore:
    """Advisories with everything that the two opinions might read differently."""
    high = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]
    below_two = [{"introduced": "0"}, {"fixed": "2.0"}]
    return store_of(
        osv_record("PYSEC-2026-1", "old", below_two, aliases=["CVE-2026-1"]),
        osv_record("GHSA-aaaa", "Old", below_two, aliases=["CVE-2026-1"], severity=high),
        osv_record("PYSEC-2026-2", "old", below_two, withdrawn=now.isoformat()),
        osv_record("PYSEC-2026-3", "vague", [{"introduced": "0"}, {"fixed": "0.2.0-n653"}]),
        osv_record("PYSEC-2026-4", "broken", schema_version="2.0.0"),
        osv_record("MAL-2026-5", "evil.package"),
        osv_record("CVE-2026-6", "mixed-Case", [{"introduced": "0"}, {"fixed": "1.0"}]),
    )


def test_both_opinions_agree_on_everything_that_readers_take_differently(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    pins = ("old==1.0+local.1", "vague==1.0", "broken==1.0", "evil-package==3", "mixed-case==1.0RC1", "fine==1.0")
    lock = lock_of(*pins)
    lock = make_lock([replace(pin, marker='sys_platform == "win32"', extras=("x",)) for pin in lock.pins], source="x")
    findings = _auditor(store, tmp_path).audit(lock, now=now)
    assert findings.coverage_error == ""
    assert _states(findings) == {
        "broken": PinState.UNDETERMINED,
        "evil-package": PinState.VULNERABLE,
        "fine": PinState.CLEAN,
        "mixed-case": PinState.VULNERABLE,
        "old": PinState.VULNERABLE,
        "vague": PinState.UNDETERMINED,
    }
    assert findings.second_opinion is not None
    assert (findings.second_opinion.agreed, findings.second_opinion.advisories) == (True, 4)
    assert findings.second_opinion.tool.startswith("pip-audit 2.")
    assert findings.warnings == ("1 advisories could not be read and are quarantined",)
    by_name = {finding.pin.name: finding for finding in findings.pins}
    [old] = by_name["old"].advisories
    assert (old.id, old.aliases, old.fixed_in) == ("PYSEC-2026-1", ("CVE-2026-1", "GHSA-aaaa"), ("2.0",))
    assert (old.severity, old.severity_source) == (Severity.HIGH, "cvss3")
    assert by_name["evil-package"].advisories[0].malicious
    assert "a schema version other than 1" in by_name["broken"].reason
    assert "not a version (PEP 440)" in by_name["vague"].reason


def test_the_answer_for_a_lock_is_kept_until_the_index_changes(
    osv_record: Make, store_of: StoreOf, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    lock = lock_of("six==1.17.0")
    auditor = _auditor(store_of(osv_record("X-1", "six")), tmp_path)
    first, second = auditor.audit(lock, now=now), auditor.audit(lock, now=now)
    assert first.second_opinion is not None
    assert second.second_opinion == replace(first.second_opinion, cached=True)
    store_of(osv_record("X-2", "six"))
    third = auditor.audit(lock, now=now)
    assert third.second_opinion is not None
    assert (third.complete, third.second_opinion.cached, third.pins[0].advisories[0].id) == (True, False, "X-2")


def test_a_damaged_kept_answer_is_asked_for_again(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    auditor = _auditor(store, tmp_path)
    auditor.audit(lock_of("fine==1.0"), now=now)
    [path] = (store.folder / "opinions").iterdir()
    for kept in (b"", b"[]", b'{"fine==1.0": 5}', b"{}", b'{"other==1": []}'):
        path.write_bytes(kept)
        findings = auditor.audit(lock_of("fine==1.0"), now=now)
        assert findings.second_opinion is not None
        assert (findings.complete, findings.second_opinion.cached) == (True, False)


def test_a_forged_kept_answer_shows_as_disagreement(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    auditor = _auditor(store, tmp_path)
    lock = lock_of("old==1.0")
    assert auditor.audit(lock, now=now).complete
    [path] = (store.folder / "opinions").iterdir()
    path.write_text('{"old==1.0": []}')
    assert not auditor.audit(lock, now=now).complete


class _Lying(Endpoint):
    """An endpoint that looks up nothing and answers what it was told."""

    said: dict[str, object]

    @classmethod
    def of(cls, said: dict[str, object]) -> Callable[[Auditor, AdvisoryIndex], Endpoint]:
        def make(_auditor: Auditor, index: AdvisoryIndex) -> Endpoint:
            endpoint = cls(index)
            endpoint.said = said
            return endpoint

        return make

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, object]]:
        super().answer(path, body)
        return 200, self.said


_OLD = {"id": "PYSEC-2026-1", "affected": [{"package": {"name": "old", "ecosystem": "PyPI"}, "ranges": []}]}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"vulns": []},
        {"vulns": [{**_OLD, "schema_version": "2.0.0"}]},
        {"vulns": [{"id": "PYSEC-2026-1"}]},
        {"vulns": [{**_OLD, "withdrawn": "2026-01-01T00:00:00Z"}]},
        {"vulns": [{**_OLD, "id": "PYSEC-2026-99"}]},
    ],
    ids=["nothing", "none", "schema", "unaffected", "withdrawn", "other"],
)
def test_an_answer_that_says_less_than_the_index_is_a_disagreement(
    store: AdvisoryStore,
    lock_of: LockOf,
    tmp_path: Path,
    now: datetime,
    said: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Auditor, "_endpoint", _Lying.of(said))
    findings = _auditor(store, tmp_path).audit(lock_of("old==1.0"), now=now)
    assert not findings.complete
    assert findings.coverage_error == "the two opinions disagree about 1 packages"
    assert findings.second_opinion is not None
    assert not findings.second_opinion.agreed
    assert findings.second_opinion.detail.startswith("old==1.0: the index finds PYSEC-2026-1, pip-audit finds ")
    assert _states(findings) == {"old": PinState.VULNERABLE}


def test_a_list_cut_short_is_a_disagreement(
    osv_record: Make, store_of: StoreOf, lock_of: LockOf, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(osv_record("PYSEC-2026-1", "old"), osv_record("PYSEC-2026-2", "old"))
    monkeypatch.setattr(Auditor, "_endpoint", _Lying.of({"vulns": [_OLD], "next_page_token": "more"}))
    findings = _auditor(store, tmp_path).audit(lock_of("old==1.0"), now=now)
    assert "disagree" in findings.coverage_error


def test_an_answer_that_says_more_than_the_index_is_a_disagreement(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Auditor, "_endpoint", _Lying.of({"vulns": [_OLD]}))
    findings = _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now)
    assert findings.coverage_error == "the two opinions disagree about 1 packages"
    assert _states(findings) == {"fine": PinState.CLEAN}


def _elsewhere(url: str) -> Callable[[Auditor, AdvisoryIndex], Endpoint]:
    class _Elsewhere(Endpoint):
        def listen_at(self, port: int) -> None:
            self.url = url

    return lambda _auditor, index: _Elsewhere(index)


_HTML = b"<html>please log in</html>"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((500, {}, b"{}"), "pip-audit gave no usable answer"),
        ((429, {}, b"{}"), "pip-audit gave no usable answer"),
        ((200, {}, _HTML), "pip-audit gave no usable answer"),
        ((200, {}, b'{"next_page_token": "more"}'), "pip-audit gave no usable answer"),
        ((200, {"Content-Length": "50"}, b'{"vulns": ['), "pip-audit gave no usable answer"),
        ((302, {"Location": "/nothing"}, b""), "pip-audit did not ask about every package"),
        ((200, {}, b"{}"), "pip-audit did not ask about every package"),
    ],
    ids=["500", "429", "html", "token", "truncated", "redirect", "empty"],
)
def test_a_misbehaving_server_never_makes_coverage_complete(
    store: AdvisoryStore,
    lock_of: LockOf,
    tmp_path: Path,
    now: datetime,
    serve: Serve,
    reply: Reply,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = serve(lambda path, _: (200, {}, b"{}") if path == "/nothing" else reply)
    monkeypatch.setattr(Auditor, "_endpoint", _elsewhere(f"{url}/v1/query"))
    findings = _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now)
    assert not findings.complete
    assert reason in findings.coverage_error
    assert not list(store.folder.glob("opinions/*"))


def test_an_endpoint_that_nobody_answers_at_is_an_error(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Auditor, "_endpoint", _elsewhere("http://127.0.0.1:9/v1/query"))
    findings = _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now)
    assert "pip-audit gave no usable answer" in findings.coverage_error


def test_a_pip_audit_that_does_not_finish_is_an_error(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    findings = _auditor(store, tmp_path, timeout_seconds=0.05).audit(lock_of("fine==1.0"), now=now)
    assert findings.coverage_error == "pip-audit did not finish in time"
    assert _states(findings) == {"fine": PinState.CLEAN}


def test_an_interpreter_without_pip_audit_is_an_error(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    for python in (tmp_path / "absent", Path("/bin/false"), Path("/bin/echo")):
        auditor = Auditor(store, work=tmp_path / "work", python=python)
        findings = auditor.audit(lock_of("fine==1.0"), now=now)
        assert not findings.complete
        assert "pip-audit" in findings.coverage_error
        assert findings.second_opinion is None


_FAR = timedelta(days=1000)


@pytest.mark.parametrize(
    ("later", "complete", "words"),
    [
        (timedelta(0), True, ""),
        (timedelta(days=7), True, ""),
        (timedelta(days=8), True, "the advisory data is 8 days old"),
        (timedelta(days=14), True, "the advisory data is 14 days old"),
        (timedelta(days=14, seconds=1), False, "the advisory data is 14 days old; 14 are allowed"),
        (_FAR, False, "the advisory data is 1000 days old; 14 are allowed"),
        (timedelta(days=-1), False, "the clock of this machine is behind the advisory data"),
    ],
)
def test_old_data_is_a_warning_and_then_an_error(
    osv_record: Make,
    store_of: StoreOf,
    lock_of: LockOf,
    tmp_path: Path,
    now: datetime,
    later: timedelta,
    complete: bool,  # noqa: FBT001 - because pytest gives parameters by position
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = store_of(osv_record("X-1", "old"))
    _without_process(monkeypatch)
    findings = _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now + later)
    assert findings.complete is complete
    assert words in (findings.coverage_error or " ".join(findings.warnings))
    assert bool(findings.warnings) == (complete and bool(words))


def _without_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit of one clean pin without starting pip-audit: its answer is taken as given before."""
    monkeypatch.setattr("custody.dependencies.audit._Kept.read", lambda _self: _KEPT)


_KEPT = Answer({("fine", "1.0"): ()})


def test_demo_data_has_no_age_and_is_no_real_audit(
    lock_of: LockOf, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AdvisoryStore(tmp_path / "demo")
    store.import_demo(now=now)
    _without_process(monkeypatch)
    findings = _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now + _FAR)
    assert (findings.complete, findings.real) == (True, False)
    assert findings.warnings == ("demo data: this is not a real audit",)
    assert findings.data is not None
    assert findings.data.data_class is DataClass.DEMO


def test_data_that_shrank_is_a_coverage_error(
    osv_record: Make, store_of: StoreOf, lock_of: LockOf, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_of(*(osv_record(f"X-{n}", "old") for n in range(10)))
    store = store_of(osv_record("X-1", "old"))
    _without_process(monkeypatch)
    findings = _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now)
    assert "shrank from 10 to 1 records" in findings.coverage_error


def test_an_index_with_the_wrong_digest_audits_nothing(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    [index] = store.folder.glob("generations/*/index.sqlite")
    index.write_bytes(index.read_bytes() + b"x")
    findings = _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now)
    assert "its digest is wrong" in findings.coverage_error
    assert _states(findings) == {"fine": PinState.UNAUDITABLE}


def test_the_caller_s_environment_does_not_reach_pip_audit(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PIP_AUDIT_OSV_URL": "http://127.0.0.1:9/",
        "PIP_AUDIT_FORMAT": "columns",
        "PIP_AUDIT_VULNERABILITY_SERVICE": "pypi",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "PYTHONPATH": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(0)")
    findings = _auditor(store, tmp_path).audit(lock_of("old==1.0"), now=now)
    assert findings.coverage_error == ""
    assert json.dumps(_states(findings)) == '{"old": "vulnerable"}'


def test_a_work_directory_that_cannot_be_made_is_an_error(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    (tmp_path / "work").write_text("a file")
    findings = _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now)
    assert findings.coverage_error == "pip-audit could not be run: File exists"


def test_an_answer_that_cannot_be_kept_is_still_an_answer(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    (store.folder / "opinions").write_text("a file")
    assert _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now).complete


def test_nothing_is_left_in_the_work_directory(
    store: AdvisoryStore, lock_of: LockOf, tmp_path: Path, now: datetime
) -> None:
    _auditor(store, tmp_path).audit(lock_of("fine==1.0"), now=now)
    assert list((tmp_path / "work").iterdir()) == []
