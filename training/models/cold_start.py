"""
The cold-start mapping: from the text and the creator of an item without interactions to a vector in a space of
interactions.

It mixes two predictions. A ridge regression reads the text vector and the mean vector of the creator's other items
(Gantner et al. 2010). The other is the mean of the items with the nearest texts. A fifth of the items with interactions
choose the regularisation and the share of the neighbours. Where even the best choice is no nearer to the true vectors
than the mean of all items, there is no mapping. Items of R2 and above and unlabelled ones are neither learned from nor
mapped: no preference model may lead to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

import numpy as np
import polars as pl

from recsys.data.impressions import is_risky
from recsys.models.text import TextSpace
from recsys.types import Floats, Ids, Mask, Rows, Space

MIN_WARM_ITEMS: Final = 100
"""Items with interactions and text; with fewer there is no mapping."""

REGS: Final = (1.0, 10.0, 100.0)
NEIGHBOUR_SHARES: Final = (0.0, 0.25, 0.5, 0.75)
N_NEIGHBOURS: Final = 10
_CREATOR_SHRINKAGE: Final = 3.0
"""Items by which a creator's mean is shrunk to that of all."""

_MAX_NEIGHBOURS: Final = 20_000
"""Items that can be neighbours."""

_CHUNK_ITEMS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarmItems:
    """Items with interactions: `texts` (m, t) of length 1, `creators` (m,) codes, `vectors` (m, d) in the space."""

    texts: Floats
    creators: Ids
    vectors: Floats

    def take(self, rows: Rows) -> "WarmItems":
        """The given rows."""
        return WarmItems(texts=self.texts[rows], creators=self.creators[rows], vectors=self.vectors[rows])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColdStartMapping:
    """
    Shapes: `ridge` (t + d, d) and `mean` (d,); `by_creator` (n_creators, d) what a creator's items have in common.
    `neighbour_share` in [0, 1] is the weight of the neighbours; `explained`: the share of the variance of unseen items
    that the mapping predicts.
    """

    warm: WarmItems
    mean: Floats
    by_creator: Floats
    ridge: Floats
    neighbour_share: float
    explained: float

    def predict(self, texts: Floats, creators: Ids) -> Floats:
        """(n, d) vectors of n items, by text vectors (n, t) of length 1 and creators (n,)."""
        by_ridge = self.mean + np.hstack([texts, self.by_creator[creators]]) @ self.ridge
        if self.neighbour_share == 0 or not len(texts):
            return np.asarray(by_ridge, np.float32)
        chunks = range(0, len(texts), _CHUNK_ITEMS)
        near = np.concatenate([self._neighbour_mean(texts[start : start + _CHUNK_ITEMS]) for start in chunks])
        return np.asarray((1 - self.neighbour_share) * by_ridge + self.neighbour_share * near, np.float32)

    def _neighbour_mean(self, texts: Floats) -> Floats:
        """(n, d) the mean vector of the items with the nearest texts, nearer ones counting more."""
        similarity = texts @ self.warm.texts[:_MAX_NEIGHBOURS].T
        k = min(N_NEIGHBOURS, similarity.shape[1])
        best = np.argpartition(similarity, -k, axis=1)[:, -k:]
        weights = np.maximum(np.take_along_axis(similarity, best, axis=1), 1e-3)
        shares = weights / weights.sum(axis=1, keepdims=True)
        return np.asarray(np.einsum("nk,nkd->nd", shares, self.warm.vectors[best]), np.float32)


