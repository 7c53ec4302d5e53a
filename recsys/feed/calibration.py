"""
Calibration of a page to the languages that a person watches: a language that the page is behind in gets a bonus.

Language is a preference and not only a filter. Somebody who reads French first also understands Darija, and popular
Darija would push French off their page. What is wanted comes from training (the best pages of people of the same first
language, see `training.models.languages`) and moves to what this person watches. It is no quota: it adds to the score,
the caps and floors decide above it, and a language without supply gets nothing (Steck 2018, with a proportional bonus).
"""

from collections.abc import Mapping, Sequence
from ctypes import CDLL, c_double, c_int64
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.kernels import address, library
from recsys.types import Floats, Mask, Reals

PRIOR_EVENTS: Final = 10.0
"""The confidence of a person's own reactions at which it counts as much as what training expects."""

STEP: Final = 1e-4
"""By so much, in units of the score, a later place of a calibrated page stands below the one before it."""


def wanted_languages(
    mix: Mapping[str, Mapping[str, float]],
    usual: Mapping[str, Mapping[str, float]],
    languages: Sequence[str],
    watched: Mapping[str, float],
) -> dict[str, float]:
    """
    The share of each language on a page, adding up to 1, by the languages that a person stated and what they watch.

    `mix`: by first language, the share of each language on the best pages of those who understand it; `usual`: in what
    these people watched. `languages`: those understood, the first first. `watched`: the person's own confidence by
    language, above 0. It counts by how much the feed showed too little of a language, which is wanted over usual.
    Empty where training knows nothing of the first language and the person watched nothing: then the page is not
    calibrated.
    """
    first = languages[0] if languages else ""
    expected, common = (_shares(by_first.get(first, {}), languages) for by_first in (mix, usual))
    weights = {
        name: PRIOR_EVENTS * expected[name] + watched.get(name, 0.0) * _lift(expected[name], common[name])
        for name in languages
    }
    whole = sum(weights.values())
    return {name: weight / whole for name, weight in weights.items()} if whole > 0 else {}


def _shares(shares: Mapping[str, float], languages: Sequence[str]) -> dict[str, float]:
    """Of the languages, adding up to 1; zeros where nothing is known of any."""
    known = {name: shares.get(name, 0.0) for name in languages}
    total = sum(known.values())
    return {name: share / total if total else 0.0 for name, share in known.items()}


def _lift(wanted: float, usual: float) -> float:
    """1 where training does not know both."""
    return wanted / usual if wanted and usual else 1.0


def language_bonus(
    scores: Floats, languages: NDArray[np.integer], wanted: Reals, weight: float, depth: int, is_r1: Mask | None = None
) -> Floats:
    """
    (n,) what is added to each score, in units of `weight`, so that a page of `depth` places is calibrated.

    The page is filled greedily by score + weight * (wanted share - share so far). What comes later on the page scores
    lower than what comes before, and what is not on it lower than all of it. Shapes: scores (n,) finite;
    languages (n,) columns of `wanted` (n_languages,), which adds up to at most 1; weight above 0. Items of R1 (n,) have
    at most the bonus of the language that the page is furthest ahead in: none is on a page for its language.
    """
    native = library()
    if native is None or scores.dtype != np.float32 or not np.isfinite(scores).all():
        bonus, deficits = bonus_in_numpy(scores, languages, wanted, weight, depth)
    else:
        bonus, deficits = bonus_compiled(native, scores, languages, wanted, weight, depth)
    if is_r1 is not None:
        least = np.float32(deficits.min(initial=0))
        bonus[is_r1 & (bonus > least)] = least
    return bonus


def bonus_compiled(
    native: CDLL, scores: Floats, languages: NDArray[np.integer], wanted: Reals, weight: float, depth: int
) -> tuple[Floats, Reals]:
    """The bonus of float32 scores by the compiled loop, and how far the page is behind in each language."""
    scores, wanted = np.ascontiguousarray(scores), np.ascontiguousarray(wanted, np.float64)
    order, columns = np.argsort(-scores, kind="stable"), np.ascontiguousarray(languages, np.int64)
    room, deficits = np.empty((2, len(wanted)), np.int64), np.empty(len(wanted))
    bonus = np.empty(len(scores), np.float32)
    native.language_bonus(
        address(scores), address(order), address(columns), c_int64(len(scores)), address(wanted), c_int64(len(wanted)),
        c_double(weight), c_int64(depth), c_double(STEP), address(room[0]), address(room[1]), address(deficits),
        address(bonus),
    )  # fmt: skip
    return bonus, deficits


def bonus_in_numpy(
    scores: Floats, languages: NDArray[np.integer], wanted: Reals, weight: float, depth: int
) -> tuple[Floats, Reals]:
    """The reference of `bonus_compiled`."""
    adjusted = np.array(scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    queues = [order[languages[order] == language] for language in range(len(wanted))]
    heads, counts = [0] * len(wanted), np.zeros(len(wanted))
    lowest, deficits = np.inf, np.asarray(wanted, np.float64)
    for place in range(min(depth, len(scores))):
        deficits = wanted - counts / max(place, 1)
        values = [
            scores[queue[head]] + weight * deficits[n] if head < len(queue) else -np.inf
            for n, (queue, head) in enumerate(zip(queues, heads, strict=True))
        ]
        best = int(np.argmax(values))
        lowest = min(lowest - STEP, float(values[best]))
        adjusted[queues[best][heads[best]]] = lowest
        heads[best] += 1
        counts[best] += 1
    for n, queue in enumerate(queues):
        rest = queue[heads[n] :]
        adjusted[rest] = np.minimum(scores[rest] + weight * deficits[n], lowest - STEP)
    return np.asarray((adjusted - scores) / weight, np.float32), deficits
