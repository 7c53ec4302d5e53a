"""
The confidence of an event: the one place where it is worked out, for training and for the live service.

Confidence is a number without a unit. Above 0 the person wanted more of this, below 0 less; 0 says nothing.
The numbers are design defaults, ordered by how much an act costs the person; LOG.md holds what was tried.
Watching R2 or above is never a positive signal, because risk is no interest to learn. Negative feedback always counts.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.clock import DAY, Millis
from recsys.types import Floats, Ids, Mask, Rows
from recsys.vocabulary import EVENT_KINDS

SHORT_WATCH: Final = 0.25
"""A view below this fraction is a swipe away. It is no evidence for an interest and, alone, none against it."""

WATCHED: Final = 1.0
"""The confidence of a watch to the end; acts that cost more have more."""

UNKNOWN_WATCH: Final = 0.25
"""The confidence of a view when nobody measured how long it lasted."""

HALF_LIFE: Final[Millis] = 90 * DAY
"""Milliseconds after which a reaction counts half."""

PAIR_CAP: Final = 5.0
"""The highest confidence of one person in one item, so that no loop on one video drowns the rest."""

MIN_POSITIVE_CONFIDENCE: Final = 1.0
"""The confidence from which an interaction is positive: one watch to the end."""

FIXED: Final = {
    "impression": 0.0,
    "rewatch": 1.5,
    "complete": 1.0,
    "like": 1.5,
    "share": 2.0,
    "comment": 1.0,
    "save": 2.0,
    "helped": 3.0,
    "not_interested": -1.0,
    "too_much": -2.0,
    "report": -2.0,
    "follow": 2.0,
    "hide_creator": -2.0,
    "search": 0.0,
    "support_requested": 0.0,
    "undo": 0.0,
}
"""Every kind but `view`, whose confidence is the fraction watched."""

_BY_CODE: Final = np.array([FIXED.get(kind, 0.0) for kind in EVENT_KINDS], np.float32)
_VIEW: Final = EVENT_KINDS.index("view")


SEEN_EVENTS: Final = ("impression", "view", "rewatch", "complete", "like", "share", "comment", "save", "helped")
"""Kinds of events after which an item counts as seen, unless a policy file says otherwise."""


def confidence(kind: str, watch_fraction: float | None) -> float:
    """
    What one event says about its subject.

    `watch_fraction` in [0, 1] or None (unknown); only a `view` reads it.
    Raises:  KeyError for a kind that is not in `vocabulary.EVENT_KINDS`.
    """
    if kind != "view":
        return FIXED[kind]
    if watch_fraction is None:
        return UNKNOWN_WATCH
    return watch_fraction if watch_fraction >= SHORT_WATCH else 0.0


def confidences(kinds: NDArray[np.uint8], watch_fractions: Floats) -> Floats:
    """
    `confidence` for many events at once.

    Shapes:  kinds (n,) positions in `vocabulary.EVENT_KINDS`; watch_fractions (n,), NaN = unknown; returns (n,).
    """
    measured = np.where(watch_fractions >= SHORT_WATCH, watch_fractions, 0.0)
    views = np.where(np.isnan(watch_fractions), UNKNOWN_WATCH, measured)
    return np.where(kinds == _VIEW, views, _BY_CODE[kinds]).astype(np.float32)


def decay(age_ms: Millis, half_life_ms: Millis = HALF_LIFE) -> float:
    """How much a reaction of that age still counts, in (0, 1]; one from the future counts as new."""
    return float(0.5 ** (max(age_ms, 0) / half_life_ms))


def decays(ages_ms: NDArray[np.int64], half_life_ms: Millis = HALF_LIFE) -> Floats:
    """`decay` for many ages at once: (n,) -> (n,)."""
    return np.exp2(-np.maximum(ages_ms, 0) / half_life_ms).astype(np.float32)


def is_r2_plus(tier: str | None) -> bool:
    """Whether a tier is R2 or above; an unlabelled item (None) counts as R2."""
    return tier not in ("R0", "R1")


def learnable(weight: float, tier_is_r2_plus: bool) -> float:
    """The part of a confidence that may be learned: of R2 and above only negative feedback."""
    return min(weight, 0.0) if tier_is_r2_plus else weight


def learnables(weights: Floats, tier_is_r2_plus: Mask) -> Floats:
    """`learnable` for many events at once: (n,), (n,) -> (n,)."""
    return np.where(tier_is_r2_plus, np.minimum(weights, 0.0), weights).astype(np.float32)


def responses(items: Ids | Rows, weights: Floats, n_items: int) -> Floats:
    """
    (n_items,) how much of each item a person watched, in [0, 1], by the confidences (n,) of their reactions to items
    (n,): the largest that is no more than a watch to the end. 1 where they only did what costs more than watching; 0
    after negative feedback, and without a reaction.
    """
    watched, is_more, is_negative = np.zeros(n_items, np.float32), *np.zeros((2, n_items), np.bool_)
    is_watch = (weights > 0) & (weights <= WATCHED)
    np.maximum.at(watched, items[is_watch], weights[is_watch])
    is_more[items[weights > WATCHED]] = True
    is_negative[items[weights < 0]] = True
    watched[is_more & (watched == 0)] = 1.0
    watched[is_negative] = 0.0
    return watched


def response_column(confidence: pl.Expr) -> pl.Expr:
    """The same over a group of events with this confidence, as Polars works it out."""
    watched = confidence.filter((confidence > 0) & (confidence <= WATCHED)).max()
    otherwise = pl.when((confidence > WATCHED).any()).then(1.0).otherwise(0.0)
    return pl.when((confidence < 0).any()).then(0.0).otherwise(watched.fill_null(otherwise))
