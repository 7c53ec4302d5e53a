"""
Choosing parameters on validation: one field at a time, up and down its grid for as long as the measure rises.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from scipy import sparse

from recsys.metrics import mean, ndcg
from recsys.models.base import Part
from recsys.models.blend import Blend, Learned, judge, learn, masked, stacked, standardised
from recsys.models.interactions import Tastes, of_matrix
from recsys.models.reranker import use_of
from recsys.progress import Progress, quiet
from recsys.topk import top_k
from recsys.types import Floats, Mask, Rows
from training.models.registry import Family, Observed, Params
from training.models.reranker import Look, learn_look, look, stacked_looks
from training.models.splits import cut

SAMPLE: Final = 3_000
"""People who judge the settings of one family."""

JURY: Final = 16_000
"""People who judge the blend, and that its second look learns from."""

MOST_FOLDS: Final = 5
"""Cuts of a small set, so that more people judge."""

MIN_RISE: Final = 1.002
"""A step on the grid has to raise the measure by this factor: less is noise, and larger models cost."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """What is learned from, what was taken from it, and the people who have something there, in random order."""

    seen: Observed
    tastes: Tastes
    taken: Any
    people: Any


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """
    The parameters of every family that was tried, by name; what the blend learned; its second look over all that were
    tried; how many settings were fitted.
    """

    params: Mapping[str, Params]
    learned: Learned
    look: Look
    n_fits: int


def folds(signed: Any, valid: Any, rng: np.random.Generator) -> tuple[Fold, ...]:
    """
    Validation parts: the given one, or a share cut from `signed` at random; a small set is cut three times over, so
    that enough people judge.
    """
    if valid is not None:
        return (_fold(signed, valid, rng),)
    share = _share(signed)
    parts = [cut(signed, share, rng)]
    if np.count_nonzero(np.diff(parts[0][1].indptr)) < 1_000:
        parts += [cut(signed, share, rng) for _ in range(2)]
    return tuple(_fold(kept, taken, rng) for kept, taken in parts)


def _share(signed: Any) -> float:
    return float(np.clip(5_000 / max(1, signed.nnz), 0.1, 0.25))


def _fold(kept: Any, taken: Any, rng: np.random.Generator) -> Fold:
    positive = sparse.csr_matrix(taken.multiply(taken > 0), dtype=np.float32)
    positive.eliminate_zeros()
    people = rng.permutation(np.flatnonzero(np.diff(positive.indptr)))
    return Fold(Observed(kept), of_matrix(kept), positive, people)


def choose(
    signed: Any,
    valid: Any,
    candidates: Sequence[Family],
    k: int,
    rng: np.random.Generator,
    on_progress: Progress = quiet,
) -> Chosen:
    """Parameters for every family that suits the size, the weights of their blend, and its second look."""
    parts = folds(signed, valid, rng)
    has_refusals = bool(np.any(signed.data < 0))
    seed = int(rng.integers(2**31))
    chosen: dict[str, Params] = {}
    fitted: list[dict[str, Part]] = [{} for _ in parts]
    n_fits = 0
    suited = [family for family in candidates if family.suits(signed)]
    for family in suited:
        on_progress(f"choose {family.name}", 0, None)
        climb = Climb(family, parts, k, seed)
        chosen[family.name] = climb.best(has_refusals)
        n_fits += len(climb.tried)
        for fold, of_fold, part in zip(parts, fitted, climb.fitted, strict=True):
            of_fold[family.name] = part
            fold.seen.memo.clear()
    for fold in _more_folds(signed, parts, rng) if valid is None else ():
        on_progress("judge", len(parts), MOST_FOLDS)
        parts = (*parts, fold)
        fitted.append(
            {each.name: each.fit(fold.seen, chosen[each.name], np.random.default_rng(seed)) for each in suited}
        )
    on_progress("weights", 0, None)
    juries = [_jury(fold, JURY) for fold in parts]
    learned = learn(stacked([judge(each, *jury[1:], k, jury[0]) for each, jury in zip(fitted, juries, strict=True)]), k)
    on_progress("second look", 0, None)
    tables = []
    for fold, (people, tastes, taken) in zip(parts, juries, strict=True):
        blend, use = Blend(fitted.pop(0), learned.weights), use_of(fold.seen.signed)
        tables.append(look(blend, use, tastes, people, taken))
    return Chosen(params=chosen, learned=learned, look=learn_look(stacked_looks(tables), k, rng), n_fits=n_fits)


def _more_folds(signed: Any, parts: Sequence[Fold], rng: np.random.Generator) -> Iterator[Fold]:
    """More cuts of a set whose people are few: what is asked of many judges cannot be learned from hundreds."""
    n_judges = sum(len(fold.people) for fold in parts)
    for _ in range(MOST_FOLDS - len(parts)):
        if n_judges >= JURY:
            return
        fold = _fold(*cut(signed, _share(signed), rng), rng)
        n_judges += len(fold.people)
        yield fold


class Climb:
    """
    One family's walk. Remembers every setting tried, and the fitted parts of the best.

    `known` are measures of an earlier run; `remember` is told of every new one.
    """

    def __init__(
        self,
        family: Family,
        parts: Sequence[Fold],
        k: int,
        seed: int,
        known: Mapping[Params, float] | None = None,
        remember: Callable[[Params, float], None] = lambda params, value: None,
    ) -> None:
        self.family, self.parts, self.k, self.seed, self.remember = family, parts, k, seed, remember
        self.known = known or {}
        self.tried: dict[Params, float] = {}
        self.fitted: list[Part] = []
        self.top = -1.0  # below any measure: the first setting is kept

    def best(self, has_refusals: bool) -> Params:
        at = self.family.params
        self._measure(at)
        for name, values in self.family.grid.items():
            if name == "refusal" and not has_refusals:
                continue
            for side in (1, -1):
                moved = self._walk(at, name, values, side)
                if moved != at:
                    at = moved
                    break
        return at

    def _walk(self, at: Params, name: str, values: tuple[Any, ...], side: int) -> Params:
        place = values.index(getattr(at, name)) + side
        while 0 <= place < len(values):
            after = replace(at, **{name: values[place]})
            if self._measure(after) <= MIN_RISE * self.tried[at]:
                break
            at, place = after, place + side
        return at

    def _measure(self, params: Params) -> float:
        if params in self.known:
            self.tried[params] = self.known[params]
        if params not in self.tried:
            fitted = [self.family.fit(fold.seen, params, np.random.default_rng(self.seed)) for fold in self.parts]
            values = [
                part_ndcg(part, *_jury(fold, SAMPLE)[1:], self.k) for part, fold in zip(fitted, self.parts, strict=True)
            ]
            self.tried[params] = float(np.nan_to_num(mean(np.concatenate(values))))  # 0 when nobody judges
            self.remember(params, self.tried[params])
            if self.tried[params] > self.top * MIN_RISE:
                self.top, self.fitted = self.tried[params], fitted
        return self.tried[params]


def _jury(fold: Fold, most: int) -> tuple[Rows, Tastes, Any]:
    people = np.sort(fold.people[:most])
    return people, fold.tastes[people], fold.taken[people]


def part_ndcg(part: Part, tastes: Tastes, wanted: Any, k: int, block: int = 64) -> Any:
    """(q,) NDCG at k of one part by itself."""
    values = [np.empty(0)]
    for start in range(0, len(tastes), block):
        some, right = tastes[start : start + block], wanted[start : start + block]
        scores = masked(standardised(part.scores(some)), some)
        values.append(ndcg(hits(scores, right, k), np.diff(right.indptr), k))
    return np.concatenate(values)


def hits(scores: Floats, wanted: Any, k: int) -> Mask:
    """
    (q, min(k, n_items)) whether each of the best items is among what the person wanted (CSR (q, n_items)). Masked items
    fill a list where nothing else is left; they are not shown, so they are no hits.
    """
    best = top_k(scores, k)
    if not len(best):
        return np.zeros(best.shape, np.bool_)
    is_wanted = np.asarray(wanted[np.arange(len(best))[:, None], best].todense() > 0)
    return is_wanted & (np.take_along_axis(scores, best, axis=1) > -np.inf)
