"""
A weighted sum of unlike models, and how its weights are learned from what people went on to want.

Every part is standardised over the catalogue for each person, so weights do not depend on anyone's number of reactions.
The weights maximise the very measure that is reported (NDCG at k) on a validation part, by a search one weight at a
time. A measure that was maximised flatters: so each half of the people chooses, and judges what the other half chose.
The blend is the mean of both choices, which wavers less than either, without the parts whose gain is within its error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recsys.metrics import ndcg
from recsys.models.base import Part
from recsys.models.interactions import Tastes
from recsys.models.reranker import SecondLook
from recsys.topk import top_k
from recsys.types import Floats, Mask, Rows

_STEPS: Final = (0.0, 0.5, 0.7, 0.85, 1.2, 1.4, 2.0)
"""What a weight is multiplied by, one step of the search."""

_ENTRY: Final = (0.03, 0.1, 0.3, 0.6, 1.0)
"""What a part that stands at zero is tried with, as shares of the largest weight."""

_PERSONAL: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of a blend that are not popularity, as `personal` tries them."""

POPULARITY: Final = "popularity"

OUT: Final = -1e9
"""The score of no candidate: sinks below all others, and can be multiplied by a weight of zero."""

MARKET_PEOPLE: Final = 400
"""A market needs so many judges for weights of its own; with so many it stands half on its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """
    `parts` by name; `weights` of each, above zero somewhere. `by_market`: weights of markets with people enough to
    learn them from; `markets` names the rows that `Tastes.markets` counts in.
    """

    parts: Mapping[str, Part]
    weights: Mapping[str, float]
    markets: tuple[str, ...] = ()
    by_market: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    second: SecondLook | None = None

    def scores(self, tastes: Tastes) -> Floats:
        """(q, n_items) the weighted sum of standardised scores, the best put in order by the second look."""
        total, said = self.said(tastes)
        return total if self.second is None else self.second.reordered(total, said, self.parts, tastes)

    def said(self, tastes: Tastes) -> tuple[Floats, dict[str, Floats]]:
        """(q, n_items) the weighted sum, and the standardised scores of each part."""
        total = np.zeros(tastes.long.shape, np.float32)
        named = (*self.markets, None)  # the last row is the world's
        rows = np.full(len(tastes), -1) if tastes.markets is None else tastes.markets
        of_person = [self.of(named[row]) for row in rows]
        said = {name: standardised(part.scores(tastes)) for name, part in self.parts.items()}
        for name, scores in said.items():
            total += np.array([each.get(name, 0.0) for each in of_person], np.float32)[:, None] * scores
        return total, said

    def of(self, market: str | None) -> Mapping[str, float]:
        """The weights for people of a market."""
        return self.by_market.get(market, self.weights) if market else self.weights


def standardised(scores: Floats) -> Floats:
    """(q, n) each row minus its mean, divided by its standard deviation; zeros for a row of equal scores."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("ij,ij->i", centred, centred) / max(1, centred.shape[1]))
    is_flat = spread <= 1e-7 * np.maximum(np.abs(scores).max(axis=1, initial=0), 1e-30)
    centred *= np.where(is_flat, 0, 1 / np.where(is_flat, 1, spread))[:, None].astype(np.float32)
    return np.asarray(centred)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """
    What the parts said about each person's best candidates, and what the person went on to want.

    Shapes: `features` (q, m, n_parts) standardised scores, `OUT` where a person has fewer than m candidates;
            `is_relevant` (q, m); `n_relevant` (q,) relevant items in all; `people` (q,) their numbers: whoever came
            back twice has two rows, and is one person.
    """

    names: tuple[str, ...]
    features: Floats
    is_relevant: Mask
    n_relevant: NDArray[np.int64]
    people: Rows

    def __len__(self) -> int:
        return len(self.n_relevant)

    def of(self, rows: NDArray[Any]) -> "Judged":
        """The given rows."""
        return Judged(self.names, self.features[rows], self.is_relevant[rows], self.n_relevant[rows], self.people[rows])

    def half(self, side: int) -> "Judged":
        """Every other person; everybody where that would be nobody."""
        people, who = np.unique(self.people, return_inverse=True)
        return self.of(who % 2 == side) if len(people) > 1 else self

    def helps(self, gain: NDArray[np.float64]) -> bool:
        """Whether gains (q,) are above zero by more than the standard error of those of each person."""
        _, who = np.unique(self.people, return_inverse=True)
        of_person = np.bincount(who, gain) / np.maximum(np.bincount(who), 1)
        return bool(of_person.mean() > of_person.std() / len(of_person) ** 0.5) if len(gain) else False

    def measure(self, weights: Floats, k: int) -> NDArray[np.float64]:
        """(q,) NDCG at k of the blend with these weights (n_parts,)."""
        total = self.features @ weights.astype(np.float32)
        width = min(k, total.shape[1])
        best = np.argpartition(-total, width - 1, axis=1)[:, :width]  # a few hundred columns: no need to sort them all
        order = np.argsort(-np.take_along_axis(total, best, axis=1), axis=1, kind="stable")
        found = np.take_along_axis(best, order, axis=1)
        return ndcg(np.take_along_axis(self.is_relevant, found, axis=1), self.n_relevant, k)


