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
from recsys.clock import Millis, from_text
from recsys.errors import DataError
from recsys.feed.engine import Engine
from recsys.feed.plan import Plan, select_again
from recsys.messages import FeedRequest
from recsys.models.artifact import Artifact
from recsys.policy.schema import Market
from recsys.progress import Progress, quiet
from recsys.safety.ledger import RUN
from recsys.types import Event, Fields, Longs, Reals

MIN_KNOWN_SHARE: Final = 0.5
"""The share of a log's choices whose items an artifact must know; below, it is the log of another catalogue."""

_NOTHING: Final = -1


def target_of_artifact(
    log: ServedLog, artifact: Artifact, market: Market, events: pl.DataFrame, seed: int, on_progress: Progress = quiet
) -> tuple[Target, tuple[str, ...]]:
    """
    The artifact's probabilities of what was logged, and alerts of its engine. `events` are all of the log's people.

    Raises:  DataError for a log of another catalogue.
    """
    _check_catalogue(log, artifact)
    alerts: list[str] = []
    engine = offline_engine(artifact, market, from_text(artifact.manifest.created_at), alerts)
    past = Past(engine, events, known_until(artifact))
    numbers = {item: number for number, item in enumerate(log.rounds.action_ids)}
    parts: list[tuple[Longs, Longs, Reals]] = []
    chosen = np.zeros(len(log.rounds))
    pages_of_log = pages_in_time(log)
    for n_done, rows in enumerate(pages_of_log, start=1):
        first = log.frame.row(int(rows[0]), named=True)
        plan = engine.plan(past.request(first, is_explored_only=log.is_explored_only), first["at"])
        alerts += plan.alerts
        pages = _numbered(possible_pages(plan), engine, numbers)
        places = log.rounds.positions[rows] - 1
        if log.is_explored_only:
            pages, places = pages[:, explored_places(plan)[:1]], np.zeros(len(rows), np.int64)
        situations, actions, chances, chosen[rows] = _probabilities(pages, places, log.rounds.actions[rows], rows)
        parts.append((situations, actions, chances))
        on_progress("plan", n_done, len(pages_of_log))
    situations, actions, chances = (np.concatenate(column) for column in zip(*parts, strict=True))
    choices = Choices(
        situation_of=np.arange(len(log.rounds)), situations=situations, actions=actions, probabilities=chances
    )
    direct, predicted = expected_rewards(log.rounds, choices, log.rounds.rewards, seed)
    placed = choices.of(log.rounds.actions)
    return Target(chosen=chosen, placed=placed, direct=direct, predicted=predicted), tuple(dict.fromkeys(alerts))


def known_until(artifact: Artifact) -> Millis:
    """The instant until which an artifact learned."""
    return from_text(artifact.manifest.cutoff or artifact.manifest.created_at)


def pages_in_time(log: ServedLog) -> list[Longs]:
    """The rows of each page, the oldest page first."""
    starts = np.flatnonzero(np.diff(log.rounds.slates, prepend=_NOTHING))
    pages = np.split(np.arange(len(log.rounds)), starts[1:])
    at = log.frame["at"].to_numpy()
    return sorted(pages, key=lambda rows: int(at[rows[0]]))


class Past:
    """
    What people had done before each page, told to the engine as history: models fold it in and it counts as seen, and
    no ledger knows it. Pages must be asked for in order of time.
    """

    def __init__(self, engine: Engine, events: pl.DataFrame, known_until: Millis) -> None:
        by_user = events.sort("at").partition_by("user_id", as_dict=True)
        self.events = {str(user_id): part for (user_id,), part in by_user.items()}
        self.engine, self.known_until = engine, known_until
        self.told: dict[str, int] = {}

    def request(self, row: Fields, *, is_explored_only: bool) -> FeedRequest:
        """
        The request of a logged page, after what happened before it. What the person had met and what was published
        later is excluded.
        """
        items, user_id, at = self.engine.resources.catalogue_cache.items, row["user_id"], row["at"]
        mine = self.events.get(user_id)
        before = [] if mine is None else self._tell(user_id, mine, at)
        later = (items.item_ids[n] for n in np.flatnonzero(items.published_at > at))
        return FeedRequest(
            user_id=user_id,
            size=max(row["size"], RUN) if is_explored_only else row["size"],  # a run has its explored place somewhere
            request_id=f"ope-{row['request_id']}",
            exclude_ids=tuple({*before, *later}),
        )

    def _tell(self, user_id: str, mine: pl.DataFrame, at: Millis) -> list[str]:
        """Appends what happened since the last page; returns the items that were met before this one."""
        n_before = int(mine["at"].search_sorted(at, side="left"))
        known = self.engine.resources.catalogue_cache.items.index
        new = mine[self.told.get(user_id, 0) : n_before].filter(pl.col("at") >= self.known_until)
        told = [Event(**fields, is_history=True) for fields in new.iter_rows(named=True)]
        told = [event for event in told if event.item_id is None or event.item_id in known]
        if told:
            self.engine.stores.events.append(told, at)
        self.told[user_id] = n_before
        return mine["item_id"][:n_before].drop_nulls().unique().to_list()


def _check_catalogue(log: ServedLog, artifact: Artifact) -> None:
    share = log.frame["item_id"].is_in(artifact.items["item_id"].implode()).sum() / len(log.frame)
    if share < MIN_KNOWN_SHARE:
        raise DataError(
            f"found {share:.0%} of the logged choices about items that the artifact knows, expected nearly all: it is "
            "the log of another catalogue; name the log and the artifact of one catalogue"
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
