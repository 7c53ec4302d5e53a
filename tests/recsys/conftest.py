"""What the tests of the ledger, the slate and the validator share: the market, made-up candidates, a dumb recount."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from ctypes import CDLL
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

from recsys import kernels
from recsys.clock import DAY, HOUR, MINUTE, Millis
from recsys.feed.slate import Selection, delivered, select
from recsys.models.artifact import Artifact, ArtifactContents, save_artifact
from recsys.models.ranker import FeatureScale, RankerHead, RankerHeads
from recsys.policy.checks import load_market
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.limits import Limits
from recsys.policy.schema import Market
from recsys.safety.floors import Supply
from recsys.safety.ledger import deliver, server_time, touch
from recsys.types import Candidates
from recsys.user.seen import add_delivered
from recsys.user.state import Delivery, Ledger, Seen
from recsys.vocabulary import FAMILIES, HEADS

POLICY = Path(__file__).parents[2] / "policies" / "morocco.yaml"
START: Millis = 1_790_000_000_000
STEPS = (
    0, 1, 1_000, MINUTE, 20 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, 2 * HOUR, 9 * HOUR,
    DAY - 1, DAY, DAY + 1, 3 * DAY, 7 * DAY, 7 * DAY + 1, -5_000, -2 * DAY,
)  # fmt: skip


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> CDLL:
    """The compiled loops, built from their source of now."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("found no C compiler, expected one to build recsys/kernels/native.c; install gcc or clang")
    file = tmp_path_factory.mktemp("kernels") / "native.so"
    flags = ["-std=c11", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run([compiler, *flags, *map(str, kernels.SOURCES), "-o", str(file), "-lm"], check=True)
    library = kernels.open_library(file)
    assert library is not None
    return library


@pytest.fixture(scope="session")
def market() -> Market:
    return load_market(POLICY)


@pytest.fixture(scope="session")
def policy(market) -> CompiledPolicy:
    return CompiledPolicy(market)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One delivery as the dumb recount sees it: what, under which limits, in which session."""

    delivery: Delivery
    limits: Limits
    session: int


def _is_of(delivery: Delivery, counter: str) -> bool:
    if counter == "S4":
        return delivery.is_s4
    if counter == "R1":
        return delivery.tier == 1
    if counter == "R1+R2":
        return delivery.tier >= 1
    if counter == "R2":
        return delivery.tier >= 2
    return delivery.tier >= 2 and delivery.family == FAMILIES.index(counter.removeprefix("R2:"))


def _caps(limits: Limits, counter: str) -> tuple[int, int, int, int]:
    windows = limits.windows.get("R2" if counter.startswith("R2:") else counter)
    names = ("last_20", "session", "rolling_24h", "rolling_7d")
    caps = [10**6 if windows is None or getattr(windows, name) is None else getattr(windows, name) for name in names]
    caps = [int(np.ceil(cap / 2)) for cap in caps] if counter.startswith("R2:") else caps
    return (caps[0], caps[1], caps[2], caps[3])


def _dumb_recount(history: Sequence[Shown]) -> list[str]:
    """Counts every window that ends at every delivery, over everything ever delivered."""
    wrong = []
    everything = [shown.delivery for shown in history]
    for counter in ("R1", "R2", "R1+R2", "S4", *(f"R2:{family}" for family in FAMILIES)):
        counted = [n for n, delivery in enumerate(everything) if _is_of(delivery, counter)]
        for m, n in enumerate(counted):
            past, now, limits = counted[: m + 1], everything[n].at, history[n].limits
            found = (
                sum(p > n - 20 for p in past),
                sum(history[p].session == history[n].session for p in past),
                sum(everything[p].at >= now - DAY for p in past),
                sum(everything[p].at >= now - 7 * DAY for p in past),
            )
            caps = _caps(limits, counter)
            wrong += [f"{counter} at {n}: {f} > {c}" for f, c in zip(found, caps, strict=True) if f > c]
            if m and n - counted[m - 1] - 1 < limits.gaps.get(counter, 0):
                wrong.append(f"{counter} at {n}: gap of {n - counted[m - 1] - 1}")
    for n, shown in enumerate(history):
        same = sum(d.creator_no == everything[n].creator_no for d in everything[max(0, n - 19) : n + 1])
        if same > (20 if shown.limits.creator_last_20 is None else shown.limits.creator_last_20):
            wrong.append(f"creator {everything[n].creator_no} at {n}: {same}")
    return wrong


@pytest.fixture(scope="session")
def dumb_recount() -> Callable[[Sequence[Shown]], list[str]]:
    """Whatever exceeds a cap anywhere in a whole history, as text; empty when nothing does."""
    return _dumb_recount


def _candidates(rng: np.random.Generator, n: int, first: int = 0, n_creators: int = 1_000) -> Candidates:
    """`n` candidates of every kind, best first, numbered from `first`; a tenth are copies, by any evidence."""
    tier = rng.choice([0, 1, 2], n, p=rng.dirichlet([2, 1, 1]))
    copies = {name: np.where(rng.random(n) < 0.1, rng.integers(1, 4, n), 0)
              for name in ("hash_no", "creator_text_no", "duration_text_no")}  # fmt: skip
    return Candidates(
        (np.arange(n) + first).astype(np.int32),
        {
            "tier": tier,
            "family": np.where(tier == 2, rng.integers(-1, len(FAMILIES), n), -1),
            "is_s4": rng.random(n) < 0.1,
            "is_supportive": (tier == 0) & (rng.random(n) < 0.5),
            "is_local": rng.random(n) < 0.3,
            "creator_no": rng.integers(0, n_creators, n),
            **copies,
            "arrival": rng.permutation(n),
            "is_hashed": rng.random(n) < 0.5,
            "is_explorable": (tier == 0) & (rng.random(n) < 0.2),
            "is_new_creator": np.zeros(n, np.bool_),
            "topics": rng.integers(0, 1 << 12, n),
        },
    )


@pytest.fixture(scope="session")
def make_candidates() -> Callable[..., Candidates]:
    return _candidates


class Person:
    """Somebody who scrolls, with everything ever delivered kept beside the ledger."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.ledger = Ledger()
        self.seen = Seen()
        self.at = START
        self.session = 0
        self.history: list[Shown] = []

    def wait(self, step: Millis) -> None:
        """Time passes (or the clock goes back), then a request arrives."""
        before = self.ledger.session_started_at
        self.ledger = touch(self.ledger, self.at + step, self.market.session)
        self.at = server_time(self.ledger, self.at + step)
        self.session += self.ledger.session_started_at != before

    def page(self, candidates: Candidates, limits: Limits, size: int, seed: int = 0, **kw: object) -> Selection:
        """Selects a page, without delivering it."""
        options = {"supply": Supply(supportive=20, local=20, local_share=0.3), "supply_factor": 1.5} | kw
        return select(
            candidates,
            ledger=self.ledger,
            limits=limits,
            size=size,
            at=self.at,
            rng=np.random.default_rng(seed),
            **({"explore_slots": 1} | options),
        )

    def take(self, page: Sequence[Delivery], limits: Limits) -> None:
        """Delivers a page."""
        self.ledger = deliver(self.ledger, page, self.at)
        self.seen = add_delivered(self.seen, [d.item_no for d in page], self.at, self.market.session.seen_days)
        self.history += [Shown(delivery=d, limits=limits, session=self.session) for d in page]

    def scroll(self, candidates: Candidates, limits: Limits, size: int, **kw: object) -> Selection:
        """Selects a page and delivers it."""
        chosen = self.page(candidates, limits, size, **kw)
        self.take(delivered(candidates, chosen.rows, self.at), limits)
        return chosen


@pytest.fixture(scope="session")
def somebody(market) -> Callable[[], Person]:
    """A new person."""
    return lambda: Person(market)


@pytest.fixture(scope="session")
def steps() -> Sequence[Millis]:
    """Pauses between two pages: around the ends of every window, and clocks that go back."""
    return STEPS


@pytest.fixture(scope="session")
def ranked_tiny(tiny: Artifact, tmp_path_factory) -> Path:
    """The tiny artifact with heads that were fitted on noise: their quality is not tested here, only how it is used."""
    import lightgbm

    from recsys.models.features import feature_names

    names = feature_names(tiny.spaces)
    rng = np.random.default_rng(0)
    table = rng.standard_normal((400, len(names))).astype(np.float32)
    heads = {}
    for n, name in enumerate(HEADS):
        data = lightgbm.Dataset(table, (table[:, n] + rng.standard_normal(400) > 0).astype(int))
        trees = lightgbm.train({"objective": "binary", "num_leaves": 4, "verbosity": -1, "num_threads": 1}, data, 5)
        heads[name] = RankerHead(
            coefficients=rng.normal(0, 0.1, len(names)).astype(np.float32), booster=trees if n % 2 else None, slope=1.5,
            intercept=-1.0, prior=0.1 + n / 100,
        )  # fmt: skip
    ranker = RankerHeads(
        features=names, scale=FeatureScale(table.mean(axis=0), table.std(axis=0)), heads=heads,
        rates=rng.random((len(tiny.items), 8)).astype(np.float32),
        item_features=rng.random((len(tiny.items), 40)).astype(np.float32), mixing_weight=0.5, base_scale=0.6,
        head_scale=4.0,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("ranked") / "artifact"
    save_artifact(folder, _contents(tiny, ranker), msgspec.structs.replace(tiny.manifest, features=names))
    return folder


@pytest.fixture(scope="session")
def contents_of() -> Callable[[Artifact, RankerHeads], ArtifactContents]:
    """An artifact's contents with these heads."""
    return _contents


def _contents(tiny: Artifact, ranker: RankerHeads) -> ArtifactContents:
    return ArtifactContents(
        items=tiny.items, creators=tiny.creators, users=tiny.users, spaces=tiny.spaces, blend=tiny.blend,
        popularity=tiny.popularity, histories=tiny.histories, safe_feed=tiny.safe_feed, ranker=ranker,
    )  # fmt: skip
