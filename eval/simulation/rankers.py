"""
Rankers of the literature as pure functions: watch time only, MMR, calibration, and a cap within one page.

They know no ledger and no policy. `eval.simulation.baselines` turns them into feeds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.types import Floats, Longs, Mask, Reals, Rows

MAX_CANDIDATES: Final = 200  # that MMR and calibration look at
MMR_LAMBDA: Final = 0.7
CALIBRATION_LAMBDA: Final = 0.5
CALIBRATION_SMOOTHING: Final = 0.01  # Steck 2018: a theme that the page lacks keeps this part of its history share
BLOCK_LENGTH: Final = 10  # slots of a page
MAX_R2_PER_BLOCK: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankerInput:
    """
    n candidates, best first. Shapes: `scores` (n,); `vectors` (n, d) of unit length or zero; `themes` (n,) numbers of
    topic or family; `is_r2` (n,) by label; `history_shares` (n_themes,) of the person's watching, all 0 at first.
    """

    scores: Floats
    vectors: Floats
    themes: Longs
    is_r2: Mask
    history_shares: Reals


Ranker = Callable[[RankerInput, int], Rows]
"""Candidates and a page size to the rows of the page, in order."""


def score_only(ranked: RankerInput, size: int) -> Rows:
    """The best scores."""
    return np.arange(min(size, len(ranked.scores)))


def mmr(ranked: RankerInput, size: int) -> Rows:
    """Carbonell and Goldstein 1998: the score less the similarity to the nearest item on the page so far."""
    values, vectors = _scaled(ranked.scores[:MAX_CANDIDATES]), ranked.vectors[:MAX_CANDIDATES]
    nearest: Reals = np.zeros(len(values))
    chosen: list[int] = []
    for _ in range(min(size, len(values))):
        gain = MMR_LAMBDA * values - (1 - MMR_LAMBDA) * nearest
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return np.array(chosen, np.intp)


def calibrate(ranked: RankerInput, size: int) -> Rows:
    """Steck 2018, greedy: the page's mean score less its divergence from the themes of the person's history."""
    history = ranked.history_shares
    if not history.any():
        return score_only(ranked, size)
    values, themes = _scaled(ranked.scores[:MAX_CANDIDATES]), ranked.themes[:MAX_CANDIDATES]
    counts: Reals = np.zeros(len(history))
    total, chosen = 0.0, list[int]()
    for n in range(1, min(size, len(values)) + 1):
        after = counts + np.eye(len(history))[themes]  # (candidates, themes)
        mean, divergence = (total + values) / n, _divergence(history, after / n)
        gain = (1 - CALIBRATION_LAMBDA) * mean - CALIBRATION_LAMBDA * divergence
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        counts[themes[chosen[-1]]] += 1
        total += values[chosen[-1]]
    return np.array(chosen, np.intp)


def cap_per_page(ranked: RankerInput, size: int) -> Rows:
    """The best scores with at most 2 R2 items in every 10 slots of the page; the next page starts anew."""
    chosen: list[int] = []
    rest = list(range(len(ranked.scores)))
    n_r2 = 0
    while rest and len(chosen) < size:
        n_r2 = 0 if len(chosen) % BLOCK_LENGTH == 0 else n_r2
        row = next((row for row in rest if n_r2 < MAX_R2_PER_BLOCK or not ranked.is_r2[row]), None)
        if row is None:
            break
        rest.remove(row)
        chosen.append(row)
        n_r2 += int(ranked.is_r2[row])
    return np.array(chosen, np.intp)


def _scaled(scores: Floats) -> Reals:
    """The scores scaled to [0, 1], best 1."""
    spread = float(scores.max(initial=0) - scores.min(initial=0)) if len(scores) else 0.0
    return np.asarray((scores - scores.min()) / spread if spread > 0 else np.ones(len(scores)), np.float64)


def _divergence(history: Reals, shown: Reals) -> Reals:
    """(n,) Kullback-Leibler divergence of (n, themes) shares from those of the history."""
    mixed = (1 - CALIBRATION_SMOOTHING) * shown + CALIBRATION_SMOOTHING * history
    is_positive = history > 0
    return np.asarray((history[is_positive] * np.log(history[is_positive] / mixed[:, is_positive])).sum(axis=1))


RANKERS: Final[Mapping[str, Ranker]] = {
    "watch time only": score_only,
    "calibrated to history": calibrate,
    "MMR, lambda 0.7": mmr,
    "at most 2 R2 in 10 of a page": cap_per_page,
}
