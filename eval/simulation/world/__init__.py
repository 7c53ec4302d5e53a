"""The synthetic market of the demo, the tests and the simulation: see docs/world.md."""

from eval.simulation.world.build import generate
from eval.simulation.world.params import DEMO_PEOPLE, WorldParams
from eval.simulation.world.truth import Truth, World

__all__ = ["DEMO_PEOPLE", "Truth", "World", "WorldParams", "generate"]
