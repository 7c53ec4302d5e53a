"""
What a page is worth to a person of the synthetic world, by the world's truth. For judging only: no model reads it.

The worth of a page of n places is the sum over its places, divided by n, of the fraction of the video that the person
would watch without noise. What distress pulls people to counts for nothing, so its term is left out. A place with a
video of R2 and above, a video without a label, or no video counts as the person's random mean. That is the mean over
all videos of R0 and R1 that the person could be shown and has not seen.

    gain = (mean worth - mean random worth) / (mean best worth - mean random worth)

Rows are those of the world's tables; pages are as in `recsys.types.Pages`, with rows of the items table.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import polars as pl

from eval.offline.intervals import CONFIDENCE_LEVEL, Estimate, Resamples
from eval.simulation.world.behaviour import undistressed_logit, watch_fraction, watch_logit
from eval.simulation.world.truth import Truth
from recsys.metrics import EMPTY
from recsys.types import Ids, Integers, Longs, Mask, Pages, Reals, rank_order

PAGE_SIZE: Final = 20
N_STRANGERS: Final = 20
"""How many other people of one kind a person's page is compared with, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """
    What one person could be shown, and what each video is worth to them.

    `worth` (n_items,): what a place with the video counts, in [0, 1]. `logit` (n_items,) also orders videos that would
    all be watched to the end. `is_open` (n_items,): videos of R0 and R1 that could be shown and were not seen.
    `random_mean`: the mean worth of the open videos; NaN when none is open.
    """

    worth: Reals
    logit: Reals
    is_open: Mask
    random_mean: float


def is_counted(items: pl.DataFrame) -> Mask:
    """(n_items,) videos that are labelled R0 or R1: the only ones whose watching counts."""
    return items["risk_tier"].is_in(["R0", "R1"]).fill_null(False).to_numpy()


def offer_to(truth: Truth, person: int, counted: Mask, is_eligible: Mask) -> Offer:
    """
    What a person could be shown. `is_eligible` (n_items,): what every filter lets through and they have not seen.
    """
    rows = np.arange(len(counted))
    logit = undistressed_logit(truth, np.full(len(rows), person), rows)
    watched = watch_fraction(logit)
    is_open = counted & is_eligible
    random_mean = float(watched[is_open].mean()) if is_open.any() else float("nan")
    return Offer(worth=np.where(counted, watched, random_mean), logit=logit, is_open=is_open, random_mean=random_mean)


def page_worth(offer: Offer, page: Integers, size: int = PAGE_SIZE) -> float:
    """The worth of a page of at most `size` rows; missing places and `EMPTY` count as the random mean."""
    shown = page[page != EMPTY]
    return float((offer.worth[shown].sum() + (size - len(shown)) * offer.random_mean) / size)


def best_page(offer: Offer, scores: Reals, size: int = PAGE_SIZE) -> Ids:
    """(at most size,) the open rows with the highest scores (n_items,), equal scores by row."""
    rows = np.flatnonzero(offer.is_open).astype(np.int32)
    return rows[rank_order(np.asarray(scores[rows], np.float32), rows)][:size]


def padded(page: Integers, size: int = PAGE_SIZE) -> Ids:
    """(size,) a page with `EMPTY` at its end."""
    filled = np.full(size, EMPTY, np.int32)
    filled[: len(page)] = page
    return filled


def distressed_watch(truth: Truth, person: int, page: Integers) -> float:
    """The watch fractions of a page added up, with the pulls of distress and without noise, R2 included."""
    shown = np.asarray(page[page != EMPTY], np.int64)
    return float(watch_fraction(watch_logit(truth, np.full(len(shown), person), shown)).sum())


# --- over people ---


def gain(worth: Reals, random: Reals, best: Reals) -> float:
    """The share of what is attainable over random pages. Shapes: (q,) each; people with a NaN do not count."""
    worth, random, best = _counted(worth, random, best)
    return float((worth.mean() - random.mean()) / (best.mean() - random.mean())) if len(worth) else float("nan")


def gain_estimate(worth: Reals, random: Reals, best: Reals, resamples: Resamples) -> Estimate:
    """`gain` with its percentile interval over people drawn with replacement."""
    is_known = np.isfinite(worth) & np.isfinite(random) & np.isfinite(best)
    if not is_known.any():
        return Estimate(mean=None, low=None, high=None, n=0)
    draws = resamples.counts[:, is_known]
    above, attainable = draws @ (worth - random)[is_known], draws @ (best - random)[is_known]
    gains = above[attainable > 0] / attainable[attainable > 0]
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.quantile(gains, [tail, 1 - tail])
    return Estimate(mean=gain(worth, random, best), low=float(low), high=float(high), n=int(is_known.sum()))


def _counted(*columns: Reals) -> tuple[Reals, ...]:
    is_known = np.logical_and.reduce([np.isfinite(column) for column in columns])
    return tuple(column[is_known] for column in columns)


def strangers(kinds: Sequence[Hashable], rng: np.random.Generator, n: int = N_STRANGERS) -> list[Longs]:
    """
    For each of q people, at most n others of the same kind, drawn without repeats; none for the only one of a kind.
    """
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number, kind in enumerate(kinds):
        members[kind].append(number)
    drawn = []
    for number, kind in enumerate(kinds):
        others = np.array([other for other in members[kind] if other != number], np.int64)
        drawn.append(np.sort(rng.choice(others, min(n, len(others)), replace=False)))
    return drawn


def strangers_worth(offer: Offer, pages: Pages, others: Longs) -> float:
    """
    The mean worth to one person of their strangers' pages, over the videos on each that are open to this person.

    Videos in other languages or seen before would make a stranger's page worth little for no lack of taste. NaN for
    somebody without strangers, or when nothing on their pages is open.
    """
    shown = (pages[other][pages[other] != EMPTY] for other in others)
    worths = [offer.worth[page[offer.is_open[page]]] for page in shown]
    means = [worth.mean() for worth in worths if len(worth)]
    return float(np.mean(means)) if means else float("nan")


# --- how alike pages are ---


def page_counts(pages: Pages, n_items: int) -> Longs:
    """(n_items,) on how many pages each video stands."""
    return np.bincount(pages[pages != EMPTY], minlength=n_items).astype(np.int64)


def overlap(pages: Pages, n_items: int) -> float:
    """The mean number of videos that two different people's pages have in common, over all pairs; NaN for one page."""
    n, counts = len(pages), page_counts(pages, n_items)
    return float((counts * (counts - 1)).sum() / (n * (n - 1))) if n > 1 else float("nan")


def overlap_across(pages: Pages, kinds: Sequence[Hashable], places: Sequence[Hashable]) -> float:
    """The same over the pairs of people of one kind who live in different places; NaN without such a pair."""
    shown = [frozenset(page[page != EMPTY].tolist()) for page in pages]
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number, kind in enumerate(kinds):
        members[kind].append(number)
    common = [
        len(shown[a] & shown[b])
        for group in members.values()
        for a, b in combinations(group, 2)
        if places[a] != places[b]
    ]
    return float(np.mean(common)) if common else float("nan")
