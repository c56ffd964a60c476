"""The server: loopback only, nothing without the credential, nothing of ours in it, and gone when we are."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from custody.errors import ConfigurationError
from custody.flows.orchestration.server import PrefectServer

from .conftest import PATIENCE, Api, basic

pytestmark = pytest.mark.prefect

_START_AND_HANG = """
import signal, sys
from pathlib import Path
from custody.flows.orchestration.server import PrefectServer
server = PrefectServer(Path(sys.argv[1]))
server.start()
print(server.process_id, flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    "path", ["/admin/version", "/hello", "/flow_runs/filter", "/deployments/filter", "/logs/filter"]
)
@pytest.mark.parametrize("headers", [{}, basic("custody:wrong"), basic("admin:pass")])
def test_the_api_answers_nobody_without_the_credential(
    server: PrefectServer, path: str, headers: dict[str, str]
) -> None:
    url = server.client["PREFECT_API_URL"] + path
    method = "POST" if path.endswith("/filter") else "GET"
    assert httpx.request(method, url, headers=headers, trust_env=False).status_code == 401


def test_it_answers_with_the_credential(api: Api) -> None:
    assert api.client.get("/admin/version").status_code == 200


def test_a_page_of_another_origin_may_not_read_it(api: Api) -> None:
    answer = api.client.get("/admin/version", headers={"Origin": "http://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_its_own_page_is_served(server: PrefectServer) -> None:
    answer = httpx.get(f"http://127.0.0.1:{server.port}/", follow_redirects=True, trust_env=False)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/html")


def test_it_listens_on_loopback_only(server: PrefectServer) -> None:
    assert _listening(server.process_id) == [("tcp", "0100007F", server.port)]


def _listening(process: int) -> list[tuple[str, str, int]]:
    """Every listening TCP socket of a process, from proc(5)."""
    inodes = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = link.readlink().name
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = []
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                found.append((family, address, int(port, 16)))
    return found


def test_nobody_else_may_look_into_its_home(server: PrefectServer) -> None:
    assert server.home.stat().st_mode & 0o777 == 0o700
    open_to_others = [path.name for path in server.home.iterdir() if path.is_file() and path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_a_second_server_cannot_use_the_same_home(server: PrefectServer) -> None:
    with pytest.raises(ConfigurationError, match="another Prefect server is using"):
        PrefectServer(server.home).start()


def test_no_variable_of_this_process_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_API_KEY", "bait-4711")
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere.example/api")
    server = PrefectServer(tmp_path / "prefect")
    try:
        server.start()
        environment = Path(f"/proc/{server.process_id}/environ").read_bytes()
    finally:
        server.stop()
    assert b"bait-4711" not in environment
    assert b"elsewhere.example" not in environment
    assert b"PREFECT_SERVER_ANALYTICS_ENABLED=false" in environment
    assert b"DO_NOT_TRACK=1" in environment


def test_an_interrupt_while_it_starts_leaves_no_process(tmp_path: Path) -> None:
    server = PrefectServer(tmp_path / "prefect")
    seen: list[int] = []

    def interrupt(waited_seconds: float) -> None:
        seen.append(server.process_id)
        raise KeyboardInterrupt

    server.start()
    with pytest.raises(KeyboardInterrupt):
        server.wait(progress=interrupt)
    server.stop()
    assert seen
    assert not Path(f"/proc/{seen[0]}").exists()


def test_what_went_wrong_at_the_start_is_in_the_message(tmp_path: Path) -> None:
    home = tmp_path / "prefect"
    home.mkdir()
    (home / "prefect.db").write_bytes(b"this is no database" * 100)
    with (
        pytest.raises(ConfigurationError, match=r"ended with status \d+: .*not a database"),
        PrefectServer(home),
    ):
        pytest.fail("it started on a file that is no database")


def test_a_server_that_takes_too_long_is_an_error(tmp_path: Path) -> None:
    server = PrefectServer(tmp_path / "prefect")
    server.start()
    try:
        with pytest.raises(ConfigurationError, match="did not answer within 0 seconds"):
            server.wait(timeout_seconds=0)
    finally:
        server.stop()


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _START_AND_HANG, str(tmp_path / "prefect")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watch = os.pidfd_open(child)
        parent.kill()
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    try:
        assert poll.poll(PATIENCE * 1000), "the server outlived its parent"
    finally:
        if not poll.poll(0):
            signal.pidfd_send_signal(watch, signal.SIGKILL)
        os.close(watch)
