"""
What other rankers would show: watch time only, MMR, calibration and a cap per page, over candidates and scores of the
real pipeline.

They stand on an engine that was given no R1 and R2 labels, so that it learns from all engagement, as a ranker does that
knows no risk. To its sources they add more of what the person watches longest, and to its score a predictor of watch
time: how long they watched each theme (a family of R2, else a topic) so far, against their own mean. What never may be
served (R3, R4), ages, languages and what was seen are filtered as ever: everything else is the ranker's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import process_time
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from eval.simulation.closed_loop import Answer
from eval.simulation.personas import Member
from eval.simulation.world.model import Reals, Whole
from recsys.clock import Millis
from recsys.feed.engine import Engine
from recsys.feed.events import record_page
from recsys.feed.pipeline import for_surface, recommend
from recsys.feed.query import Query
from recsys.feed.slate import Supply, delivered, select
from recsys.messages import FeedRequest
from recsys.policy.compiled import is_night
from recsys.safety.ledger import deliver, touch
from recsys.services.events import accept_events
from recsys.services.profiles import put_profile
from recsys.types import Candidates, Floats, Ids, Mask, Rows, rank_order
from recsys.user.state import Ledger

MANY: Final = 200  # candidates that a re-ranker looks at
WATCH_WEIGHT: Final = (
    25.0  # of score per whole video watched: what is watched longest comes first, the rest breaks ties
)
FAVOURITES: Final = 3  # themes of which more is fetched
DOUBT: Final = 3.0  # views of a theme that count as average before any is seen
MMR_LAMBDA: Final = 0.7
CALIBRATION_LAMBDA: Final = 0.5
SMOOTHING: Final = 0.01  # Steck 2018: a theme that the page lacks keeps this much of its wanted share
CAP: Final = 2
CAP_OF: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranked:
    """
    n candidates, best first. Shapes: `scores` (n,); `vectors` (n, d) unit length or zero; `themes` (n,) numbers of
    topic and family; `is_r2` (n,) by label; `wanted` (n_themes,) shares of the person's watching, all 0 at first.
    """

    scores: Floats
    vectors: Floats
    themes: Whole
    is_r2: Mask
    wanted: Reals


Ranker = Callable[[Ranked, int], Rows]


def score_only(ranked: Ranked, size: int) -> Rows:
    """The best scores."""
    return np.arange(min(size, len(ranked.scores)))


def mmr(ranked: Ranked, size: int) -> Rows:
    """Carbonell and Goldstein 1998: score against the nearest item that is on the page already."""
    worth, vectors = _scaled(ranked.scores[:MANY]), ranked.vectors[:MANY]
    nearest: Reals = np.zeros(len(worth))
    chosen: list[int] = []
    for _ in range(min(size, len(worth))):
        gain = MMR_LAMBDA * worth - (1 - MMR_LAMBDA) * nearest
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return np.array(chosen, np.intp)


def calibrated(ranked: Ranked, size: int) -> Rows:
    """Steck 2018, greedy: the page's mean score against its divergence from the themes of the person's history."""
    worth, themes, wanted = _scaled(ranked.scores[:MANY]), ranked.themes[:MANY], ranked.wanted
    if not wanted.any():
        return score_only(ranked, size)
    counts: Reals = np.zeros(len(wanted))
    total, chosen = 0.0, list[int]()
    for n in range(1, min(size, len(worth)) + 1):
        after = counts + np.eye(len(wanted))[themes]  # (candidates, themes)
        gain = (1 - CALIBRATION_LAMBDA) * (total + worth) / n - CALIBRATION_LAMBDA * _divergence(wanted, after / n)
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        counts[themes[chosen[-1]]] += 1
        total += worth[chosen[-1]]
    return np.array(chosen, np.intp)


def capped_per_page(ranked: Ranked, size: int) -> Rows:
    """The best scores with at most 2 R2 items in every 10 places of the page; the next page starts anew."""
    chosen: list[int] = []
    rest = list(range(len(ranked.scores)))
    n_r2 = 0
    while rest and len(chosen) < size:
        n_r2 = 0 if len(chosen) % CAP_OF == 0 else n_r2
        row = next((row for row in rest if n_r2 < CAP or not ranked.is_r2[row]), None)
        if row is None:
            break
        rest.remove(row)
        chosen.append(row)
        n_r2 += int(ranked.is_r2[row])
    return np.array(chosen, np.intp)


def _scaled(scores: Floats) -> Reals:
    """To [0, 1], best 1."""
    spread = float(scores.max(initial=0) - scores.min(initial=0)) if len(scores) else 0.0
    return np.asarray((scores - scores.min()) / spread if spread > 0 else np.ones(len(scores)), np.float64)


def _divergence(wanted: Reals, shown: Reals) -> Reals:
    """(n,) Kullback-Leibler divergence of (n, themes) shares from the wanted ones."""
    mixed = (1 - SMOOTHING) * shown + SMOOTHING * wanted
    is_wanted = wanted > 0
    return np.asarray((wanted[is_wanted] * np.log(wanted[is_wanted] / mixed[:, is_wanted])).sum(axis=1))


RANKERS: Final[Mapping[str, Ranker]] = {
    "watch time only": score_only,
    "calibrated to history": calibrated,
    "MMR, lambda 0.7": mmr,
    "at most 2 R2 in 10 of a page": capped_per_page,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """What the catalogue says of its items, by id: the theme's number, and whether the item counts as R2."""

    theme: Mapping[str, int]
    is_r2: Mapping[str, bool]
    n_themes: int


