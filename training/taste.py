"""
The taste of a dataset: the parts, the weights of their blend, and what stays of them in the artifact.

The last tenth of the events is first kept back: parts that know only what came before say what they would have shown,
and what people then went on to want decides the weights. After that the parts that stay are fitted again on everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import polars as pl
from scipy import sparse

from recsys.clock import Millis
from recsys.models import ials, neighbours, popularity
from recsys.models.blend import UNJUDGED, Blend, Learned, judge, learn, learn_markets
from recsys.models.ials import FactorSpace, IALSParams
from recsys.models.lowpass import LowPassParams
from recsys.models.neighbours import EASEParams, FilterParams, NextParams
from recsys.models.parts import Part, Popular
from recsys.models.popularity import Popularity, PopularityParams
from recsys.models.second_look import SecondLook, use_of
from recsys.models.tastes import Tastes, of_histories
from recsys.progress import Progress, quiet
from recsys.tables import Dataset
from recsys.types import Ids, Rows
from training.families import Observed, families
from training.interactions import UNKNOWN_MARKET, Histories, Interactions, build_interactions
from training.second_look import NO_LOOK, Look, learn_look, look

FACTORS: Final = "ials"
"""Always fitted and kept: the space that related items and new ones are placed in, whatever it weighs in the blend."""

MOST_JUDGED: Final = 10_000_000
"""Wishes that the parts are fitted to when they are judged: beyond it people are drawn, so that time is bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TasteParams:
    """
    Settings of the parts and of what judges them. `k`: the measure is NDCG at k. `parts`: those that are tried, beside
    popularity, which always is.
    """

    parts: tuple[str, ...] = ("filter", "lowpass", FACTORS, "ease", "next")
    filter: FilterParams = field(default_factory=lambda: FilterParams(n_neighbours=100))
    lowpass: LowPassParams = field(default_factory=lambda: LowPassParams(embedding_size=64))
    ials: IALSParams = field(default_factory=lambda: IALSParams(embedding_size=64, reg=0.03, unobserved=0.1, epochs=6))
    ease: EASEParams = field(default_factory=EASEParams)
    next: NextParams = field(default_factory=NextParams)
    valid_share: float = 0.1
    judges: int = 6_000
    k: int = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taste:
    """The blend as it is saved, the factors that are always kept, and what was learned of weights and second look."""

    blend: Blend
    factors: FactorSpace
    learned: Learned
    look: Look

    def over(self, factors: Any) -> Blend:
        """The blend, with this space in the place of the factors: the same, and items placed that nobody wanted yet."""
        parts: dict[str, Part] = {name: factors if name == FACTORS else part for name, part in self.blend.parts.items()}
        return replace(self.blend, parts=parts)


def again(blend: Blend, seen: Interactions, popular: Popularity, params: TasteParams, seed: int) -> Blend:
    """The same blend, its parts fitted to other events and their popularity."""
    names = [name for name in blend.parts if name != "popularity"]
    parts = _fitted(names, seen, params, seed, quiet)
    if "popularity" in blend.parts:
        parts["popularity"] = Popular(popular.scores)
    second = blend.second and replace(blend.second, use=use_of(seen.positives))
    return replace(blend, parts=parts, markets=popular.markets, second=second)


