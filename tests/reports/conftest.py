import pytest

from custody.reports import Review

from .world import World, demo, reviewed


@pytest.fixture
def world() -> World:
    return demo()


@pytest.fixture
def review(world: World) -> Review:
    return reviewed(world)
