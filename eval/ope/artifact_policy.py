"""
What an artifact would have shown in the place of logged choices: the engine of the service plans each page again.

A page of the engine has one random part, the explored slot: each of n candidates comes there with probability 1/n. All
n pages are looked at, so that the probabilities are exact. Where a policy explores several slots of a page, the first
is looked at so, and the others are as the engine draws them.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

import numpy as np
import polars as pl

from eval.offline.replay import offline_engine
from eval.ope.outcome import expected_rewards
from eval.ope.pages import ServedLog
from eval.ope.rounds import Choices, Target
from recsys.clock import from_text
from recsys.errors import DataError
from recsys.feed.engine import Engine
from recsys.feed.plan import Plan, select_again
from recsys.messages import FeedRequest
from recsys.models.artifact import Artifact
from recsys.policy.schema import Market
from recsys.progress import Progress, quiet
from recsys.safety.ledger import RUN
from recsys.types import Fields, Longs, Reals

MIN_KNOWN_SHARE: Final = 0.5
"""The share of a log's choices whose items an artifact must know; below, it is the log of another catalogue."""

_NOTHING: Final = -1


def target_of_artifact(
    log: ServedLog, artifact: Artifact, market: Market, seen: pl.DataFrame, seed: int, on_progress: Progress = quiet
) -> tuple[Target, tuple[str, ...]]:
    """
    The artifact's probabilities of what was logged, and alerts of its engine. `seen` (user_id, item_id, at): when each
    person met an item first.

    Raises:  DataError for a log of another catalogue.
    """
    _check_catalogue(log, artifact)
    alerts: list[str] = []
    engine = offline_engine(artifact, market, from_text(artifact.manifest.created_at), alerts)
    met = {user_id: part for (user_id,), part in seen.partition_by("user_id", as_dict=True).items()}
    numbers = {item: number for number, item in enumerate(log.rounds.action_ids)}
    starts = np.flatnonzero(np.diff(log.rounds.slates, prepend=_NOTHING))
    parts: list[tuple[Longs, Longs, Reals, Reals]] = []
    for n_done, rows in enumerate(np.split(np.arange(len(log.rounds)), starts[1:]), start=1):
        first = log.frame.row(int(rows[0]), named=True)
        plan = engine.plan(_request(first, engine, met, is_explored_only=log.is_explored_only), first["at"])
        alerts += plan.alerts
        pages = _numbered(possible_pages(plan), engine, numbers)
        places = log.rounds.positions[rows] - 1
        if log.is_explored_only:
            pages, places = pages[:, explored_places(plan)[:1]], np.zeros(len(rows), np.int64)
        parts.append(_probabilities(pages, places, log.rounds.actions[rows], rows))
        on_progress("plan", n_done, len(starts))
    situations, actions, chances, chosen = (np.concatenate(column) for column in zip(*parts, strict=True))
    choices = Choices(
        situation_of=np.arange(len(log.rounds)), situations=situations, actions=actions, probabilities=chances
    )
    direct, predicted = expected_rewards(log.rounds, choices, log.rounds.rewards, seed)
    placed = choices.of(log.rounds.actions)
    return Target(chosen=chosen, placed=placed, direct=direct, predicted=predicted), tuple(dict.fromkeys(alerts))


def _check_catalogue(log: ServedLog, artifact: Artifact) -> None:
    share = log.frame["item_id"].is_in(artifact.items["item_id"].implode()).sum() / len(log.frame)
    if share < MIN_KNOWN_SHARE:
        raise DataError(
            f"found {share:.0%} of the logged choices about items that the artifact knows, expected nearly all: it is "
            "the log of another catalogue; name the log and the artifact of one catalogue"
        )


def _request(row: Fields, engine: Engine, met: Mapping[str, pl.DataFrame], *, is_explored_only: bool) -> FeedRequest:
    """The request of a logged page. What the person had met before, and what was published later, is excluded."""
    items, at = engine.resources.catalogue_cache.items, row["at"]
    user_id = row["user_id"]
    before = met[user_id].filter(pl.col("at") < at)["item_id"].to_list() if user_id in met else []
    later = (items.item_ids[n] for n in np.flatnonzero(items.published_at > at))
    return FeedRequest(
        user_id=user_id,
        size=max(row["size"], RUN) if is_explored_only else row["size"],  # a run has its explored place somewhere
        request_id=f"ope-{row['request_id']}",
        exclude_ids=tuple({*before, *later}),
    )


@cache
def seeds_drawing(n: int) -> tuple[int, ...]:
    """For each j < n a seed of a generator that draws j first, of n."""
    found: dict[int, int] = {}
    seed = 0
    while len(found) < n:
        found.setdefault(int(np.random.default_rng(seed).integers(n)), seed)
        seed += 1
    return tuple(found[j] for j in range(n))


def explored_places(plan: Plan) -> Longs:
    """The explored places of a page, from 0."""
    return np.flatnonzero(plan.selection.is_exploration).astype(np.int64)


def possible_pages(plan: Plan) -> Longs:
    """(n, size) item numbers of the pages that a plan could have become, each equally likely; -1 where one is short."""
    explored = explored_places(plan)
    rows = [plan.selection.rows]
    if len(explored):
        n = round(1 / float(plan.selection.propensities[explored[0]]))
        rows = [select_again(plan, np.random.default_rng(seed)).rows for seed in seeds_drawing(n)]
    pages = np.full((len(rows), max(map(len, rows))), _NOTHING, np.int64)
    for page, chosen in zip(pages, rows, strict=True):
        page[: len(chosen)] = plan.candidates.item_nos[chosen]
    return pages


def _numbered(pages: Longs, engine: Engine, numbers: Mapping[str, int]) -> Longs:
    """The pages in numbers of the log's actions; -1 for what was never logged."""
    ids = engine.resources.catalogue_cache.items.item_ids
    unique, place = np.unique(pages, return_inverse=True)
    values = [numbers.get(ids[n], _NOTHING) if n >= 0 else _NOTHING for n in unique.tolist()]
    return np.array(values, np.int64)[place].reshape(pages.shape)


def _probabilities(pages: Longs, places: Longs, logged: Longs, rows: Longs) -> tuple[Longs, Longs, Reals, Reals]:
    """
    Of k logged choices of a page: what may come at each place as rows (situation, action, probability), and the
    probability (k,) of each logged action given those before it.
    """
    situations, actions, chances = [], [], []
    fits, given = np.ones(len(pages), np.bool_), np.zeros(len(rows))
    for j, (row, place) in enumerate(zip(rows.tolist(), places.tolist(), strict=True)):
        at_place = pages[:, place] if place < pages.shape[1] else np.full(len(pages), _NOTHING)
        values, counts = np.unique(at_place, return_counts=True)
        situations.append(np.full(len(values), row))
        actions.append(values)
        chances.append(counts / len(pages))
        n_before = fits.sum()
        fits = fits & (at_place == logged[j])
        given[j] = fits.sum() / n_before if n_before else 0.0
    return np.concatenate(situations), np.concatenate(actions), np.concatenate(chances), given
