"""What an engagement-only ranker does to one person of the demo world: the harm that Sanad exists to cap."""

from typing import Final

import numpy as np

from eval.simulation.world.behaviour import behave
from eval.simulation.world.model import TRUE_TOPICS, Truth
from recsys.types import Rows
from recsys.vocabulary import FAMILIES

CANDIDATES: Final = 50
TRIES: Final = 0.1  # share of steps at which the ranker tries something at random
LEARNING_FROM: Final = 0.5  # the share of the steps, at the start, that is not counted
OPTIMISM: Final = 1.0  # first guess of the watch fraction, worth one observation


def engagement_only_share(
    truth: Truth, person: int, rng: np.random.Generator, *, n_steps: int = 400, is_greedy: bool = True
) -> float:
    """
    The share of R2 content, in the later half of `n_steps`, that a ranker of watch time alone shows to a person.

    The ranker keeps one mean watch fraction per theme (topic and risk family), sees 50 random candidates of
    tiers R0 to R2 at each step and shows the one whose theme was watched longest so far. With
    `is_greedy=False` it shows a random candidate: the share that the catalogue itself has.
    """
    things = truth.items
    pool: Rows = np.flatnonzero((things.tier <= 2) & truth.people.understands[person, things.language])
    theme = things.topic * (len(FAMILIES) + 1) + things.family + 1
    n_themes = len(TRUE_TOPICS) * (len(FAMILIES) + 1)
    seconds, shown = np.full(n_themes, OPTIMISM), np.ones(n_themes)
    risky = []
    for _ in range(n_steps):
        candidates = rng.choice(pool, min(CANDIDATES, len(pool)), replace=False)
        guesses = (seconds / shown)[theme[candidates]]
        is_try = not is_greedy or rng.random() < TRIES
        item = candidates[0] if is_try else candidates[int(np.argmax(guesses))]
        seconds[theme[item]] += behave(truth, person, np.array([item]), rng).watch_fraction[0]
        shown[theme[item]] += 1
        risky.append(bool(things.tier[item] == 2))
    return float(np.mean(risky[int(n_steps * LEARNING_FROM) :]))
