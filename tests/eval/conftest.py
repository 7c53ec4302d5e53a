"""A small world, trained with its last days held out: what evaluation is tried on."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from eval.simulation.world.build import generate
from eval.simulation.world.params import ENDS_AT, WorldParams
from recsys.clock import HOUR
from recsys.data.tables import write_dataset
from recsys.models.artifact import Artifact, load_artifact
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from training.params import TrainParams
from training.train import run

POLICY = Path(__file__).resolve().parents[2] / "policies" / "morocco.yaml"


@dataclass(frozen=True)
class Small:
    """The folders of a small trained world, and what they hold."""

    data: Path
    folder: Path
    artifact: Artifact
    market: Market
    policy: Path


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """300 items, 60 people, about 6,000 events over 28 days, the last 5 held out; no text encoder."""
    root = tmp_path_factory.mktemp("small")
    world = generate(WorldParams(n_items=300, n_users=60, n_events=6_000))
    tables = {"creators": world.creators, "items": world.items, "users": world.users, "events": world.events}
    write_dataset(root / "data", **tables)
    run(root / "data", root / "artifact", TrainParams(encoder=None, holdout_days=5.0), ENDS_AT + 18 * HOUR)
    artifact = load_artifact(root / "artifact")
    return Small(root / "data", root / "artifact", artifact, load_market(POLICY), POLICY)
