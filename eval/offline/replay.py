"""
Held-out people, asked for as of their time: what each ranking would have shown them.

| ranking    | what it is |
|------------|------------|
| engine     | a page of the full engine under the policy: caps, gaps, floors, spacing, one explored slot |
| score      | the same candidates by the same score, without the slot rules |
| no_local   | the same, scored without the weight for local items: what locality costs is measured against it |
| popularity | what the person's market acts on most |

All four choose from the same items: those that every filter lets through and that the person had not met before.
The ledger is empty, as for someone who comes back after a week: caps bind within the page only.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from eval.offline.locality import Seen, seen_by, without_local
from eval.offline.split import Person
from recsys.catalogue.items import Items
from recsys.clock import Millis, from_text
from recsys.experiments.payload import Experiments
from recsys.feed import scorers as score
from recsys.feed.build import build_engine
from recsys.feed.catchup import PendingUpdates
from recsys.feed.context import resolve_context
from recsys.feed.engine import Engine, feed
from recsys.feed.pipeline import for_surface, recommend
from recsys.feed.query import Query
from recsys.messages import FeedRequest, FeedResponse
from recsys.metrics import EMPTY, Pages, Reals, auc
from recsys.models.artifact import Artifact
from recsys.policy.schema import Market
from recsys.progress import Progress, quiet
from recsys.stores.memory import MemoryStore
from recsys.types import Ids, Mask, rank_order

RANKINGS: Final = ("engine", "score", "no_local", "popularity")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replayed:
    """
    What q people would have been shown. Item numbers are those of `items`.

    Shapes: `pages` by ranking (q, k), `EMPTY` where short; `is_relevant`, `is_local` likewise, slot by slot; `order`
            by ranking (q,) the chance that an item the person wanted stands above one they were shown and left;
            `n_relevant`, `n_liked` (q,); `liked_local`, `offered_local` (q,) shares of local items in what the person
            liked before and in what could be shown; `n_offered` (n_items,) for how many people an item was eligible;
            `country`, `region`, `age_band` (q,).
    """

    people: tuple[Person, ...]
    items: Items
    pages: Mapping[str, Pages]
    is_relevant: Mapping[str, Mask]
    is_local: Mapping[str, Mask]
    order: Mapping[str, Reals]
    n_relevant: NDArray[np.int64]
    n_liked: NDArray[np.int64]
    liked_local: Reals
    offered_local: Reals
    n_offered: NDArray[np.int64]
    country: tuple[str, ...]
    region: tuple[str | None, ...]
    age_band: tuple[str, ...]
    notices: tuple[str, ...]
    seen: tuple[Seen, ...]  # what the report on locality is made of
    wanted: tuple[Ids, ...]
    at: Millis


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """One person's answer."""

    pages: Mapping[str, Ids]
    is_local: Mapping[str, Mask]  # slot by slot
    order: Mapping[str, float]
    wanted: Ids
    liked_local: float
    offered_local: float
    country: str
    region: str | None
    age_band: str
    seen: Seen


def offline_engine(artifact: Artifact, market: Market, at: Millis, alert: list[str]) -> Engine:
    """The engine of the service over stores in memory, without experiments; its alerts go to `alert`."""
    store, ids = MemoryStore(), itertools.count()
    return build_engine(
        artifact,
        market,
        Experiments(),
        users=store.users,
        log=store.events,
        catalogue=store.catalogue,
        key=b"offline",
        new_id=lambda: f"offline-{next(ids)}",
        at=at,
        alert=alert.append,
    )


def replay(
    artifact: Artifact, market: Market, people: Sequence[Person], *, k: int, on_progress: Progress = quiet
) -> Replayed:
    """Pages of `k` for every person and ranking. Takes about 20 ms a person on a catalogue of 3,000."""
    alerts: list[str] = []
    engine = offline_engine(artifact, market, from_text(artifact.manifest.created_at), alerts)
    items = engine.resources.catalogue_cache.items
    numbers = np.zeros(len(artifact.items), np.int32)
    numbers[items.row[items.row >= 0]] = np.flatnonzero(items.row >= 0)
    n_offered = np.zeros(len(items), np.int64)
    asked: list[_Asked] = []
    for done, person in enumerate(people):
        answer, is_offered = _ask(engine, person, numbers, k)
        n_offered += is_offered
        asked.append(answer)
        on_progress("replay", done + 1, len(people))
    return _gathered(tuple(people), items, asked, n_offered, k, tuple(dict.fromkeys(alerts)))


