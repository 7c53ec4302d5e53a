"""
The outcome model of the doubly robust estimators: the mean reward of an action at its place, shrunk, cross-fitted.

Simple on purpose. A doubly robust value is right with any model as long as the propensities are; a better model makes
it less noisy. A person's choices are predicted from other people alone, so that nothing is predicted from itself.
"""

from typing import Final

import numpy as np

from eval.ope.rounds import Choices, Rounds
from recsys.types import Longs, Reals

N_FOLDS: Final = 5
PRIOR_ROUNDS: Final = 20.0
"""The mean of an action is drawn to that of all as if by so many choices; that of its place to the action's."""


def expected_rewards(rounds: Rounds, choices: Choices, rewards: Reals, seed: int = 0) -> tuple[Reals, Reals]:
    """
    What the model expects of the policy and of the logged action, at each logged choice.

    Shapes:  rewards (n,) what to predict; returns direct (n,) and predicted (n,).
    """
    places, place = np.unique(rounds.positions, return_inverse=True)
    n_actions = len(rounds.action_ids)
    fold = np.random.default_rng([seed, 4]).permutation(int(rounds.people.max()) + 1)[rounds.people] % N_FOLDS
    direct, predicted = np.empty(len(rounds)), np.empty(len(rounds))
    place_of = _place_of_situation(choices, place)
    for held_out in range(N_FOLDS):
        mine = fold == held_out
        if not mine.any():
            continue
        seen = ~mine if not mine.all() else mine
        table = _means(rounds.actions[seen], place[seen], rewards[seen], n_actions, len(places))
        predicted[mine] = table[rounds.actions[mine], place[mine]]
        expected = table[choices.actions, place_of[choices.situations]]
        total = np.bincount(choices.situations, choices.probabilities * expected, len(place_of))
        direct[mine] = total[choices.situation_of[mine]]
    return direct, predicted


def _place_of_situation(choices: Choices, place: Longs) -> Longs:
    """(n_situations,) the place that each situation is about: that of a logged choice in it."""
    size = int(max(choices.situation_of.max(initial=0), choices.situations.max(initial=0))) + 1
    found = np.zeros(size, np.int64)
    found[choices.situation_of] = place
    return found


def _means(actions: Longs, places: Longs, rewards: Reals, n_actions: int, n_places: int) -> Reals:
    """(n_actions + 1, n_places) shrunk means; the last row, also number -1, is an action that nobody logged."""
    overall = float(rewards.mean())
    cell, size = actions * n_places + places, (n_actions + 1) * n_places
    total = np.bincount(cell, rewards, size).reshape(-1, n_places)
    count = np.bincount(cell, minlength=size).reshape(-1, n_places)
    of_action = (total.sum(axis=1) + PRIOR_ROUNDS * overall) / (count.sum(axis=1) + PRIOR_ROUNDS)
    return np.asarray((total + PRIOR_ROUNDS * of_action[:, None]) / (count + PRIOR_ROUNDS), np.float64)


def rewards_to_come(rounds: Rounds) -> Reals:
    """(n,) the sum of a page's rewards from each place on. Rows are sorted by page and place."""
    total = np.cumsum(rounds.rewards)
    before = np.concatenate(([0.0], total[:-1]))
    ends = np.flatnonzero(np.diff(rounds.slates, append=rounds.slates[-1:] + 1))
    return np.asarray(np.repeat(total[ends], np.diff(ends, prepend=-1)) - before)
