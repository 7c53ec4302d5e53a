"""
Which languages people watch, by their first language: what a page is calibrated to (`recsys.feed.calibration`).

The shares are those of the log as it is (Steck 2018). Weighed by inverse propensities they would be those of a feed
that shows everything alike; a page of the best has more of a first language than that (LOG.md, 2026-11-29).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from recsys.data.impressions import Impressions
from recsys.models.features import ItemFacts

PRIOR_RESPONSES: Final = 50.0
"""Responses by which the shares of a first language are shrunk to those of all."""


def fit_language_mix(shown: Impressions, firsts: Sequence[str | None], facts: ItemFacts) -> dict[str, dict[str, float]]:
    """
    By first language, the share of what its people watched in each language; empty without impressions.

    `firsts`: the first language of each person by number, None = unknown.
    """
    if not len(shown):
        return {}
    watched, language = shown.response, facts.language[shown.rows]
    n_codes = int(facts.language.max(initial=0)) + 1
    names = {code: name for name, code in facts.codes.items()}
    everybody = _shares(np.bincount(language, watched, n_codes))
    first_of = np.array([first or "" for first in firsts])[shown.people]
    mix = {}
    for first in sorted({first for first in firsts if first}):
        mine = first_of == first
        counts = np.bincount(language[mine], watched[mine], n_codes) + PRIOR_RESPONSES * everybody
        mix[first] = {
            names[code]: round(float(share), 4) for code, share in enumerate(_shares(counts)) if code and share > 0
        }
    return mix


def _shares(counts: np.ndarray) -> np.ndarray:
    counts = counts.copy()
    counts[0] = 0  # an unknown language is no preference
    return np.asarray(counts / max(float(counts.sum()), 1e-9))
