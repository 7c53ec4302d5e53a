"""The feedback loop of a ranker of watch time on one person of the demo world: the harm that Sanad caps."""

from typing import Final

import numpy as np

from eval.simulation.world.behaviour import behave
from eval.simulation.world.truth import TRUE_TOPICS, Truth
from recsys.types import Rows
from recsys.vocabulary import FAMILIES

N_CANDIDATES: Final = 50
EXPLORATION_SHARE: Final = 0.1  # of steps at which the ranker shows a random candidate
BURN_IN_SHARE: Final = 0.5  # of the steps, at the start, that are not counted
PRIOR_FRACTION: Final = 1.0  # first guess of the watch fraction, worth one observation


def engagement_only_share(
    truth: Truth, person: int, rng: np.random.Generator, *, n_steps: int = 400, is_greedy: bool = True
) -> float:
    """
    The share of R2 content, in the later half of `n_steps`, that a ranker of watch time alone shows to a person.

    The ranker keeps one mean watch fraction per theme (topic and risk family), sees 50 random candidates of
    tiers R0 to R2 at each step and shows the one whose theme was watched longest so far. With
    `is_greedy=False` it shows a random candidate: the share that the catalogue itself has.
    """
    items = truth.items
    pool: Rows = np.flatnonzero((items.tier <= 2) & truth.people.understands[person, items.language])
    theme = items.topic * (len(FAMILIES) + 1) + items.family + 1
    n_themes = len(TRUE_TOPICS) * (len(FAMILIES) + 1)
    watched, shown = np.full(n_themes, PRIOR_FRACTION), np.ones(n_themes)
    is_r2 = []
    for _ in range(n_steps):
        candidates = rng.choice(pool, min(N_CANDIDATES, len(pool)), replace=False)
        estimates = (watched / shown)[theme[candidates]]
        is_random = not is_greedy or rng.random() < EXPLORATION_SHARE
        item = candidates[0] if is_random else candidates[int(np.argmax(estimates))]
        watched[theme[item]] += behave(truth, person, np.array([item]), rng).watch_fraction[0]
        shown[theme[item]] += 1
        is_r2.append(bool(items.tier[item] == 2))
    return float(np.mean(is_r2[int(n_steps * BURN_IN_SHARE) :]))
