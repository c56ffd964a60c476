"""A loopback HTTP endpoint that answers like OSV's query API, from our own index, for one audit.

It must never listen beyond loopback, never redirect or paginate, and never answer `nothing found` when it could
not look: then it answers 503.
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
from packaging.utils import canonicalize_name

from ..errors import DependencyError
from .index import AdvisoryIndex, Match
from .osv import canonical_version, is_version

_LARGEST_QUERY = 64 * 1024
_PATIENCE_SECONDS = 10


class Endpoint:
    """What one audit may ask.

    Args:
        index: where the answers come from.
    """

    def __init__(self, index: AdvisoryIndex) -> None:
        self._index = index
        self._path = f"/{secrets.token_urlsafe(24)}/v1/query"
        self._lock = threading.Lock()
        self._asked: set[tuple[str, str]] = set()
        self.url = ""

    @property
    def asked(self) -> frozenset[tuple[str, str]]:
        """Every (canonical name, canonical version) that was answered."""
        with self._lock:
            return frozenset(self._asked)

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, object]]:
        """Status and JSON for one query."""
        if not secrets.compare_digest(path.encode(), self._path.encode()):
            return 404, {"code": 5, "message": "not found"}
        query = _read_query(body)
        if query is None:
            return 400, {"code": 3, "message": "not a query for one version of a PyPI package"}
        name, version = query
        try:
            matches = self._index.matches(name, version)
        except DependencyError as error:
            return 503, {"code": 14, "message": error.message}
        with self._lock:
            self._asked.add((name, version))
        return 200, {"vulns": [_as_osv(match, name) for match in matches]}

    def listen_at(self, port: int) -> None:
        """Tells where it can be asked."""
        self.url = f"http://127.0.0.1:{port}{self._path}"


def _read_query(body: bytes) -> tuple[str, str] | None:
    try:
        query = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    package = query.get("package") if isinstance(query, dict) else None
    if not isinstance(package, dict) or package.get("ecosystem") != "PyPI":
        return None
    name, version = package.get("name"), query.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not is_version(version):
        return None
    return canonicalize_name(name), canonical_version(version)


def _as_osv(match: Match, name: str) -> dict[str, object]:
    """The advisory as an OSV record that every reader understands: canonical name, nothing but PEP 440 bounds."""
    events = [{"introduced": "0"}, *({"fixed": fix} for fix in match.fixed_in)]
    affected = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {
        "schema_version": "1.0.0",
        "id": match.id,
        "aliases": list(match.aliases),
        "summary": match.summary or match.id,
        "affected": [affected],
    }


@contextmanager
def serve(endpoint: Endpoint) -> Iterator[Endpoint]:
    """The endpoint, listening on a random loopback port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = _PATIENCE_SECONDS

        def do_POST(self) -> None:
            try:
                length = int(self.headers.get("Content-Length", ""))
            except ValueError:
                length = -1
            if not 0 <= length <= _LARGEST_QUERY:
                self.close_connection = True
                self._send(400, {"code": 3, "message": "no usable length"})
                return
            self._send(*endpoint.answer(self.path, self.rfile.read(length)))

        def _send(self, status: int, value: dict[str, object]) -> None:
            body = orjson.dumps(value)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - because http.server names it so
            """Says nothing: the audit's own result is what is recorded."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="osv-endpoint", daemon=True
    )
    thread.start()
    endpoint.listen_at(server.server_port)
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