def judge(
    parts: Mapping[str, Part], tastes: Tastes, wanted: Any, k: int, people: Rows | None = None, block: int = 64
) -> Judged:
    """
    The candidates of each person: the first 3 k of every part, without what they know already.

    Shapes: `tastes` of q people; `wanted` CSR (q, n_items), entries above 0 are what they went on to want; `people`
            (q,) their numbers, where somebody may occur in another table too.
    Memory: q * about 3 k n_parts / 2 * n_parts * 4 bytes for the features, and n_parts blocks of scores.
    """
    found: list[tuple[NDArray[Any], Floats]] = []
    for start in range(0, len(tastes), block):
        some = tastes[start : start + block]
        scores = [masked(standardised(part.scores(some)), some) for part in parts.values()]
        tops = np.concatenate([top_k(each, 3 * k) for each in scores], axis=1)
        for row, top in enumerate(tops):
            columns = np.unique(top)
            said = np.stack([each[row, columns] for each in scores], axis=1)
            found.append((columns, said))
    numbers = np.arange(len(tastes)) if people is None else people
    return _packed(tuple(parts), found, wanted, numbers)


def masked(scores: Floats, tastes: Tastes) -> Floats:
    """The scores (a writable copy belongs to the caller) with minus infinity at what people know already."""
    known = tastes.known
    scores[np.repeat(np.arange(len(tastes)), np.diff(known.indptr)), known.indices] = -np.inf
    return scores


def _packed(names: tuple[str, ...], found: Sequence[tuple[NDArray[Any], Floats]], wanted: Any, people: Rows) -> Judged:
    most = max((len(columns) for columns, _ in found), default=1)
    features = np.full((len(found), most, len(names)), OUT, np.float32)
    is_relevant = np.zeros((len(found), most), np.bool_)
    for row, (columns, said) in enumerate(found):
        features[row, : len(columns)] = np.maximum(said, OUT)
        own = wanted.indices[wanted.indptr[row] : wanted.indptr[row + 1]]
        is_relevant[row, : len(columns)] = np.isin(columns, own)
    n_relevant = np.diff(wanted.indptr).astype(np.int64)
    return Judged(names, features, is_relevant & (features[:, :, 0] > OUT), n_relevant, people)


