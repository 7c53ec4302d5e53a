"""
The net under a change of the house: what the engine does, frozen as files.

    python tests/golden/freeze.py FOLDER [--artifact ARTIFACT]

writes into FOLDER what two versions of the code must agree on, so that `diff -r` of two folders shows every change:

- `decisions/`: 200 requests of 20 people on a tiny market: each answer, its packed record and its replay;
- `artifact/` and `metrics.json`: a small training run and its evaluation;
- `openapi.json`: the interface's description;
- `demo.txt`: what the demo prints (with --artifact, a folder that `sanad demo` prepared).

Floats may differ in their last bits between processors; compare two folders that one machine made.
"""

import argparse
import hashlib
import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from eval.offline.run import EvalParams, evaluate
from eval.report.write import write
from eval.simulation.world.build import generate
from eval.simulation.world.params import DEMO_PEOPLE, WorldParams
from recsys.clock import HOUR, MINUTE, from_text
from recsys.data.tables import write_dataset
from recsys.experiments.payload import Experiments
from recsys.feed.build import build_engine
from recsys.feed.engine import Engine, feed
from recsys.messages import Context, FeedRequest, FeedResponse
from recsys.models.artifact import load_artifact
from recsys.models.ials import IALSParams
from recsys.policy.checks import load_market
from recsys.services.events import accept_events
from recsys.services.explain import replay
from recsys.services.profiles import put_profile
from recsys.stores.memory import MemoryStore
from serving.app import create_app
from serving.demo import show
from serving.settings import Settings
from training.models.settings import BlendParams
from training.params import TrainParams
from training.train import run

ROOT = Path(__file__).parents[2]
EVENING = from_text("2026-11-20T18:30:00Z")
N_PEOPLE, N_REQUESTS = 20, 200
SURFACES = ("for_you", "for_you", "for_you", "local", "following", "related", "search", "together")
BANDS = ("18+", "18+", "16-17", "13-15", None)


def freeze(folder: Path, prepared: Path | None) -> None:
    """Writes everything into `folder`, which must not be there yet."""
    folder.mkdir(parents=True)
    _train(folder)
    engine, store = _engine(folder / "artifact")
    _decisions(engine, store, folder / "decisions")
    settings = Settings(artifact=folder / "artifact", state=Path("state.db"))
    description = create_app(engine, settings=settings, clock=lambda: EVENING).openapi()
    (folder / "openapi.json").write_bytes(msgspec.json.format(msgspec.json.encode(description), indent=1) + b"\n")
    if prepared is not None:
        said = io.StringIO()
        show(prepared, DEMO_PEOPLE, Console(file=said, width=100, highlight=False, markup=False, emoji=False))
        (folder / "demo.txt").write_text(said.getvalue(), "utf-8")


def _train(folder: Path) -> None:
    world = generate(WorldParams(n_items=400, n_users=150, n_events=9_000))
    tables = {"creators": world.creators, "items": world.items, "users": world.users, "events": world.events}
    write_dataset(folder / "data", **tables)
    params = TrainParams(encoder=None, holdout_days=3, blend=BlendParams(ials=IALSParams(embedding_size=16)))
    run(folder / "data", folder / "artifact", params, EVENING)
    policy = ROOT / "policies" / "morocco.yaml"
    report, market = evaluate(folder / "artifact", folder / "data", policy, EvalParams(k=10, n_people=100))
    write(report, market, folder / "report")
    shutil.rmtree(folder / "data")


def _engine(artifact: Path) -> tuple[Engine, MemoryStore]:
    store = MemoryStore()
    engine = build_engine(
        load_artifact(artifact), load_market(ROOT / "policies" / "morocco.yaml"), Experiments(),
        stores=store.stores, key=b"a key for the net",
        new_id=lambda: "unused", at=EVENING,
    )  # fmt: skip
    return replace(engine, timer=float), store  # a timer that stands still: `took_ms` is always 0


def _decisions(engine: Engine, store: MemoryStore, folder: Path) -> None:
    """200 requests as people might send them, with events between them; every answer, record and replay as a file."""
    folder.mkdir()
    rng = np.random.default_rng(11)
    item_ids = load_artifact(folder.parent / "artifact").items["item_id"].to_list()
    known = load_artifact(folder.parent / "artifact").users["user_id"].to_list()
    people = [*known[: N_PEOPLE - 5], *(f"new-{n}" for n in range(5))]
    for n, user_id in enumerate(people[::2]):
        fields = {
            "age_band": BANDS[n % len(BANDS)],
            "age_source": "verified",
            "country": "MA",
            "languages": ["ary", "fr"],
        }
        put_profile(engine, user_id, {k: v for k, v in fields.items() if v is not None}, EVENING)
    at, lines = EVENING, []
    for n in range(N_REQUESTS):
        at += int(rng.choice([MINUTE, 10 * MINUTE, HOUR, 7 * HOUR]))
        request = _request(n, people[int(rng.integers(len(people)))], item_ids, rng)
        answer = feed(engine, request, at).answer
        page = msgspec.json.decode(answer, type=FeedResponse)
        record = store.users.read(request.user_id, request.request_id).answer
        assert record is not None
        again = replay(engine, f"q{n}", request.user_id)
        (folder / f"{n:03}.json").write_bytes(msgspec.json.format(answer, indent=1) + b"\n")
        lines.append(f"{n:03} {hashlib.sha256(record.decision).hexdigest()} {again['identical']} {len(page.items)}")
        _react(engine, page, rng, at + MINUTE)
    (folder / "records.txt").write_text("\n".join(lines) + "\n", "utf-8")


def _request(n: int, user_id: str, item_ids: list[str], rng: np.random.Generator) -> FeedRequest:
    surface: Any = SURFACES[int(rng.integers(len(SURFACES)))]
    return FeedRequest(
        user_id=user_id,
        request_id=f"q{n}",
        size=int(rng.choice([5, 10, 20, 20, 50])),
        surface=surface,
        context=Context(country="MA", region="MA-06") if rng.random() < 0.5 else Context(),
        mode="personalised" if rng.random() < 0.9 else "non_personalised",
        query="la vie" if surface == "search" else None,
        anchor_item_id=item_ids[int(rng.integers(len(item_ids)))] if surface == "related" else None,
        candidate_ids=tuple(item_ids[:150]) if rng.random() < 0.1 else None,
        explain=("none", "reasons", "full")[int(rng.integers(3))],
    )


def _react(engine: Engine, page: FeedResponse, rng: np.random.Generator, at: int) -> None:
    """Some of a page is watched, liked or refused a minute later."""
    kinds = ("view", "complete", "like", "not_interested", "too_much", "helped")
    events = [
        {"event_id": f"{page.request_id}-{item.position}", "user_id": page.user_id, "item_id": item.item_id,
         "kind": str(rng.choice(kinds, p=[0.4, 0.3, 0.1, 0.1, 0.01, 0.09]))}
        for item in page.items
        if rng.random() < 0.3
    ]  # fmt: skip
    if events:
        answer = accept_events(engine, events, at)
        assert not answer.rejected, answer.rejected


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--artifact", type=Path, help="a folder that `sanad demo --prepare` filled")
    chosen = parser.parse_args()
    freeze(chosen.folder, chosen.artifact)