def _ask(engine: Engine, person: Person, numbers: Ids, k: int) -> tuple[_Asked, Mask]:
    """What one person would be shown, and (n_items,) what they could be shown. `numbers` by artifact row."""
    items, pipeline = engine.resources.catalogue_cache.items, for_surface("for_you")
    left_out = np.union1d(numbers[person.known], np.flatnonzero(items.published_at > person.at))
    request = FeedRequest(
        user_id=person.user_id,
        size=k,
        request_id=f"eval-{person.user_id}",
        exclude_ids=tuple(items.item_ids[n] for n in left_out),
        explain="none",
        dry_run=True,
    )
    state = engine.users.read(person.user_id, request.request_id or "").state
    turn = resolve_context(engine.resources, request, state, PendingUpdates(items), pipeline, person.at)
    query = turn.query
    candidates = recommend(pipeline, query).candidates
    answer = msgspec.json.decode(feed(engine, request, person.at).answer, type=FeedResponse)
    is_local, plain = query.nearness.is_local, without_local(query, candidates)
    pages = {
        "engine": np.array([items.index[item.item_id] for item in answer.items], np.int32),
        "score": candidates.item_nos[:k],
        "no_local": plain.item_nos[:k],
        "popularity": _most_popular(query, k),
    }
    asked = _Asked(
        pages=pages,
        is_local={name: is_local[page] for name, page in pages.items()},
        order=_order(query, numbers[person.wanted], numbers[person.shown]),
        wanted=numbers[person.wanted],
        liked_local=_mean(is_local[numbers[person.liked]]),
        offered_local=_mean(is_local[query.is_eligible]),
        country=query.viewer.country,
        region=query.viewer.region,
        age_band=query.viewer.age_band,
        seen=seen_by(query, candidates, plain, pages, numbers[person.liked], turn.supply, turn.at, k),
    )
    return asked, query.is_eligible


def _most_popular(query: Query, k: int) -> Ids:
    eligible = np.flatnonzero(query.is_eligible).astype(np.int32)
    popular = score.popular(query, query.whole)[eligible]
    return eligible[rank_order(popular, eligible)][:k]


def _without_local(query: Query) -> Query:
    return replace(query, weights={**query.weights, "local": 0.0})


def _order(query: Query, wanted: Ids, shown: Ids) -> Mapping[str, float]:
    """
    By ranking, the chance that a wanted item scores above one that was shown and not wanted.

    Both were shown, so it does not matter whom the log liked to show; items that a filter removes are left out. The
    engine has no score of its own: NaN.
    """
    numbers = shown[query.is_eligible[shown]]
    is_wanted = np.isin(numbers, wanted)
    candidates = query.whole.take(numbers.astype(np.intp))
    parts = {f"p_{name}": scorer(query, candidates) for name, scorer in score.SCORERS.items()}
    candidates = candidates.with_columns(parts)
    scores = {
        "score": score.value(query, candidates),
        "no_local": score.value(_without_local(query), candidates),
        "popularity": score.popular(query, candidates),
    }
    return {"engine": float("nan")} | {name: auc(values, is_wanted) for name, values in scores.items()}


def _gathered(
    people: tuple[Person, ...],
    items: Items,
    asked: Sequence[_Asked],
    n_offered: NDArray[np.int64],
    k: int,
    notices: tuple[str, ...],
) -> Replayed:
    pages = {name: np.stack([_filled(one.pages[name], k, EMPTY) for one in asked]) for name in RANKINGS}
    hits = {
        name: np.stack([np.isin(page, one.wanted) for page, one in zip(pages[name], asked, strict=True)])
        for name in RANKINGS
    }
    return Replayed(
        people=people,
        items=items,
        pages=pages,
        is_relevant=hits,
        is_local={name: np.stack([_filled(one.is_local[name], k, False) for one in asked]) for name in RANKINGS},
        order={name: np.array([one.order[name] for one in asked]) for name in RANKINGS},
        n_relevant=np.array([len(one.wanted) for one in asked]),
        n_liked=np.array([len(person.liked) for person in people]),
        liked_local=np.array([one.liked_local for one in asked]),
        offered_local=np.array([one.offered_local for one in asked]),
        n_offered=n_offered,
        country=tuple(one.country for one in asked),
        region=tuple(one.region for one in asked),
        age_band=tuple(one.age_band for one in asked),
        notices=notices,
        seen=tuple(one.seen for one in asked),
        wanted=tuple(one.wanted for one in asked),
        at=max(person.at for person in people),
    )


def _filled(page: NDArray[Any], k: int, empty: int | bool) -> NDArray[Any]:
    filled = np.full(k, empty, page.dtype)
    filled[: len(page)] = page
    return filled


def _mean(mask: Mask) -> float:
    return float(mask.mean()) if len(mask) else float("nan")
