"""
The taste of a dataset: the parts, the weights of their blend, and what stays of them in the artifact.

The last windows of time are first kept back: parts that know only what came before say what they would have shown, and
what people then went on to want decides the weights. After that the parts that stay are fitted again on everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from recsys.clock import Millis
from recsys.data.tables import Dataset
from recsys.models import ials, neighbours
from recsys.models.base import Part, Popular
from recsys.models.blend import POPULARITY, UNJUDGED, Blend, Learned, judge, learn, learn_markets, personal, stacked
from recsys.models.ials import FactorSpace, IALSParams
from recsys.models.neighbours import EASEParams, FilterParams, NextParams
from recsys.models.popularity import Popularity, PopularityParams
from recsys.models.reranker import use_of
from recsys.models.spectral import LowPassParams
from recsys.progress import Progress, quiet
from training.interactions import Interactions
from training.models.folds import windows
from training.models.registry import Observed, families
from training.models.reranker import NO_LOOK, Look, learn_look, look, stacked_looks

FACTORS: Final = "ials"
"""Always fitted and kept: the space that related items and new ones are placed in, whatever it weighs in the blend."""


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
    names = [name for name in blend.parts if name != POPULARITY]
    parts = _fitted(names, seen, params, seed, quiet)
    if POPULARITY in blend.parts:
        parts[POPULARITY] = Popular(popular.scores)
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
    kept = [name for name in (*params.parts, POPULARITY) if judged.needs(name)]
    parts = _fitted(
        [*(name for name in kept if name != POPULARITY), *({FACTORS} - {*kept})], seen, params, seed, on_progress
    )
    factors = parts[FACTORS]
    assert isinstance(factors, FactorSpace)
    if POPULARITY in kept:
        parts[POPULARITY] = Popular(popular.scores)
    second = judged.look.over(judged.names, use_of(seen.positives))
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
    """From what people wanted in the last windows of time."""
    share, judges = params.valid_share, params.judges
    found = list(windows(dataset, seen, by_market, before, share=share, judges=judges, seed=seed))
    if not found:
        return _UNJUDGED
    parts = [
        _fitted(params.parts, window.early, params, seed, on_progress) | {POPULARITY: Popular(window.popular.scores)}
        for window in found
    ]
    on_progress("weights", 0, None)
    names = [name for name in parts[0] if all(name in each for each in parts)]  # a part may suit one size alone
    parts = [{name: each[name] for name in names} for each in parts]
    pairs = list(zip(found, parts, strict=True))
    table = stacked([judge(each, window.tastes, window.wanted, params.k, window.people) for window, each in pairs])
    learned = personal(table, learn(table, params.k), params.k)
    markets = learn_markets(table, [name for window in found for name in window.markets], learned, params.k)
    on_progress("second look", 0, None)
    tables = []
    for window, each in pairs:
        blend = Blend(each, learned.weights, window.popular.markets, markets)
        use = use_of(window.early.positives)
        tables.append(look(blend, use, window.tastes, window.people, window.wanted))
    second = learn_look(stacked_looks(tables), params.k, np.random.default_rng([seed, 2]))
    return _Judged(names=tuple(names), learned=learned, by_market=markets, look=second)


def _fitted(
    names: Sequence[str], seen: Interactions, params: TasteParams, seed: int, on_progress: Progress
) -> dict[str, Part]:
    """Each part that suits the size, by name."""
    signed = seen.signed()
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
    return ials.fit(seen.signed(), params.ials, np.random.default_rng(seed))
