"""
The form of items, their creator's kind and their length, as the last columns that coefficients of affinity multiply.

Some people stay with professionals and some with peers, some with short videos and some with long ones; elsewhere
nobody cares. So the scale of both is learned: the variance between people of what they watch more of, over that within
(Bühlmann and Straub 1970). Where people differ by chance alone there are no columns.
"""

from typing import Final

import numpy as np
import polars as pl

from recsys.data.impressions import Impressions
from recsys.models.affinity import RIDGE, Form
from recsys.types import Floats, Ids, Longs, Reals
from recsys.vocabulary import CREATOR_KINDS
from training.models.rates import MAX_STRENGTH, credibility_strength

N_LENGTHS: Final = 4
"""Groups of equal size by length."""

MAX_SCALE: Final = 1.0
"""That of a topic."""


def creator_kinds(items: pl.DataFrame, creators: pl.DataFrame) -> Ids:
    """(n_items,) 1 + the place of the creator's kind in `CREATOR_KINDS`, 0 = unknown."""
    if "kind" not in creators.columns:
        return np.zeros(len(items), np.int32)
    codes = {kind: code for code, kind in enumerate(CREATOR_KINDS, 1)}
    kinds = items.select("creator_id").join(
        creators.select("creator_id", "kind"), on="creator_id", how="left", maintain_order="left"
    )["kind"]
    return kinds.cast(pl.String).replace_strict(codes, default=0, return_dtype=pl.Int32).to_numpy()


def length_groups(duration_s: Floats) -> Ids:
    """(n_items,) 1 to `N_LENGTHS`, the shortest first; 0 where the length is unknown."""
    is_known = np.isfinite(duration_s)
    if not is_known.any():
        return np.zeros(len(duration_s), np.int32)
    edges = np.quantile(duration_s[is_known], np.arange(1, N_LENGTHS) / N_LENGTHS)
    return np.where(is_known, 1 + np.searchsorted(edges, duration_s, side="right"), 0).astype(np.int32)


def form_columns(kinds: Ids, lengths: Ids, shown: Impressions, expected: Floats) -> tuple[Floats, Form]:
    """
    (n_items, sum of the form): the learned scale in the column of an item's kind and in that of its length, else 0.
    What people do not differ in has no columns.

    Shapes: kinds and lengths (n_items,); expected (n_items,) the response that each item usually gets.
    """
    residual = _residuals(shown, expected)
    columns = []
    for codes, n_codes in ((kinds, len(CREATOR_KINDS)), (lengths, N_LENGTHS)):
        scale = form_scale(residual, shown.people, codes[shown.rows])
        width = n_codes if scale > 0 else 0
        columns.append(np.float32(scale) * (codes[:, None] == np.arange(1, width + 1)))
    return np.hstack(columns).astype(np.float32), Form(*(part.shape[1] for part in columns))


def form_scale(residual: Reals, people: Ids, codes: Ids) -> float:
    """
    The scale at which a ridge of `affinity.RIDGE` shrinks a person's preference for a form by as much as people differ
    in it; 0 where they differ as by chance.

    Shapes: residual, people and codes (n,) of impressions; codes of 0 are unknown.
    """
    is_known = codes > 0
    groups = people[is_known].astype(np.int64) * (int(codes.max(initial=0)) + 1) + codes[is_known]
    known, number = np.unique(groups, return_inverse=True)
    values = residual[is_known]
    strength = credibility_strength(values, np.ones(len(values)), number.astype(np.int32), len(known))
    return 0.0 if strength >= MAX_STRENGTH else min(float(np.sqrt(RIDGE / strength)), MAX_SCALE)


def _residuals(shown: Impressions, expected: Floats) -> Reals:
    """(n,) the response above what the item usually gets, less the person's mean of it."""
    surprise = np.asarray(shown.response - expected[shown.rows], np.float64)
    counts: Longs = np.bincount(shown.people)
    means = np.bincount(shown.people, surprise) / np.maximum(counts, 1)
    return surprise - means[shown.people]
