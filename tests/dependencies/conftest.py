"""Small real servers, wheels and advisory stores that the tests of this room make for themselves."""

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from custody.dependencies import AdvisoryStore
from custody.dependencies.locks import make_lock
from custody.dependencies.types import DataClass, Lock, Pin

Reply = tuple[int, Mapping[str, str], bytes]
Respond = Callable[[str, bytes], Reply]


@pytest.fixture
def now() -> datetime:
    """The time that the tests' advisories were changed last."""
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def osv_record(now: datetime) -> Callable[..., dict[str, object]]:
    """Makes one OSV record; keyword arguments replace or add fields."""

    def make(
        identity: str, package: str, events: Sequence[Mapping[str, str]] = ({"introduced": "0"},), **fields: object
    ) -> dict[str, object]:
        affected = {
            "package": {"ecosystem": "PyPI", "name": package},
            "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
        }
        return {"id": identity, "modified": now.isoformat(), "summary": "a fault", "affected": [affected], **fields}

    return make


@pytest.fixture
def store_of(tmp_path: Path, now: datetime) -> Callable[..., AdvisoryStore]:
    """Makes a store in which these records are in use."""

    def make(*records: dict[str, object], data_class: DataClass = DataClass.IMPORTED) -> AdvisoryStore:
        source = tmp_path / "source.json"
        source.write_text(json.dumps(records))
        store = AdvisoryStore(tmp_path / "advisories")
        store.import_file(source, data_class=data_class, now=now)
        return store

    return make


@pytest.fixture
def lock_of() -> Callable[..., Lock]:
    """Makes a lock of `name==version` texts, with hashes that fit nothing."""

    def make(*pins: str) -> Lock:
        return make_lock(
            (
                Pin(name=name, version=version, hashes=("sha256:" + "0" * 64,))
                for name, _, version in (pin.partition("==") for pin in pins)
            ),
            source="requirements.txt",
        )

    return make


@contextmanager
def _serving(respond: Respond) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            self._respond()

        def do_POST(self) -> None:
            self._respond()

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, headers, content = respond(self.path, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(content)
            except ConnectionError:  # a client may have given up
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - because http.server names it so
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Respond], str]]:
    """Starts a loopback server that answers each path as it is told; gives its address."""
    with ExitStack() as stack:
        yield lambda respond: stack.enter_context(_serving(respond))


@pytest.fixture
def wheel() -> Callable[..., bytes]:
    """Makes a wheel of a pure-Python package with these files."""

    def make(name: str, version: str, files: Mapping[str, str]) -> bytes:
        info = f"{name}-{version}.dist-info"
        members = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        rows = [f"{path},sha256={_record_hash(text)},{len(text.encode())}" for path, text in members.items()]
        members[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path, text in members.items():
                archive.writestr(zipfile.ZipInfo(path), text)
        return packed.getvalue()

    return make


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def index_of(serve: Callable[[Respond], str]) -> Callable[[Mapping[str, bytes]], str]:
    """Serves a simple index (PEP 503) of these files, by file name; gives its address."""

    def make(files: Mapping[str, bytes]) -> str:
        def respond(path: str, _body: bytes) -> Reply:
            kind, _, name = path.strip("/").partition("/")
            if kind == "files" and name in files:
                return 200, {"Content-Type": "application/octet-stream"}, files[name]
            ours = [file for file in files if file.startswith(name.replace("-", "_") + "-")]
            if kind != "simple" or not ours:
                return 404, {}, b""
            links = "".join(f'<a href="/files/{file}">{file}</a>' for file in ours)
            return 200, {"Content-Type": "text/html"}, f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

        return serve(respond) + "/simple"

    return make


@pytest.fixture
def lock_for() -> Callable[[Mapping[str, bytes]], Lock]:
    """Makes the lock of these wheels, by file name, with their true hashes."""

    def make(files: Mapping[str, bytes]) -> Lock:
        return make_lock(
            (
                Pin(
                    name=file.split("-")[0].replace("_", "-"),
                    version=file.split("-")[1],
                    hashes=("sha256:" + hashlib.sha256(content).hexdigest(),),
                )
                for file, content in files.items()
            ),
            source="requirements.txt",
        )

    return make