@dataclass(slots=True, kw_only=True, eq=False)
class Caps:
    """
    Sanad's caps and gaps alone (no floors, levels or rule about R2's score) under another ranker's score: what the
    ledger does when the ranker wants as much R2 as it can get. `labelled` is an engine over the catalogue with labels.
    """

    labelled: Engine
    keeps_ledger: bool = True
    ledgers: dict[str, Ledger] = field(default_factory=dict)

    def choose(self, candidates: Candidates, query: Query, size: int, at: Millis) -> Rows:
        """Rows of the candidates, which come best first."""
        known, user_id, band = self.labelled.resources, query.viewer.user_id, query.viewer.age_band
        _, whole = known.catalogue_cache.for_viewer(
            known.catalogue_cache.items, query.viewer, known.exposure.now, is_minor=query.is_minor
        )
        labelled = candidates.with_columns({name: c[candidates.item_nos] for name, c in whole.columns.items()})
        ledger = touch(self.ledgers.get(user_id, Ledger()), at, known.policy.market.session)
        by_day = known.policy.limits[band, 0, False]
        limits = known.policy.limits[band, 0, is_night(at, known.policy.zones(query.viewer.country), by_day.night)]
        rows = select(
            labelled, ledger=ledger, limits=replace(limits, supportive_floor=0.0, local_floor=0.0),
            supply=Supply(supportive=0, local=0, local_share=0.0), supply_factor=0.0, size=size, at=at,
            rng=np.random.default_rng(0), explore_slots=0,
        ).rows  # fmt: skip
        after = deliver(ledger, delivered(labelled, rows, at), at)
        self.ledgers[user_id] = after if self.keeps_ledger else Ledger()
        return rows


