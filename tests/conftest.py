"""What all tests share: homes of their own, and the rule that nothing important may be skipped in CI."""

import os
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from custody.flows.house import House, open_house
from custody.flows.setup import initialise
from custody.settings import Settings, load_settings

NEVER_SKIPPED = ("jail", "browser", "mounts", "prefect")
"""Markers whose tests may be skipped on a bare machine, but not where the project judges itself."""

DIRECTORY = """\
[humans.alice]
os_user = "alice"
roles = ["developer", "auditor", "operator", "policy-admin"]

[humans.bob]
os_user = "bob"
roles = ["security-reviewer"]

[humans.carol]
os_user = "carol"
roles = ["developer", "security-reviewer"]

[humans.gone]
os_user = "gone"
roles = ["developer"]
enabled = false

[agents.scout]
owner = "alice"
roles = ["developer"]

[agents.stray]
owner = "gone"
roles = ["developer"]
"""

MakeHome = Callable[..., Settings]

_skipped: list[str] = []


def pytest_configure() -> None:
    """What nohup or a shell's background made these tests ignore is not ignored by the commands that they start and interrupt.

    A signal that is taken is back at its default in a new program; one that is ignored stays so. An interrupt of the tests' own
    process is an exception, as it is in every other Python.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else lambda *_: None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped though it must not be; what doctor says of a machine is accepted of an attack, never of all of a group."""
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and "Skipped: the doctor says: " not in str(report.longrepr)
        and any(marker in report.keywords for marker in NEVER_SKIPPED)
    ):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test of the jail, the browser, a full disk or Prefect is a failure."""
    if os.environ.get("CI") and _skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which ones."""
    if os.environ.get("CI") and _skipped:
        terminalreporter.section("skipped, which CI does not accept")
        for name in _skipped:
            terminalreporter.line(name)


@dataclass(frozen=True)
class OwnAuthority:
    """A certificate that no system believes, for 127.0.0.1."""

    certificate: Path
    context: ssl.SSLContext
    """For a server."""

    @contextmanager
    def serving(self, content: bytes, kind: str) -> Iterator[str]:
        """An address of a server that it certifies, and that answers everything with the content."""

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            server.socket = self.context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"https://127.0.0.1:{server.server_port}/here"
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture(scope="session")
def own_authority(tmp_path_factory: pytest.TempPathFactory) -> OwnAuthority:
    """The authority of an organisation that only pip was told of."""
    folder, key = tmp_path_factory.mktemp("authority"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Ltd")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "authority.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "authority.pem", folder / "key.pem")
    return OwnAuthority(folder / "authority.pem", context)


@pytest.fixture
def make_home(tmp_path: Path) -> MakeHome:
    """Makes a home, with the directory of these tests unless another is given."""

    def make(
        name: str = "home", *, directory: str = DIRECTORY, policies: Path | None = None, configuration: str = ""
    ) -> Settings:
        home = tmp_path / name
        initialise(home, os_user="alice", directory=directory, policies=policies, configuration=configuration)
        return load_settings(home)

    return make


@pytest.fixture
def house(make_home: MakeHome) -> Iterator[House]:
    """A fresh home, opened."""
    with open_house(make_home()) as opened:
        yield opened
