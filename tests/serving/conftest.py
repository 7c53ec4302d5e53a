"""A small market, trained for real, and the service over it with a clock that stands still."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recsys.clock import DAY, Millis, from_text
from recsys.data.tables import write_dataset
from serving.app import create_app
from serving.deadline import MAX_DEADLINE_MS
from serving.run import Service, open_engine
from serving.run import open_service as open_running
from serving.settings import Settings
from tests.serving.sockets import KEY
from training.params import TrainParams
from training.train import run

NOON: Millis = from_text("2026-11-20T12:00:00Z")
N_ITEMS, N_CREATORS = 120, 15
PATIENT_MS = MAX_DEADLINE_MS
"""A page's time where a test is not about time: a slow disk must not turn what it looks at into the safe feed."""


@dataclass(slots=True)
class StillClock:
    """A clock that moves when a test says so."""

    at: Millis = NOON

    def __call__(self) -> Millis:
        return self.at


@dataclass(slots=True)
class Clocks:
    """The wall clock, which can be set, and the one that only counts on."""

    wall: Millis = NOON
    elapsed: Millis = 5_000

    def wait(self, ms: Millis) -> None:
        """Both go on."""
        self.wall += ms
        self.elapsed += ms


def _write(folder: Path) -> None:
    """Every 10th item is R2, every 3rd supportive; half of the creators live in Morocco; u0 to u3 liked things."""
    numbers = range(N_ITEMS)
    write_dataset(
        folder,
        creators=pl.DataFrame(
            {
                "creator_id": [f"c{n}" for n in range(N_CREATORS)],
                "country": ["MA" if n % 2 == 0 else "FR" for n in range(N_CREATORS)],
            }
        ),
        items=pl.DataFrame(
            {
                "item_id": [f"v{n}" for n in numbers],
                "creator_id": [f"c{n % N_CREATORS}" for n in numbers],
                "published_at": [NOON - (n + 2) * DAY for n in numbers],
                "title": [f"a video about thing {n}" for n in numbers],
                "language": ["fr"] * N_ITEMS,
                "topics": [["S3"] if n % 3 == 0 else [] for n in numbers],
                "risk_tier": ["R2" if n % 10 == 9 else "R0" for n in numbers],
                "risk_family": ["despair" if n % 10 == 9 else None for n in numbers],
                "risk_source": ["partner"] * N_ITEMS,
            },
            schema_overrides={"topics": pl.List(pl.String), "risk_family": pl.String},
        ),
        users=pl.DataFrame(
            {
                "user_id": ["u0", "u1", "u2", "u3", "quiet", "teen"],
                "country": ["MA"] * 6,
                "languages": [["fr"]] * 6,
                "age_band": ["18+"] * 5 + ["13-15"],
                "age_source": ["verified"] * 6,
            }
        ),
        events=pl.DataFrame(
            [
                {"event_id": f"e{u}-{k}", "user_id": f"u{u}", "kind": "like", "at": NOON - k * DAY,
                 "item_id": f"v{(7 * u + 11 * k) % N_ITEMS}"}
                for u in range(4)
                for k in range(1, 11)
            ]
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of the small market, without a text space."""
    folder = tmp_path_factory.mktemp("market")
    _write(folder / "data")
    run(folder / "data", folder / "artifact", TrainParams(holdout_days=0, encoder=None), NOON)
    return folder / "artifact"


@pytest.fixture
def settings(artifact: Path, tmp_path: Path) -> Settings:
    """Settings over the small market, with a state file of its own, on a free port, without service keys."""
    return Settings(artifact=artifact, state=tmp_path / "state.db", port=0, deadline_ms=PATIENT_MS)


@pytest.fixture
def clock() -> StillClock:
    """Noon, until a test moves it."""
    return StillClock()


def _local(app: object, address: str = "127.0.0.1", **more: object) -> TestClient:
    return TestClient(app, "http://127.0.0.1:8000", client=(address, 5_000), **more)


def _app_of(service: Service, settings: Settings) -> FastAPI:
    return create_app(
        service.models,
        settings=settings,
        clock=service.clock,
        metrics=service.metrics,
        reload_rules=service.reloader.read_rules,
    )


Local = Callable[..., TestClient]
Open = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def local() -> Local:
    """Turns an app into a client that calls it from this machine."""
    return _local


@pytest.fixture
def open_service(settings: Settings, clock: StillClock, local: Local) -> Open:
    """`with open_service(key=value) as client:` is one life of the service, with a clock that an operator confirmed."""

    @contextmanager
    def do(**changed: object) -> Iterator[TestClient]:
        chosen = replace(settings, **{"clock_confirmed_at": clock.at, **changed})
        with (
            open_running(chosen, clock=clock) as service,
            local(_app_of(service, chosen)) as client,
        ):
            yield client

    return do


@pytest.fixture
def clocks() -> Clocks:
    """Noon, five seconds after the machine started."""
    return Clocks()


@pytest.fixture
def start(settings: Settings, local: Local, clocks: Clocks) -> Open:
    """`with start(key=value) as client:` is one life of the service by `clocks`, which nobody confirmed."""

    @contextmanager
    def do(**changed: object) -> Iterator[TestClient]:
        chosen = replace(settings, **changed)
        with (
            open_running(chosen, clock=lambda: clocks.wall, elapsed=lambda: clocks.elapsed) as service,
            local(_app_of(service, chosen)) as client,
        ):
            yield client

    return do


@pytest.fixture
def client(open_service: Open) -> Iterator[TestClient]:
    """The service, called from this machine."""
    with open_service() as opened_client:
        yield opened_client


@pytest.fixture(scope="module")
def shared_client(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One service for all tests of a file: for those that read, or are refused."""
    state = tmp_path_factory.mktemp("shared") / "state.db"
    chosen = Settings(artifact=artifact, state=state, port=0, deadline_ms=PATIENT_MS)
    clock = StillClock()
    with open_engine(chosen, clock=clock) as engine, _local(create_app(engine, settings=chosen, clock=clock)) as client:
        yield client


@pytest.fixture(scope="module")
def keyed(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A service that asks for a key."""
    state = tmp_path_factory.mktemp("limits") / "state.db"
    keys = (hashlib.sha256(KEY.encode()).hexdigest(),)
    return Settings(artifact=tiny_folder, state=state, port=0, keys=keys, max_in_flight=4)