@dataclass(slots=True, kw_only=True, eq=False)
class Baseline:
    """A ranker as a feed, over an engine that knows no R1 and R2 labels. The weights leave policy out of the score."""

    engine: Engine
    ranker: Ranker
    labels: Labels
    learns_themes: bool = True
    caps: Caps | None = None
    watched: dict[str, Reals] = field(default_factory=dict)  # (2, n_themes) watch fractions added up, and views
    by_number: Whole | None = None

    def join(self, member: Member, at: Millis) -> None:
        """See `Feed.join`."""
        put_profile(self.engine, member.user_id, member.profile, at)

    def tell(self, events: Sequence[Mapping[str, Any]], at: Millis) -> None:
        """See `Feed.tell`: the engine learns from everything, and calibration counts what was watched."""
        accept_events(self.engine, events, at)
        for event in events:
            if event["kind"] == "view":
                mine = self.watched.setdefault(event["user_id"], np.zeros((2, self.labels.n_themes)))
                mine[:, self.labels.theme[event["item_id"]]] += event["watch_fraction"], 1.0

    def ask(self, request: FeedRequest, at: Millis) -> Answer:
        """See `Feed.ask`."""
        started = process_time()
        context = self.engine.context(request, at)
        query = replace(context.query, weights={**context.query.weights, "local": 0.0, "supportive": 0.0})
        pipeline = for_surface(request.surface)
        if self.learns_themes:
            pipeline = replace(pipeline, sources={**pipeline.sources, "watched": self._more})
        candidates = recommend(pipeline, query).candidates
        _, firsts = np.unique(candidates["cluster_no"], return_index=True)  # one copy of each video
        candidates = candidates.take(np.sort(firsts))
        item_ids = [query.items.item_ids[number] for number in candidates.item_nos]
        ranked = self._ranked(request.user_id, candidates, item_ids, query.items.row[candidates.item_nos])
        order = np.argsort(-ranked.scores, kind="stable")
        candidates, item_ids = candidates.take(order), [item_ids[row] for row in order]
        ranked = Ranked(
            scores=ranked.scores[order], vectors=ranked.vectors[order], themes=ranked.themes[order],
            is_r2=ranked.is_r2[order], wanted=ranked.wanted,
        )  # fmt: skip
        if self.caps is None:
            rows = self.ranker(ranked, request.size)
        else:
            rows = self.caps.choose(candidates, query, request.size, context.at)
        state = record_page(context.state, delivered(candidates, rows, context.at), context.at, query.market)
        # without a ledger: nothing that was shown before bounds anything
        state = msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, ledger=Ledger()))
        self.engine.users.write_if(request.user_id, state, self.engine.users.read(request.user_id).version)
        micros = (process_time() - started) * 1e6
        return Answer(item_ids=tuple(item_ids[row] for row in rows), pause=None, response=None, micros=micros)

    def _liking(self, user_id: str) -> Reals:
        """(n_themes,) how much longer than usual the person watches each theme, as far as can be told."""
        seconds, views = self.watched.get(user_id, np.zeros((2, self.labels.n_themes)))
        mean = seconds.sum() / max(1.0, views.sum())
        return np.asarray((seconds + DOUBT * mean) / (views + DOUBT) - mean)

    def _more(self, query: Query) -> Ids:
        """A source: the most popular of the themes that the person watches longest; nothing before the first view."""
        liking = self._liking(query.viewer.user_id)
        if not liking.any():
            return np.empty(0, np.int32)
        best = np.argsort(-liking, kind="stable")[:FAVOURITES]
        mine = np.flatnonzero(query.is_eligible & np.isin(self._themes(query), best)).astype(np.int32)
        popular = query.model.popular(query.viewer.country, query.items.row[mine])
        return mine[rank_order(popular, mine)][:MANY]

    def _themes(self, query: Query) -> Whole:
        """(n_items,) the theme of every item number, -1 for no item; the catalogue never changes here."""
        if self.by_number is None:
            self.by_number = np.array(
                [self.labels.theme.get(item_id, -1) for item_id in query.items.item_ids], np.int64
            )
        return self.by_number

    def _ranked(self, user_id: str, candidates: Candidates, item_ids: Sequence[str], rows: NDArray[Any]) -> Ranked:
        """The candidates as a ranker sees them, in any order."""
        seconds, _ = self.watched.get(user_id, np.zeros((2, self.labels.n_themes)))
        themes = np.array([self.labels.theme[item_id] for item_id in item_ids], np.int64)
        learned = WATCH_WEIGHT * self._liking(user_id)[themes] if self.learns_themes else np.zeros(len(themes))
        return Ranked(
            scores=(candidates["score"] + learned).astype(np.float32),
            vectors=_vectors(self.engine, rows),
            themes=themes,
            is_r2=np.array([self.labels.is_r2[item_id] for item_id in item_ids], np.bool_),
            wanted=seconds / seconds.sum() if seconds.any() else seconds,
        )


def _vectors(engine: Engine, rows: NDArray[Any]) -> Floats:
    """(n, d) unit vectors of the texts, or of the collaborative space where there are none."""
    spaces = engine.resources.model.spaces
    vectors = np.asarray((spaces.get("text") or spaces["cf"]).space.item_vectors)[np.maximum(rows, 0)]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where((rows[:, None] >= 0) & (lengths > 0), vectors / np.maximum(lengths, 1e-12), 0).astype(np.float32)
