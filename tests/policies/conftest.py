"""The shipped gate, read once: it is immutable, and reading it is the slow part."""

import pytest

from custody.policies import Gate, PolicySet

from .asking import Asking


@pytest.fixture(scope="session")
def shipped() -> PolicySet:
    """The policy set that comes with custody."""
    return PolicySet.shipped()


@pytest.fixture(scope="session")
def gate(shipped: PolicySet) -> Gate:
    """A gate over it."""
    return Gate(shipped)


@pytest.fixture(scope="session")
def asking(gate: Gate) -> Asking:
    """Asks that gate."""
    return Asking(gate)
