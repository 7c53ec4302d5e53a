"""Worlds that the tests of this folder share; each is generated once."""

import pytest

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from eval.simulation.world.truth import World

SMALL = {"n_items": 400, "n_users": 60, "n_events": 6_000, "seed": 7}


@pytest.fixture(scope="session")
def small_world() -> World:
    """400 videos, 60 people and about 6,000 events."""
    return generate(WorldParams(**SMALL))


@pytest.fixture(scope="session")
def demo_world() -> World:
    """The world of the demo, with every default."""
    return generate(WorldParams())