def fit(warm: WarmItems, n_creators: int, rng: np.random.Generator) -> ColdStartMapping | None:
    """
    The mapping that items with interactions teach; None for fewer than `MIN_WARM_ITEMS` or where it explains nothing.
    """
    n = len(warm.texts)
    if n < MIN_WARM_ITEMS:
        return None
    order = rng.permutation(n)
    held_out, rest = warm.take(order[: n // 5]), warm.take(order[n // 5 :])
    trials = []
    for reg, share in product(REGS, NEIGHBOUR_SHARES):
        mapping = _fit_mapping(rest, n_creators, reg, share)
        trials.append((_explained_variance(mapping, held_out), reg, share))
    explained, reg, share = max(trials)
    if explained <= 0:
        return None
    return replace(_fit_mapping(warm.take(order), n_creators, reg, share), explained=explained)


def map_cold_items(
    spaces: Mapping[str, Space], text: TextSpace | None, items: pl.DataFrame, rng: np.random.Generator
) -> tuple[dict[str, Space], int]:
    """
    The spaces, in which items without interactions get vectors from their text and creator, and the text space; and how
    many items those are.
    """
    if text is None:
        return dict(spaces), 0
    is_mappable = ~is_risky(items)
    creators = items["creator_id"].rank("dense").to_numpy().astype(np.int32) - 1
    mapped, n_mapped = dict(spaces), 0
    for name, space in spaces.items():
        vectors, n = map_cold_vectors(np.asarray(space.item_vectors), text.item_vectors, creators, is_mappable, rng)
        fitted: Any = space  # a frozen dataclass, as every space is
        mapped[name], n_mapped = replace(fitted, item_vectors=vectors), max(n, n_mapped)
    return {**mapped, "text": text}, n_mapped


def map_cold_vectors(
    vectors: Floats, texts: Floats, creators: Ids, is_mappable: Mask, rng: np.random.Generator
) -> tuple[Floats, int]:
    """
    The vectors (n, d), in which every item without interactions that has a text (a row of `texts` (n, t) that is not
    zeros) and is mappable (n,) gets a vector; and how many those are. The vectors of other items stay as they are.
    """
    is_warm, is_mappable = np.any(vectors, axis=1), is_mappable & np.any(texts, axis=1)
    warm_rows, cold_rows = np.flatnonzero(is_mappable & is_warm), np.flatnonzero(is_mappable & ~is_warm)
    warm = WarmItems(texts=texts[warm_rows], creators=creators[warm_rows], vectors=vectors[warm_rows])
    mapping = fit(warm, int(creators.max(initial=0)) + 1, rng) if len(cold_rows) else None
    if mapping is None:
        return vectors, 0
    mapped = vectors.copy()
    mapped[cold_rows] = mapping.predict(texts[cold_rows], creators[cold_rows])
    return mapped, len(cold_rows)


def _fit_mapping(warm: WarmItems, n_creators: int, reg: float, share: float) -> ColdStartMapping:
    mean = warm.vectors.mean(axis=0, dtype=np.float64)
    y = warm.vectors - mean
    scale = max(float(np.sqrt(np.square(y).sum(axis=1).mean())), 1e-12)  # so that one `reg` fits texts and creators
    sums, counts = np.zeros((n_creators, y.shape[1])), np.bincount(warm.creators, minlength=n_creators)[:, None]
    np.add.at(sums, warm.creators, y)
    others = (sums[warm.creators] - y) / (counts[warm.creators] - 1 + _CREATOR_SHRINKAGE)  # without the item itself
    x = np.hstack([warm.texts, others / scale]).astype(np.float64)
    ridge = np.linalg.solve(x.T @ x + reg * np.eye(x.shape[1]), x.T @ y)
    by_creator = (sums / (counts + _CREATOR_SHRINKAGE) / scale).astype(np.float32)
    return ColdStartMapping(
        warm=warm, mean=mean.astype(np.float32), by_creator=by_creator,
        ridge=ridge.astype(np.float32), neighbour_share=share, explained=0.0,
    )  # fmt: skip


def _explained_variance(mapping: ColdStartMapping, held_out: WarmItems) -> float:
    """1 = every vector is right, 0 = no better than the mean."""
    error = np.square(held_out.vectors - mapping.predict(held_out.texts, held_out.creators)).sum()
    return float(1 - error / max(np.square(held_out.vectors - mapping.mean).sum(), 1e-12))