def stacked(tables: Sequence[Judged]) -> Judged:
    """Those of several folds as one, their parts the same."""
    if len(tables) == 1:
        return tables[0]  # no copy
    most = max(table.features.shape[1] for table in tables)
    gaps = [most - table.features.shape[1] for table in tables]
    return Judged(
        tables[0].names,
        np.concatenate(
            [
                np.pad(table.features, ((0, 0), (0, gap), (0, 0)), constant_values=OUT)
                for table, gap in zip(tables, gaps, strict=True)
            ]
        ),
        np.concatenate([np.pad(t.is_relevant, ((0, 0), (0, gap))) for t, gap in zip(tables, gaps, strict=True)]),
        np.concatenate([table.n_relevant for table in tables]),
        np.concatenate([table.people for table in tables]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """
    `weights` by part, largest first, those at zero left out. `ndcg`: on the people who chose them; `honest`: each half
    judged with the other half's weights; `alone`: each part by itself.
    """

    weights: Mapping[str, float]
    ndcg: float
    honest: float
    alone: Mapping[str, float]


UNJUDGED: Final = Learned(weights={POPULARITY: 1.0}, ndcg=float("nan"), honest=float("nan"), alone={})
"""Where nobody can judge: what is popular, as for whoever is new."""


def learn(judged: Judged, k: int) -> Learned:
    """
    Weights of at least zero that are good for mean NDCG at k. When the halves judge each other's weights to be worse
    than the best part by itself, or their mean is, that part alone is the answer: the blend is never below it.

    Empty: without people popularity alone.
    """
    n_parts = len(judged.names)
    if not len(judged):
        return UNJUDGED
    ones = np.eye(n_parts, dtype=np.float32)
    alone = np.array([judged.measure(one, k).mean() for one in ones])
    best = ones[int(np.argmax(alone))]
    first, second = (_half(judged, side, k) for side in (0, 1))
    honest = float(np.concatenate([judged.half(1).measure(first, k), judged.half(0).measure(second, k)]).mean())
    weights = _without_idle(judged, first + second, k)
    if honest < alone.max() or judged.measure(weights, k).mean() < alone.max():
        weights, honest = best, float(alone.max())
    weights = weights / weights.max()
    order = np.argsort(-weights, kind="stable")
    return Learned(
        weights={judged.names[at]: round(float(weights[at]), 4) for at in order if weights[at] > 0},
        ndcg=float(judged.measure(weights, k).mean()),
        honest=honest,
        alone=dict(zip(judged.names, map(float, alone), strict=True)),
    )


def personal(judged: Judged, learned: Learned, k: int) -> Learned:
    """
    The blend with as little of popularity as it bears: not below its best part, nor below what was learned by more than
    a standard error. A feed of what everybody likes looks the same to all, and hides most creators.
    """
    if not len(judged) or len(judged.names) < 2 or not learned.weights.get(POPULARITY):
        return learned
    common = judged.names.index(POPULARITY)
    weights = np.array([learned.weights.get(name, 0.0) for name in judged.names], np.float32)
    own = weights.copy()
    own[common] = 0
    if not own.any():
        own[max((n for n in range(len(own)) if n != common), key=lambda n: learned.alone[judged.names[n]])] = 1
    before = judged.measure(weights, k)
    for share in _PERSONAL:
        mixed = (share * own / own.max()).astype(np.float32)
        mixed[common] = 1 - share
        found = judged.measure(mixed, k)
        value = float(found.mean())
        if value >= max(learned.alone.values()) and not judged.helps(before - found):
            scaled = zip(judged.names, mixed / mixed.max(), strict=True)
            named = {name: round(float(weight), 4) for name, weight in scaled if weight > 0}
            return replace(learned, weights=named, ndcg=value, honest=min(learned.honest, value))
    return learned


def learn_markets(
    judged: Judged, markets: Sequence[str | None], learned: Learned, k: int
) -> dict[str, dict[str, float]]:
    """
    Weights for the markets (q,) of the people that have `MARKET_PEOPLE` or more: climbed to from everybody's, pulled
    back to them by as many people again, and kept only when the half that did not choose them is better off.
    """
    found: dict[str, dict[str, float]] = {}
    common = np.array([learned.weights.get(name, 0.0) for name in judged.names], np.float32)
    for market in sorted({each for each in markets if each}):
        mine = judged.of(np.flatnonzero([each == market for each in markets]))
        if len(np.unique(mine.people)) < MARKET_PEOPLE or not common.any():
            continue
        halves = (mine.half(0), mine.half(1))
        gains = [
            judges.measure(_own(choosers, common, k), k) - judges.measure(common, k)
            for judges, choosers in zip(halves, reversed(halves), strict=True)
        ]
        if stacked(halves).helps(np.concatenate(gains)):
            own = _own(mine, common, k)
            found[market] = {name: round(float(w), 4) for name, w in zip(judged.names, own, strict=True) if w > 0}
    return found


def _own(judged: Judged, common: Floats, k: int) -> Floats:
    """A market's weights, shrunk to everybody's."""
    share = len(judged) / (len(judged) + MARKET_PEOPLE)
    climbed = _climbed(judged, common, k, rounds=2)
    return np.asarray(share * climbed / climbed.max() + (1 - share) * common / common.max(), np.float32)


def _half(judged: Judged, side: int, k: int) -> Floats:
    """What half of the people choose, from their best part on; the weights add up to 1."""
    mine = judged.half(side)
    ones = np.eye(len(judged.names), dtype=np.float32)
    start = ones[int(np.argmax([mine.measure(one, k).mean() for one in ones]))]
    chosen = _without_idle(mine, _climbed(mine, start, k), k)
    return np.asarray(chosen / chosen.sum(), np.float32)


def _climbed(judged: Judged, start: Floats, k: int, rounds: int = 4) -> Floats:
    """The best weights that steps one weight at a time lead to."""
    weights, value = start, judged.measure(start, k).mean()
    for _ in range(rounds):
        before = value
        for part in range(len(weights)):
            tried = (
                [factor * weights[part] for factor in _STEPS] if weights[part] else np.multiply(_ENTRY, weights.max())
            )
            for size in tried:
                changed = weights.copy()
                changed[part] = size
                if not changed.any():
                    continue
                found = judged.measure(changed, k).mean()
                if found > value:
                    weights, value = changed, found
        if value <= before * 1.0005:
            break
    return weights


def _without_idle(judged: Judged, weights: Floats, k: int) -> Floats:
    """
    The weights without parts whose gain, person by person, is within its standard error: noise would bring them back.
    """
    for part in np.argsort(weights, kind="stable"):
        rest = weights.copy()
        rest[part] = 0
        if weights[part] == 0 or not rest.any():
            continue
        if not judged.helps(judged.measure(weights, k) - judged.measure(rest, k)):
            weights = rest
    return weights
