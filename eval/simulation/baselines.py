"""
Feeds that rank without a ledger, over candidates and scores of the real pipeline.

They stand on an engine without R1 and R2 labels, so that it learns from all engagement, as a ranker without risk labels
does. They add two things: a source with more of what the person watches longest, and a predictor of watch time in the
score. The predictor is how long the person watched each theme (a family of R2, else a topic) against their own mean.
The filters stay: never-served tiers (R3, R4), ages, languages, and what was seen. Everything else is the ranker's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import process_time
from typing import Final

import msgspec
import numpy as np

from eval.simulation.closed_loop import PageAnswer
from eval.simulation.personas import Event, Member
from eval.simulation.rankers import MAX_CANDIDATES, Ranker, RankerInput
from recsys.clock import Millis
from recsys.feed.context import RequestContext
from recsys.feed.engine import Engine
from recsys.feed.events import record_page
from recsys.feed.pipeline import for_surface, recommend
from recsys.feed.query import Query
from recsys.feed.slate import Supply, delivered, select
from recsys.messages import FeedRequest
from recsys.policy.limits import Limits
from recsys.policy.nights import is_night
from recsys.safety.copies import distinct
from recsys.safety.ledger import deliver, touch
from recsys.services.events import accept_events
from recsys.services.profiles import put_profile
from recsys.types import Candidates, Floats, Ids, Longs, Reals, Rows, Viewer, rank_order
from recsys.user.state import Ledger

WATCH_WEIGHT: Final = 25.0  # of score per whole video watched: watch time decides, the score breaks ties
N_FAVOURITE_THEMES: Final = 3  # of which more is retrieved
PRIOR_VIEWS: Final = 3.0  # views of a theme that count as average before any is observed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CatalogueLabels:
    """By item_id: the number of the theme, and whether the item counts as R2."""

    theme: Mapping[str, int]
    is_r2: Mapping[str, bool]
    n_themes: int


@dataclass(slots=True, kw_only=True, eq=False)
class CapsOnly:
    """
    Sanad's caps and gaps alone (no floors, levels or R2 constant) under another ranker's score: the effect of the
    ledger when the ranker wants as much R2 as it can get. `labelled` is an engine over the catalogue with labels.
    Without `keeps_ledger` the ledger is empty at the start of every page.
    """

    labelled: Engine
    keeps_ledger: bool = True
    ledgers: dict[str, Ledger] = field(default_factory=dict)

    def select_rows(self, candidates: Candidates, query: Query, size: int, at: Millis) -> Rows:
        """Rows of the candidates, which come best first."""
        user_id = query.viewer.user_id
        labelled = self._with_labels(candidates, query)
        ledger = touch(self.ledgers.get(user_id, Ledger()), at, query.market.session)
        rows = select(
            labelled, ledger=ledger, limits=self._limits(query.viewer, at),
            supply=Supply(supportive=0, local=0, local_share=0.0), supply_factor=0.0, size=size, at=at,
            rng=np.random.default_rng(0), explore_slots=0,
        ).rows  # fmt: skip
        after = deliver(ledger, delivered(labelled, rows, at), at)
        self.ledgers[user_id] = after if self.keeps_ledger else Ledger()
        return rows

    def _with_labels(self, candidates: Candidates, query: Query) -> Candidates:
        resources = self.labelled.resources
        cache, now = resources.catalogue_cache, resources.exposure.now
        kind = cache.for_viewer(cache.items, resources.model, query.viewer, now, is_minor=query.is_minor)
        return candidates.with_columns(kind.rules.take(candidates.item_nos).columns)

    def _limits(self, viewer: Viewer, at: Millis) -> Limits:
        policy = self.labelled.resources.policy
        by_day = policy.limits[viewer.age_band, 0, False]
        limits = policy.limits[viewer.age_band, 0, is_night(at, policy.zones(viewer.country), by_day.night)]
        return replace(limits, supportive_floor=0.0, local_floor=0.0)


@dataclass(slots=True, kw_only=True, eq=False)
class BaselineFeed:
    """
    A ranker as a feed. `engine` knows no R1 and R2 labels; the score goes without the policy's weights.

    `watched` by user_id: (2, n_themes) watch fractions added up, and views.
    """

    engine: Engine
    ranker: Ranker
    labels: CatalogueLabels
    learns_themes: bool = True
    caps: CapsOnly | None = None
    watched: dict[str, Reals] = field(default_factory=dict)
    theme_of_item: Longs | None = None

    def join(self, member: Member, at: Millis) -> None:
        """See `Feed.join`."""
        put_profile(self.engine, member.user_id, member.profile, at)

    def tell(self, events: Sequence[Event], at: Millis) -> None:
        """See `Feed.tell`: the engine learns from all events, and the watch time of each theme is added up."""
        accept_events(self.engine, events, at)
        for event in events:
            if event["kind"] == "view":
                totals = self.watched.setdefault(event["user_id"], np.zeros((2, self.labels.n_themes)))
                totals[:, self.labels.theme[event["item_id"]]] += event["watch_fraction"], 1.0

    def ask(self, request: FeedRequest, at: Millis) -> PageAnswer:
        """See `Feed.ask`."""
        started = process_time()
        context = self.engine.context(request, at)
        candidates, ranked = self._ranked(request, context.query)
        if self.caps is None:
            rows = self.ranker(ranked, request.size)
        else:
            rows = self.caps.select_rows(candidates, context.query, request.size, context.at)
        self._record(request.user_id, context, candidates, rows)
        cpu_us = (process_time() - started) * 1e6
        item_ids = tuple(context.query.items.item_ids[number] for number in candidates.item_nos[rows])
        return PageAnswer(item_ids=item_ids, pause=None, response=None, cpu_us=cpu_us)

    def _ranked(self, request: FeedRequest, query: Query) -> tuple[Candidates, RankerInput]:
        """The candidates best first, one copy of each video, and what the ranker sees of them."""
        query = replace(query, weights={**query.weights, "local": 0.0, "supportive": 0.0})
        pipeline = for_surface(request.surface)
        if self.learns_themes:
            pipeline = replace(pipeline, sources={**pipeline.sources, "watched": self._favourites})
        candidates = recommend(pipeline, query).candidates
        candidates = candidates.take(np.fromiter(distinct(candidates.columns, range(len(candidates))), np.intp))
        scores = self._scores(request.user_id, candidates, query)
        order = np.argsort(-scores, kind="stable")
        candidates = candidates.take(order)
        return candidates, self._ranker_input(request.user_id, candidates, scores[order], query)

    def _scores(self, user_id: str, candidates: Candidates, query: Query) -> Floats:
        themes = self._themes(query)[candidates.item_nos]
        extra = WATCH_WEIGHT * self._theme_effects(user_id)[themes] if self.learns_themes else np.zeros(len(themes))
        return np.asarray(candidates["score"] + extra, np.float32)

    def _ranker_input(self, user_id: str, candidates: Candidates, scores: Floats, query: Query) -> RankerInput:
        item_ids = [query.items.item_ids[number] for number in candidates.item_nos]
        seconds, _ = self._totals(user_id)
        return RankerInput(
            scores=scores,
            vectors=_vectors(self.engine, query.items.row[candidates.item_nos]),
            themes=self._themes(query)[candidates.item_nos],
            is_r2=np.array([self.labels.is_r2[item_id] for item_id in item_ids], np.bool_),
            history_shares=seconds / seconds.sum() if seconds.any() else seconds,
        )

    def _record(self, user_id: str, context: RequestContext, candidates: Candidates, rows: Rows) -> None:
        """Stores the page as seen, with an empty ledger: no earlier delivery bounds a later page."""
        state = record_page(context.state, delivered(candidates, rows, context.at), context.at, context.query.market)
        state = msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, ledger=Ledger()))
        self.engine.stores.users.write_if(user_id, state, self.engine.stores.users.read(user_id).version)

    def _totals(self, user_id: str) -> Reals:
        return self.watched.get(user_id, np.zeros((2, self.labels.n_themes)))

    def _theme_effects(self, user_id: str) -> Reals:
        """(n_themes,) how much longer than their mean the person watches each theme, shrunk by `PRIOR_VIEWS`."""
        seconds, views = self._totals(user_id)
        mean = seconds.sum() / max(1.0, views.sum())
        return np.asarray((seconds + PRIOR_VIEWS * mean) / (views + PRIOR_VIEWS) - mean)

    def _favourites(self, query: Query) -> Ids:
        """A source: the most popular items of the themes that the person watches longest; none before a view."""
        effects = self._theme_effects(query.viewer.user_id)
        if not effects.any():
            return np.empty(0, np.int32)
        best = np.argsort(-effects, kind="stable")[:N_FAVOURITE_THEMES]
        eligible = np.flatnonzero(query.is_eligible & np.isin(self._themes(query), best)).astype(np.int32)
        popularity = query.model.popularity_scores(query.viewer.country, query.items.row[eligible])
        return eligible[rank_order(popularity, eligible)][:MAX_CANDIDATES]

    def _themes(self, query: Query) -> Longs:
        """(n_items,) the theme of every item number, -1 for no item; the catalogue never changes here."""
        if self.theme_of_item is None:
            themes = [self.labels.theme.get(item_id, -1) for item_id in query.items.item_ids]
            self.theme_of_item = np.array(themes, np.int64)
        return self.theme_of_item


def _vectors(engine: Engine, rows: Ids) -> Floats:
    """(n, d) unit vectors of the texts, or of the collaborative space where there are none."""
    spaces = engine.resources.model.spaces
    vectors = np.asarray((spaces.get("text") or spaces["cf"]).space.item_vectors)[np.maximum(rows, 0)]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where((rows[:, None] >= 0) & (lengths > 0), vectors / np.maximum(lengths, 1e-12), 0).astype(np.float32)
