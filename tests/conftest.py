"""
What tests of several packages share: a tiny demo world, trained once for real, and the whole engine over it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import settings

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.clock import Millis, from_text
from recsys.data.tables import write_dataset
from recsys.experiments.payload import Experiments
from recsys.feed.build import build_engine
from recsys.feed.engine import Engine, feed
from recsys.feed.record import Decision, unpack
from recsys.messages import FeedRequest, FeedResponse
from recsys.models import text
from recsys.models.artifact import Artifact, ArtifactContents, load_artifact, save_artifact
from recsys.models.ials import IALSParams
from recsys.models.text import TextParams
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from recsys.services.events import accept_events
from recsys.services.items import put_item
from recsys.services.profiles import put_profile
from recsys.stores.memory import MemoryStore
from recsys.stores.protocols import Stores
from recsys.types import Fields
from tests.servers.postgres import Postgres
from tests.servers.postgres import running as running_postgres
from training.models.settings import BlendParams
from training.params import TrainParams
from training.train import run

settings.register_profile("any machine", deadline=None)  # time is measured in benchmarks/, never asserted
settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
EVENING: Millis = from_text("2026-11-20T18:30:00Z")
KEY = b"a key for tests"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak` runs the longer forms of what is marked so."""
    parser.addoption("--soak", action="store_true", help="run the longer forms of tests marked soak")


@pytest.fixture(scope="session")
def is_soak(pytestconfig: pytest.Config) -> bool:
    """Whether the longer forms run."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that every test may make databases on."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact: 300 videos, 100 people, 5,000 events; texts are placed at random, so that no encoder is needed."""
    folder = tmp_path_factory.mktemp("tiny")
    world = generate(WorldParams(n_items=300, n_users=100, n_events=5_000))
    tables = {
        "creators": world.creators,
        "items": world.items_for_readers,
        "users": world.users,
        "events": world.events,
    }
    write_dataset(folder / "data", **tables)
    params = TrainParams(encoder=None, holdout_days=0, blend=BlendParams(ials=IALSParams(embedding_size=16)))
    run(folder / "data", folder / "artifact", params, EVENING)
    return _with_texts(load_artifact(folder / "artifact"), folder / "with-texts")


def _with_texts(made: Artifact, folder: Path) -> Path:
    vectors = np.random.default_rng(0).standard_normal((len(made.items), 16)).astype(np.float32)
    space = text.fit(vectors, made.items["language"].to_list(), TextParams())
    contents = ArtifactContents(
        items=made.items, creators=made.creators, users=made.users, spaces={**made.spaces, "text": space},
        blend=made.blend, popularity=made.popularity, histories=made.histories, safe_feed=made.safe_feed,
    )  # fmt: skip
    save_artifact(folder, contents, made.manifest)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Artifact:
    """The tiny artifact, loaded."""
    return load_artifact(tiny_folder)


@pytest.fixture(scope="session")
def morocco() -> Market:
    """The market file as shipped."""
    return load_market(ROOT / "policies" / "morocco.yaml")


@pytest.fixture(scope="session")
def strict() -> Market:
    """The second market file as shipped."""
    return load_market(ROOT / "policies" / "strict.yaml")


@dataclass(kw_only=True)
class Service:
    """One engine over its stores, and short ways to use it. `alerts` are the sentences it sent to the operator."""

    engine: Engine
    store: Any
    alerts: list[str] = field(default_factory=list)

    def ask(self, user_id: str = "casa-adult", at: Millis = EVENING, **fields: object) -> FeedResponse:
        """One page."""
        return self.send(FeedRequest(user_id=user_id, **fields), at)

    def send(self, request: FeedRequest, at: Millis = EVENING) -> FeedResponse:
        """One page, as a client decodes it."""
        return msgspec.json.decode(feed(self.engine, request, at).answer, type=FeedResponse)

    def tell(self, *events: Fields, user_id: str = "casa-adult", at: Millis = EVENING) -> int:
        """Reports events that happened now; how many were new."""
        numbered = [{"user_id": user_id, "event_id": f"e{n}-{at}", **event} for n, event in enumerate(events)]
        answer = accept_events(self.engine, numbered, at)
        assert not answer.rejected, answer.rejected
        return answer.accepted

    def is_adult(self, user_id: str) -> "Service":
        """Gives a person a verified age of 18 and more, in Morocco, understanding everything."""
        languages = ["ary", "ary-Latn", "ar", "fr", "zgh", "en"]
        fields = {"age_band": "18+", "age_source": "verified", "country": "MA", "languages": languages}
        put_profile(self.engine, user_id, fields, EVENING)
        return self

    def edit(self, item_id: str, at: Millis = EVENING, **fields: object) -> None:
        """Changes columns of an item over the wire."""
        row = self.store.catalogue.get(item_id).fields
        known = {name: value for name, value in row.items() if name not in ("item_id", "published_at")}
        put_item(self.store.catalogue, item_id, {**known, **fields}, at)

    def decisions(self, user_id: str = "casa-adult") -> list[Decision]:
        """The person's records, oldest first."""
        return [unpack(stored.decision) for stored in self.store.decisions.of_user(user_id)]

    def broken(self, **parts: object) -> "Service":
        """The same engine with other stores (users, events ...) or other parts (resources ...)."""
        stores = {name: part for name, part in parts.items() if name in Stores.__slots__}
        others = {name: part for name, part in parts.items() if name not in stores}
        changed = replace(self.engine, stores=replace(self.engine.stores, **stores), **others)
        return replace(self, engine=changed)


@pytest.fixture(scope="session")
def make_service(tiny: Artifact, morocco: Market) -> Callable[..., Service]:
    """Makes an engine over fresh stores in memory (or those given) and the tiny artifact."""

    def make(
        store: Any = None,
        *,
        artifact: Artifact = tiny,
        market: Market = morocco,
        experiments: Experiments | None = None,
        ids: Sequence[str] | None = None,
    ) -> Service:
        store, alerts, numbers = store or MemoryStore(), [], itertools.count()
        names = None if ids is None else iter(ids)
        engine = build_engine(
            artifact, market, experiments or Experiments(),
            stores=store.stores, key=KEY,
            new_id=lambda: next(names) if names else f"r{next(numbers)}", at=EVENING, alert=alerts.append,
        )  # fmt: skip
        return Service(engine=engine, store=store, alerts=alerts)

    return make


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """The engine over fresh stores."""
    return make_service()


@pytest.fixture(scope="session")
def evening() -> Millis:
    """An evening after the last event of the tiny world, by day for everyone."""
    return EVENING
