"""Limits that were met are told by the runner; what only the program says of them is marked as its word."""

from collections.abc import Callable

import pytest

from custody.policies.types import Grant
from custody.sandbox import Job, Outcome

pytestmark = pytest.mark.jail

RunProgram = Callable[..., Outcome]
FULL = """
with open('/tmp/x', 'wb', buffering=0) as file:
    try:
        while True: file.write(b'x' * 65536)
    except OSError: pass
"""


def words_of_the_program(outcome: Outcome) -> list[str]:
    return [said for said in outcome.unobserved if said.startswith("whether the limit on")]


def test_a_disk_that_the_runner_sees_full_is_no_word_of_the_program(run: RunProgram) -> None:
    outcome = run(FULL)
    assert (outcome.limits_hit, words_of_the_program(outcome)) == (("disk",), [])


def test_limits_that_a_program_makes_up_are_marked_as_its_word(
    unprivileged: Callable[[list[tuple[Job, Grant]]], list[Outcome]],
    run: RunProgram,
    grant_of: Callable[..., Grant],
    job_of: Callable[..., Job],
) -> None:
    said = (
        "whether the limit on {} was met is known from the program's own interpreter only, which the program controls"
    )
    outcome = run("raise OSError(28, 'made up')")
    assert (outcome.limits_hit, words_of_the_program(outcome)) == (("disk",), [said.format("disk")])
    (outcome,) = unprivileged([(job_of("raise MemoryError"), grant_of())])
    assert (outcome.limits_hit, words_of_the_program(outcome)) == (("memory",), [said.format("memory")])
