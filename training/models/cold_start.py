"""
The bridge to taste from what a video says and who made it: where it would stand in a space of reactions that it has
none in yet.

Two readings, mixed: a ridge regression from the text vector and the mean place of the maker's other videos (Gantner et
al. 2010), and the mean of the videos whose texts are nearest. How strongly the ridge is held back, and how much the
neighbours count, is chosen on a fifth of the videos with reactions. Where even the best choice is no nearer to the
truth than the mean of all videos, there is no bridge. Items of R2 and above and unlabelled ones neither teach nor are
given a place: no taste may lead there.
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

FEWEST: Final = 100  # videos with reactions and words; with fewer there is nothing to learn from
REGS: Final = (1.0, 10.0, 100.0)
SHARES: Final = (0.0, 0.25, 0.5, 0.75)
NEIGHBOURS: Final = 10
_PULL: Final = 3.0  # videos by which a maker's mean is drawn to that of all
_MOST: Final = 20_000  # videos that can be neighbours
_CHUNK: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Teachers:
    """Videos with reactions: `texts` (m, t) of length 1, `makers` (m,) codes, `vectors` (m, d) their places."""

    texts: Floats
    makers: Ids
    vectors: Floats

    def take(self, rows: Rows) -> "Teachers":
        """The given rows."""
        return Teachers(texts=self.texts[rows], makers=self.makers[rows], vectors=self.vectors[rows])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bridge:
    """
    `ridge` (t + d, d) and `mean` (d,); `by_maker` (n_makers, d) what the makers' videos have in common; `share` in
    [0, 1] is what the neighbours count; `explained`: the part of the spread of unseen videos that is found.
    """

    teachers: Teachers
    mean: Floats
    by_maker: Floats
    ridge: Floats
    share: float
    explained: float

    def place(self, texts: Floats, makers: Ids) -> Floats:
        """(n, d) places of n videos, by text vectors (n, t) of length 1 and makers (n,)."""
        by_ridge = self.mean + np.hstack([texts, self.by_maker[makers]]) @ self.ridge
        if self.share == 0 or not len(texts):
            return np.asarray(by_ridge, np.float32)
        chunks = range(0, len(texts), _CHUNK)
        near = np.concatenate([self._near(texts[begin : begin + _CHUNK]) for begin in chunks])
        return np.asarray((1 - self.share) * by_ridge + self.share * near, np.float32)

    def _near(self, texts: Floats) -> Floats:
        """(n, d) the mean of the nearest videos, nearer ones counting more."""
        likeness = texts @ self.teachers.texts[:_MOST].T
        k = min(NEIGHBOURS, likeness.shape[1])
        best = np.argpartition(likeness, -k, axis=1)[:, -k:]
        weights = np.maximum(np.take_along_axis(likeness, best, axis=1), 1e-3)
        shares = weights / weights.sum(axis=1, keepdims=True)
        return np.asarray(np.einsum("nk,nkd->nd", shares, self.teachers.vectors[best]), np.float32)


def fit(teachers: Teachers, n_makers: int, rng: np.random.Generator) -> Bridge | None:
    """The bridge that videos with reactions teach; None when there are fewer than `FEWEST` or it explains nothing."""
    n = len(teachers.texts)
    if n < FEWEST:
        return None
    order = rng.permutation(n)
    judged, rest = teachers.take(order[: n // 5]), teachers.take(order[n // 5 :])
    tried = []
    for reg, share in product(REGS, SHARES):
        bridge = _fit(rest, n_makers, reg, share)
        tried.append((_explained(bridge, judged), reg, share))
    explained, reg, share = max(tried)
    if explained <= 0:
        return None
    return replace(_fit(teachers.take(order), n_makers, reg, share), explained=explained)


def with_words(
    learned: Mapping[str, Space], text: TextSpace | None, items: pl.DataFrame, rng: np.random.Generator
) -> tuple[dict[str, Space], int]:
    """
    The spaces and that of texts: in each, what nobody reacted to stands where its words and maker put it. And how many
    items those are.
    """
    if text is None:
        return dict(learned), 0
    may_be_placed = ~is_risky(items)
    makers = items["creator_id"].rank("dense").to_numpy().astype(np.int32) - 1
    spaces, n_placed = dict(learned), 0
    for name, space in learned.items():
        vectors, n = bridged(np.asarray(space.item_vectors), text.item_vectors, makers, may_be_placed, rng)
        fitted: Any = space  # a frozen dataclass, as every space is
        spaces[name], n_placed = replace(fitted, item_vectors=vectors), max(n, n_placed)
    return {**spaces, "text": text}, n_placed


def bridged(
    vectors: Floats, texts: Floats, makers: Ids, may_be_placed: Mask, rng: np.random.Generator
) -> tuple[Floats, int]:
    """
    The vectors (n, d) with a place for every item that has words (a row of `texts` (n, t) that is not zeros), may be
    placed (n,) and has no reactions; and how many those are. What was learned stays as it is.
    """
    is_taught, may_be_placed = np.any(vectors, axis=1), may_be_placed & np.any(texts, axis=1)
    warm, cold = np.flatnonzero(may_be_placed & is_taught), np.flatnonzero(may_be_placed & ~is_taught)
    teachers = Teachers(texts=texts[warm], makers=makers[warm], vectors=vectors[warm])
    bridge = fit(teachers, int(makers.max(initial=0)) + 1, rng) if len(cold) else None
    if bridge is None:
        return vectors, 0
    placed = vectors.copy()
    placed[cold] = bridge.place(texts[cold], makers[cold])
    return placed, len(cold)


def _fit(teachers: Teachers, n_makers: int, reg: float, share: float) -> Bridge:
    mean = teachers.vectors.mean(axis=0, dtype=np.float64)
    y = teachers.vectors - mean
    scale = max(float(np.sqrt(np.square(y).sum(axis=1).mean())), 1e-12)  # so that one `reg` fits texts and makers
    sums, counts = np.zeros((n_makers, y.shape[1])), np.bincount(teachers.makers, minlength=n_makers)[:, None]
    np.add.at(sums, teachers.makers, y)
    others = (sums[teachers.makers] - y) / (counts[teachers.makers] - 1 + _PULL)  # nobody teaches themselves
    x = np.hstack([teachers.texts, others / scale]).astype(np.float64)
    ridge = np.linalg.solve(x.T @ x + reg * np.eye(x.shape[1]), x.T @ y)
    return Bridge(
        teachers=teachers, mean=mean.astype(np.float32), by_maker=(sums / (counts + _PULL) / scale).astype(np.float32),
        ridge=ridge.astype(np.float32), share=share, explained=0.0,
    )  # fmt: skip


def _explained(bridge: Bridge, judged: Teachers) -> float:
    """1 = every place is right, 0 = no better than the mean."""
    missed = np.square(judged.vectors - bridge.place(judged.texts, judged.makers)).sum()
    return float(1 - missed / max(np.square(judged.vectors - bridge.mean).sum(), 1e-12))
