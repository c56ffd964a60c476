"""A layer is called present only on what a jail showed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from custody.errors import SandboxError
from custody.sandbox import Layer, Outcome, OutcomeClass
from custody.sandbox.selftest import layers_from_probe
from custody.sandbox.types import Output, Usage

SEEN: dict[str, object] = {
    "namespaces": dict.fromkeys(("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"), "another:[1]"),
    "status": {"Seccomp": "2", "CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1"},
    "proc": ["1", "2", "self"],
    "open_files": 64,
    "uid_map": ["1000", "1879048192", "1"],
    "refused": 1,
}


def states(
    seen: dict[str, object], *, root: bool = False, usage: Usage | None = None, layers: tuple[str, ...] = ()
) -> dict[str, Layer]:
    content = json.dumps(seen).encode()
    empty = Output(sha256="", seen=0, content=b"", truncated=False)
    outcome = Outcome(
        outcome=OutcomeClass.SUCCEEDED,
        explanation="",
        exit_code=0,
        signal=None,
        limits_hit=(),
        usage=usage or Usage(wall_ms=1),
        stdout=replace(empty, content=content),
        stderr=empty,
        layers=layers,
    )
    return {layer.name: layer for layer in layers_from_probe(lambda: outcome, root=root)}


def test_what_the_jail_shows_is_present() -> None:
    found = states(SEEN, root=True)
    assert {name for name, layer in found.items() if layer.state == "present"} == {
        "user_namespace", "mount_namespace", "pid_namespace", "network_namespace", "ipc_namespace", "uts_namespace",
        "cgroup_namespace", "seccomp", "proc", "no_capabilities", "rlimits", "own_uid",
    }  # fmt: skip


def test_each_layer_that_does_not_show_is_missing() -> None:
    status = SEEN["status"]
    assert isinstance(status, dict)
    cases: dict[str, dict[str, object]] = {
        "network_namespace": {"namespaces": {"net": str(Path("/proc/self/ns/net").readlink())}},
        "seccomp": {"status": status | {"Seccomp": "0"}},
        "proc": {"proc": ["1", "2", "kallsyms"]},
        "no_capabilities": {"status": status | {"CapEff": "0000000000000400"}},
        "rlimits": {"open_files": 1024},
        "own_uid": {"uid_map": ["1000", "0", "1"]},
    }
    for name, change in cases.items():
        assert states(SEEN | change, root=True)[name].state == "missing"


def test_a_group_without_a_count_was_not_run_live() -> None:
    groups = ("cgroup_memory", "cgroup_pids", "cgroup_cpu")
    found = states(SEEN, usage=Usage(wall_ms=1, cpu_ms=5, peak_memory_bytes=1000), layers=groups)
    assert [found[name].state for name in groups] == ["present", "not_run_live", "present"]
    assert states(SEEN)["cgroup_memory"].state == "missing"


def test_every_layer_that_is_not_present_has_a_cause_and_a_cure() -> None:
    assert all(layer.cause and layer.cure for layer in states(SEEN).values() if layer.state != "present")


def test_an_answer_that_is_no_answer_makes_every_layer_missing() -> None:
    outcome = layers_from_probe(lambda: _silent(), root=True)  # noqa: PLW0108 - a fresh one each time
    assert {layer.state for layer in outcome} == {"missing"}


def test_what_doctor_says_does_not_send_to_doctor() -> None:
    def fails() -> Outcome:
        raise SandboxError("the jail could not be started", hint="see `custody doctor`")

    assert all(layer.cure and "custody doctor" not in layer.cure for layer in layers_from_probe(fails, root=True))


def _silent() -> Outcome:
    empty = Output(sha256="", seen=0, content=b"", truncated=False)
    return Outcome(
        outcome=OutcomeClass.INFRASTRUCTURE_ERROR,
        explanation="the jail did not start",
        exit_code=None,
        signal=None,
        limits_hit=(),
        usage=Usage(wall_ms=0),
        stdout=empty,
        stderr=empty,
    )


def test_on_another_architecture_the_filter_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    layer = states(SEEN, root=True)["seccomp"]
    assert (layer.state, layer.cause, layer.cure) == ("missing", "the filters are for x86_64", "run on x86_64")