def fit_taste(
    dataset: Dataset,
    seen: Interactions,
    popular: Popularity,
    by_market: PopularityParams,
    params: TasteParams,
    before: Millis | None,
    seed: int,
    on_progress: Progress,
) -> Taste:
    """
    The taste of everything `seen` (events before `before`). Without enough to judge by, popularity alone.

    `popular` was fitted to `seen`; `by_market` are its settings, to fit it to the earlier part too.
    """
    judged = _judged(dataset, seen, by_market, params, before, seed, on_progress)
    kept = [name for name in (*params.parts, "popularity") if judged.needs(name)]
    parts = _fitted([name for name in params.parts if name in kept or name == FACTORS], seen, params, seed, on_progress)
    factors = parts[FACTORS]
    assert isinstance(factors, FactorSpace)
    if "popularity" in kept:
        parts["popularity"] = Popular(popular.scores)
    trees, offset = judged.look.trees, judged.look.offset
    second = SecondLook(trees, offset, judged.names, use_of(seen.positives)) if trees else None
    blend = Blend(
        {name: parts[name] for name in kept}, judged.learned.weights, popular.markets, judged.by_market, second
    )
    return Taste(blend=blend, factors=factors, learned=judged.learned, look=judged.look)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What was learned of the parts `names`: weights, those of markets, and the second look, which reads them all."""

    names: tuple[str, ...]
    learned: Learned
    by_market: Mapping[str, Mapping[str, float]]
    look: Look

    def needs(self, name: str) -> bool:
        """Whether the blend reads a part."""
        is_looked_at = self.look.trees is not None and name in self.names
        return is_looked_at or any(name in weights for weights in (self.learned.weights, *self.by_market.values()))


_UNJUDGED: Final = _Judged(names=(), learned=UNJUDGED, by_market={}, look=NO_LOOK)


def _judged(
    dataset: Dataset,
    seen: Interactions,
    by_market: PopularityParams,
    params: TasteParams,
    before: Millis | None,
    seed: int,
    on_progress: Progress,
) -> _Judged:
    """From what people wanted in the last part of the events."""
    since = split_at(dataset, params.valid_share, before)
    if since is None:
        return _UNJUDGED
    whole = build_interactions(dataset, before=since, on_progress=on_progress)
    some = people_within(whole.positives, MOST_JUDGED, seed)
    early, wanted = of_people(whole, some), wanted_later(seen.positives[some], whole.positives[some])
    people = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(early.histories.indptr) > 0))
    people = np.sort(np.random.default_rng(seed).permutation(people)[: params.judges])
    if not len(people):
        return _UNJUDGED
    popular = popularity.fit(early.market_positives, names_of(early), by_market)
    parts = _fitted(params.parts, early, params, seed, on_progress) | {"popularity": Popular(popular.scores)}
    on_progress("weights", 0, None)
    tastes, right = tastes_of(early, popular.markets)[people], wanted[people]
    table = judge(parts, tastes, right, params.k)
    learned = learn(table, params.k)
    markets = learn_markets(table, [names_of(early)[code] for code in early.user_markets[people]], learned, params.k)
    on_progress("second look", 0, None)
    blend = Blend(parts, learned.weights, popular.markets, markets)
    looked = look(blend, use_of(early.positives), tastes, people, right)
    found = learn_look(looked, params.k, np.random.default_rng([seed, 2]))
    return _Judged(names=tuple(parts), learned=learned, by_market=markets, look=found)


def _fitted(
    names: Sequence[str], seen: Interactions, params: TasteParams, seed: int, on_progress: Progress
) -> dict[str, Part]:
    """Each part that suits the size, by name."""
    signed = sparse.csr_matrix(seen.positives - seen.negatives, dtype=np.float32)
    flat, known = seen.histories, {family.name: family for family in families()}
    parts: dict[str, Part] = {}
    for name in names:
        on_progress(name, 0, None)
        if name == "next":
            parts[name] = neighbours.fit_next(flat.indptr, flat.items, flat.weights, signed.shape[1], params.next)
        elif known[name].suits(signed):
            parts[name] = known[name].fit(Observed(signed), getattr(params, name), np.random.default_rng(seed))
    return parts


def fit_factors(seen: Interactions, params: TasteParams, seed: int) -> FactorSpace:
    """The factors alone."""
    signed = sparse.csr_matrix(seen.positives - seen.negatives, dtype=np.float32)
    return ials.fit(signed, params.ials, np.random.default_rng(seed))


def split_at(dataset: Dataset, share: float, before: Millis | None) -> Millis | None:
    """Where the last share of the events about items begins; None without events of two instants."""
    events = dataset.events if before is None else dataset.events.filter(pl.col("at") < before)
    about = events.filter(pl.col("item_id").is_not_null() & (pl.col("kind") != "impression")).select("at")
    first, since = about.select(
        first=pl.col("at").min(), since=pl.col("at").quantile(1 - share, "higher")
    ).collect(engine="streaming").row(0)  # fmt: skip
    return None if since is None or since <= first else int(since)


def wanted_later(now: Any, before: Any) -> Any:
    """CSR: the entries of `now` that `before` lacks, as ones."""
    fresh = sparse.csr_matrix(now > 0, dtype=np.float32) - sparse.csr_matrix(before > 0, dtype=np.float32)
    fresh.data = np.maximum(fresh.data, 0)  # decay never makes an entry of `before` go, but a refusal may
    fresh.eliminate_zeros()
    return fresh


def people_within(positives: Any, most: int, seed: int) -> Rows:
    """Everybody, or as many people at random as have `most` wishes together: more would not change the weights."""
    counts = np.diff(positives.indptr)
    if counts.sum() <= most:
        return np.arange(len(counts))
    order = np.random.default_rng([seed, 1]).permutation(len(counts))
    return np.sort(order[np.cumsum(counts[order]) <= most])


def of_people(seen: Interactions, rows: Rows) -> Interactions:
    """What was learned from some people alone; statistics of markets stay those of all."""
    flat = seen.histories
    counts = np.diff(flat.indptr)
    is_kept = np.repeat(np.isin(np.arange(len(counts)), rows), counts)
    ends = np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64)
    return replace(
        seen,
        user_ids=tuple(seen.user_ids[row] for row in rows),
        positives=seen.positives[rows],
        negatives=seen.negatives[rows],
        histories=Histories(ends, flat.items[is_kept], flat.weights[is_kept], flat.at[is_kept]),
        user_markets=seen.user_markets[rows],
    )


def names_of(seen: Interactions) -> list[str | None]:
    """The markets by position, None for the unknown one."""
    return [None if name == UNKNOWN_MARKET else name for name in seen.markets]


def tastes_of(seen: Interactions, markets: Sequence[str]) -> Tastes:
    """Everybody's taste, their market as a row of the popularity that has these markets."""
    rows = {name: row for row, name in enumerate(markets)}
    of_code = np.array([rows.get(name, len(markets)) for name in seen.markets], np.int32)
    owners: Ids = of_code[seen.user_markets]
    flat = seen.histories
    return of_histories(flat.indptr, flat.items, flat.weights, len(seen.item_ids), owners)
