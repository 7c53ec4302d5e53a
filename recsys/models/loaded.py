"""
The trained models as the online ranker uses them: spaces with the statistics that make their scores comparable,
indexes, popularity and histories. Built from an artifact at start-up or before a swap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from recsys.models.artifact import Artifact
from recsys.models.blend import Blend
from recsys.models.features import Basis, facts_of
from recsys.models.index import search
from recsys.models.interactions import of_history
from recsys.models.popularity import Popularity
from recsys.models.ranker import Ranker
from recsys.types import Floats, History, Ids, Mask, Space


@dataclass(frozen=True, slots=True, eq=False)
class RankedSpace:
    """
    A space, its index, and the mean and covariance of its item vectors.

    With them the mean and spread of any person's scores over the whole catalogue are known without computing the
    scores, so that a standardised score depends on the person and the item only, not on the other candidates.
    """

    space: Space
    index: Any
    is_known: Mask  # (n_rows,) the space knows something about the item
    mean: Floats  # (d,)
    covariance: Floats  # (d, d)

    def scores(self, vector: Floats, rows: Ids) -> Floats:
        """
        (n,) scores of artifact rows in standard deviations over the catalogue; NaN for rows below 0 (not in the
        artifact) and for items the space knows nothing about. Zeros for a person it knows nothing about.
        """
        if not np.any(vector):
            return np.zeros(len(rows), np.float32)
        centre = float(self.mean @ vector)
        spread = max(float(vector @ self.covariance @ vector), 1e-12) ** 0.5
        at = np.maximum(rows, 0)
        scores = (np.asarray(self.space.item_vectors)[at] @ vector - centre) / spread
        scores[(rows < 0) | ~self.is_known[at]] = np.nan
        return np.asarray(scores, np.float32)

    def nearest(self, vector: Floats, k: int, allowed: Mask) -> Ids:
        """Up to k artifact rows, best first, among the allowed (n_rows,)."""
        rows, _ = search(self.index, vector, k, allowed)
        return rows.astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Model:
    """Everything learned. `rows` gives the artifact's row of an item id."""

    version: str
    n_rows: int
    rows: Mapping[str, int]
    spaces: Mapping[str, RankedSpace]
    taste: Blend
    popularity: Popularity
    popularity_mean: float
    popularity_spread: float
    histories: Mapping[str, History]
    profiles: Mapping[str, Mapping[str, Any]]  # users table by user_id
    safe_feed: tuple[str, ...]
    content_share: float  # of the weight of content; see `training.models.ranker_weight`
    local_strength: Mapping[str, float]  # by market; see `training.models.locality_weight`
    clusters: Mapping[str, str]  # the hash of what an item says -> its cluster, where that is named after another
    ranker: Ranker | None

    def popular(self, country: str | None, rows: Ids) -> Floats:
        """(n,) standardised popularity in a market; NaN for rows below 0."""
        if not self.n_rows:
            return np.full(len(rows), np.nan, np.float32)
        scores = (self.popularity.of(country)[np.maximum(rows, 0)] - self.popularity_mean) / self.popularity_spread
        return np.where(rows < 0, np.nan, scores).astype(np.float32)

    def wanted(self, history: History, country: str | None, is_open: Mask | None = None) -> Floats:
        """
        (n_rows,) how much the blend thinks a person wants each item, in standard deviations over what it knows; NaN for
        items that nobody has wanted yet. `is_open` (n_rows,) is what may be shown: the second look is at those alone.
        """
        return wanted(self.taste, self.popularity, history, country, is_open)


def wanted(
    taste: Blend, popularity: Popularity, history: History, country: str | None, is_open: Mask | None = None
) -> Floats:
    """As `Model.wanted`, for a blend that is not yet part of a model."""
    markets, is_known = popularity.markets, popularity.scores[-1] > 0
    market = markets.index(country) if country in markets else len(markets)
    tastes = of_history(history, len(is_known), market)
    if taste.second is not None and is_open is not None:
        closed = np.union1d(np.flatnonzero(~(is_open & is_known)), history.items)
        met = sparse.csr_matrix((np.ones(len(closed), np.float32), closed, [0, len(closed)]), (1, len(is_known)))
        tastes = replace(tastes, met=met)
    scores = taste.scores(tastes)[0]
    known = scores[is_known]
    if len(known):
        scores = (scores - known.mean()) / max(float(known.std()), 1e-6)
    return np.where(is_known, scores, np.nan).astype(np.float32)


def build_model(artifact: Artifact) -> Model:
    """The model of a loaded artifact. Takes well under a second for 100,000 items."""
    item_ids = artifact.items["item_id"].to_list()
    world = artifact.popularity.scores[-1]
    spaces = {name: ranked(space, artifact.indexes[name]) for name, space in artifact.spaces.items()}
    return Model(
        version=artifact.version,
        n_rows=len(item_ids),
        rows={item_id: row for row, item_id in enumerate(item_ids)},
        spaces=spaces,
        taste=artifact.taste,
        popularity=artifact.popularity,
        popularity_mean=float(world.mean()) if len(world) else 0.0,
        popularity_spread=max(float(world.std()) if len(world) else 0.0, 1e-6),
        histories=artifact.histories,
        profiles={row["user_id"]: row for row in artifact.users.iter_rows(named=True)},
        safe_feed=artifact.safe_feed,
        content_share=artifact.manifest.content_share,
        local_strength=artifact.manifest.local_strength,
        clusters=_clusters(artifact.items),
        ranker=_ranker(artifact, spaces),
    )


def _ranker(artifact: Artifact, spaces: Mapping[str, RankedSpace]) -> Ranker | None:
    if artifact.ranker is None:
        return None
    facts = facts_of(artifact.items, artifact.creators)
    basis = Basis(spaces=spaces, popularity=artifact.popularity, facts=facts, rates=np.asarray(artifact.ranker.rates))
    return Ranker(heads=artifact.ranker, basis=basis)


def _clusters(items: pl.DataFrame) -> Mapping[str, str]:
    if "said_id" not in items.columns:  # written before near-duplicates were joined: every cluster has its own name
        return {}
    copies = items.filter(pl.col("said_id") != pl.col("cluster_id"))
    return dict(copies.select("said_id", "cluster_id").iter_rows())


def ranked(space: Space, index: Any = None) -> RankedSpace:
    """A space with its statistics; without an index it scores but finds nothing."""
    vectors = np.asarray(space.item_vectors)
    is_known = np.any(vectors, axis=1)
    known = vectors[is_known]
    if len(known) < 2:
        d = vectors.shape[1]
        return RankedSpace(space, index, is_known, np.zeros(d, np.float32), np.zeros((d, d), np.float32))
    mean = known.mean(axis=0, dtype=np.float64)
    second = known.T @ known / np.float32(len(known))
    covariance = (second - np.outer(mean, mean)).astype(np.float32)
    return RankedSpace(space, index, is_known, mean.astype(np.float32), covariance)
