"""Logged choices, the policy that is judged, and how likely each of the two made what was chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.errors import DataError
from recsys.metrics import is_probability
from recsys.types import Longs, Reals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rounds:
    """
    n logged choices, each an action at a place.

    Shapes: all (n,). `people` numbers whoever is resampled as one; `slates` numbers the page of a choice; `positions`
            count from 1; `actions` are numbers of `action_ids`; `rewards`; `logged` is the probability with which the
            action was chosen, given the places before it; `placed` the same over all ways to fill the places before.
    """

    people: Longs
    slates: Longs
    positions: Longs
    actions: Longs
    rewards: Reals
    logged: Reals
    placed: Reals
    action_ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def has_slates(self) -> bool:
        """Whether a page has more than one place."""
        return len(np.unique(self.slates)) < len(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choices:
    """
    What a policy would choose: in situation s the action a with a probability, one row for each pair of them.

    Shapes: `situation_of` (n,) the situation of each logged choice; `situations`, `actions` and `probabilities` (m,),
            sorted by situation and action. An action of -1 never was logged. Situations without rows choose nothing.
    """

    situation_of: Longs
    situations: Longs
    actions: Longs
    probabilities: Reals

    def of(self, actions: Longs) -> Reals:
        """(n,) the probability of the logged action of each choice."""
        width = max(int(self.actions.max(initial=0)), int(actions.max(initial=0))) + 2
        keys = self.situations * width + self.actions
        wanted = self.situation_of * width + actions
        order = np.argsort(keys, kind="stable")
        at = np.minimum(np.searchsorted(keys[order], wanted), max(len(keys) - 1, 0))
        if not len(keys):
            return np.zeros(len(actions))
        is_there = keys[order][at] == wanted
        return np.asarray(np.where(is_there, self.probabilities[order][at], 0.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """
    The policy that is judged, on n logged choices.

    Shapes: all (n,). `chosen` is its probability of the logged action, given the places before it; `placed` the same
            over all ways to fill them; `direct` is what an outcome model expects of the policy in each situation and
            `predicted` of the logged action; None without such a model. `direct_rest` and `predicted_rest` expect the
            sum of the rewards from this place of a page on.
    """

    chosen: Reals
    placed: Reals
    direct: Reals | None = None
    predicted: Reals | None = None
    direct_rest: Reals | None = None
    predicted_rest: Reals | None = None


def propensity_problem(logged: Reals, name: str = "propensity") -> str | None:
    """What is wrong with logged propensities (n,), as a sentence that names the first row; None when nothing is."""
    if not len(logged):
        return "found no row, expected logged choices; export a longer time, or name another file"
    known = np.isfinite(logged)
    expected = "expected a number above 0 and at most 1 in every row"
    if not known.any():
        return (
            f"column {name}: found no value, {expected}; only a log that says how likely its choices were can be used"
        )
    if (logged[known] == 0).all():
        return (
            f"column {name}: found only 0, {expected}; nothing with probability 0 is ever chosen: look how it is filled"
        )
    if is_probability(logged).all():
        return None
    wrong = np.flatnonzero(~is_probability(logged))
    value = logged[wrong[0]]
    what = "nothing" if np.isnan(value) else f"{value:g}"
    return (
        f"column {name}: found {what} in row {wrong[0] + 1} and no probability in {len(wrong):,} of {len(logged):,} "
        f"rows, {expected}; correct them, or leave out rows whose propensity nobody knows"
    )


def check_support(rounds: Rounds, target: Target) -> None:
    """Raises DataError when the log has nothing of what the policy would choose."""
    if not (target.placed > 0).any():
        raise DataError(
            f"the policy never chooses what was logged: of {len(rounds):,} choices of the log it would make none, so "
            "the log says nothing about it; try it in an experiment, or log with more exploration"
        )
