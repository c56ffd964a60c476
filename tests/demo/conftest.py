"""The demo, played once by whoever runs the tests, and once by a user without rights."""

from collections.abc import Iterator

import pytest

from custody.identity import calling_user

from .telling import Told, play
from .unprivileged import as_user


@pytest.fixture(scope="session")
def os_user() -> str:
    """Who runs the tests."""
    return calling_user(None).os_user


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory, os_user: str) -> Told:
    """The whole demo, as whoever runs the tests."""
    return play(tmp_path_factory.mktemp("demo") / "place", os_user=os_user)


@pytest.fixture(scope="session")
def told_by_user() -> Iterator[dict[str, object]]:
    """The whole demo, as a user without rights; only root can become one."""
    with as_user() as told:
        yield told
