"""
Bias and coverage of the off-policy estimators by simulation, where the value of the policy is known exactly.

A run draws a log and estimates with its intervals. Choices: people with one of three tastes, 8 actions, a reward that
depends on both. Pages: 3 places filled without replacement from 5 items (Plackett and Luce), a reward that depends on
the item above (in `places` on its own place alone); every page is enumerated, so that the truth and all probabilities
are exact.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from ope_logs import softmax

from eval.ope import Choices, Rounds, Target, Value, estimate_values
from eval.ope.table import target_of_choices

N_PEOPLE, N_EACH, N_ACTIONS, N_TASTES = 300, 4, 8, 3
N_PAGES, N_PLACES, N_ITEMS = 400, 3, 5
CLIP = 3.0
N_RESAMPLES = 400


@dataclass(frozen=True)
class Drawn:
    """A log, the policy that is judged, and the true mean reward of a choice and of a page."""

    rounds: Rounds
    target: Target
    choice: float
    page: float


def drawn_choices(rng: np.random.Generator) -> Drawn:
    """People make four choices each; their own mood makes these alike, so that people are what to resample."""
    worth = softmax(np.sin(np.arange(N_TASTES * N_ACTIONS).reshape(N_TASTES, N_ACTIONS) * 1.9) * 1.2) * 3
    behaviour = softmax(np.cos(np.arange(N_TASTES * N_ACTIONS).reshape(N_TASTES, N_ACTIONS) * 0.8))
    policy = softmax(3.0 * worth)
    taste = np.repeat(np.arange(N_PEOPLE) % N_TASTES, N_EACH)
    mood = np.repeat(rng.uniform(0.6, 1.4, N_PEOPLE), N_EACH)
    actions = (rng.random(len(taste))[:, None] > np.cumsum(behaviour, axis=1)[taste, :-1]).sum(axis=1)
    rewards = (rng.random(len(taste)) < np.clip(worth[taste, actions] * mood / 2, 0, 1)).astype(float)
    n = np.arange(len(taste))
    rounds = Rounds(
        people=n // N_EACH, slates=n, positions=np.ones(len(n), np.int64), actions=actions, rewards=rewards,
        logged=behaviour[taste, actions], placed=behaviour[taste, actions],
        action_ids=[str(a) for a in range(N_ACTIONS)],
    )  # fmt: skip
    choices = Choices(
        situation_of=taste, situations=np.repeat(np.arange(N_TASTES), N_ACTIONS),
        actions=np.tile(np.arange(N_ACTIONS), N_TASTES), probabilities=policy.ravel(),
    )  # fmt: skip
    shares = np.bincount(np.arange(N_PEOPLE) % N_TASTES) / N_PEOPLE
    truth = float(shares @ (policy * worth / 2).sum(axis=1))
    return Drawn(rounds, target_of_choices(rounds, choices, seed=0), truth, truth)


@cache
def _all_pages() -> np.ndarray:
    return np.array(list(itertools.permutations(range(N_ITEMS), N_PLACES)))


def _given(scores: np.ndarray) -> np.ndarray:
    """(n_pages, n_places) the probability of each place given those above, of a Plackett-Luce policy."""
    pages, worth = _all_pages(), np.exp(scores)
    left = worth.sum() - np.cumsum(worth[pages], axis=1) + worth[pages]
    return worth[pages] / left


def _placed(given: np.ndarray) -> np.ndarray:
    """(n_pages, n_places) the probability that an item comes at a place, over all pages."""
    pages, of_page = _all_pages(), given.prod(axis=1)
    table = np.array([np.bincount(pages[:, k], of_page, N_ITEMS) for k in range(N_PLACES)])
    return table[np.arange(N_PLACES), pages]


def _means(*, neighbours: bool) -> np.ndarray:
    """(n_pages, n_places) expected rewards; with `neighbours` less where the item above is one."""
    pages = _all_pages()
    alone = 0.25 + 0.12 * pages / (N_ITEMS - 1) + 0.1 * np.arange(N_PLACES)
    if not neighbours:
        return alone
    is_near = np.abs(np.diff(pages, axis=1, prepend=-9)) == 1
    return np.where(is_near, 0.5 * alone, alone)


def _to_come(given: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per page and place: rewards from there on expected given the page so far, and before the place is filled."""
    pages, of_page = _all_pages(), given.prod(axis=1)
    rest = np.cumsum(means[:, ::-1], axis=1)[:, ::-1]
    predicted, direct = np.empty_like(means), np.empty_like(means)
    for k in range(N_PLACES):
        for table, depth in ((predicted, k + 1), (direct, k)):
            codes = pages[:, :depth] @ (N_ITEMS ** np.arange(depth)) if depth else np.zeros(len(pages), np.int64)
            total = np.bincount(codes, of_page * rest[:, k]) / np.maximum(np.bincount(codes, of_page), 1e-300)
            table[:, k] = total[codes]
    return predicted, direct


def drawn_pages(rng: np.random.Generator, *, neighbours: bool = True) -> Drawn:
    """Whole pages, one a person. The outcome model of cascade-dr is wrong by a constant factor, on purpose."""
    behaviour, policy = _given(0.5 * np.cos(np.arange(N_ITEMS))), _given(0.8 * np.sin(1.0 + np.arange(N_ITEMS)))
    means, pages = _means(neighbours=neighbours), _all_pages()
    number = rng.choice(len(pages), N_PAGES, p=behaviour.prod(axis=1) / behaviour.prod(axis=1).sum())
    predicted, direct = (0.8 * table[number].ravel() for table in _to_come(policy, means))
    rows = np.repeat(np.arange(N_PAGES), N_PLACES)
    rounds = Rounds(
        people=rows, slates=rows, positions=np.tile(np.arange(N_PLACES), N_PAGES) + 1, actions=pages[number].ravel(),
        rewards=(rng.random((N_PAGES, N_PLACES)) < means[number]).ravel().astype(float),
        logged=behaviour[number].ravel(), placed=_placed(behaviour)[number].ravel(),
        action_ids=[str(item) for item in range(N_ITEMS)],
    )  # fmt: skip
    target = Target(
        chosen=policy[number].ravel(), placed=_placed(policy)[number].ravel(), direct_rest=direct,
        predicted_rest=predicted,
    )  # fmt: skip
    truth = float(policy.prod(axis=1) @ means.sum(axis=1))
    return Drawn(rounds, target, truth / N_PLACES, truth)


def drawn_places(rng: np.random.Generator) -> Drawn:
    """The same where a reward depends on its own place alone."""
    return drawn_pages(rng, neighbours=False)


TABLES: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "choices": drawn_choices,
    "pages": drawn_pages,
    "places": drawn_places,
}


@dataclass(frozen=True)
class Line:
    """
    One estimator over all runs: its truth, bias with the standard error of it, standard deviation, and the share of
    runs whose interval holds the truth.
    """

    estimator: str
    truth: float
    bias: float
    bias_error: float
    spread: float
    coverage: float


def lines(name: str, n_runs: int) -> list[Line]:
    """The lines of a table. Nothing is refused, so that what clipping does is seen too."""
    values: dict[str, list[Value]] = {}
    truths: dict[str, float] = {}
    for run in range(n_runs):
        drawn = TABLES[name](np.random.default_rng([run, 11]))
        found = estimate_values(
            drawn.rounds, drawn.target, clip=CLIP, seed=run, n_resamples=N_RESAMPLES, max_clipped=1.0
        )
        for value in found:
            values.setdefault(value.estimator, []).append(value)
            truths[value.estimator] = drawn.page if value.unit == "page" else drawn.choice
    return [_line(estimator, truths[estimator], runs) for estimator, runs in values.items()]


def _line(estimator: str, truth: float, runs: list[Value]) -> Line:
    table = np.array([(run.value, run.low, run.high) for run in runs], np.float64)
    spread = float(table[:, 0].std(ddof=1))
    return Line(
        estimator, truth, float(table[:, 0].mean()) - truth, spread / len(runs) ** 0.5, spread,
        float(((table[:, 1] <= truth) & (truth <= table[:, 2])).mean()),
    )  # fmt: skip


def run_table(name: str, n_runs: int) -> str:
    """The table as text, in Markdown."""
    rows = [f"\n{name}, {n_runs:,} runs, {N_RESAMPLES} resamples, clip {CLIP:g}"]
    rows += [
        "| estimator | truth | bias | ± (1.96 errors) | standard deviation | coverage |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| `{line.estimator}` | {line.truth:.4f} | {line.bias:+.4f} | {1.96 * line.bias_error:.4f} | "
        f"{line.spread:.4f} | {line.coverage:.1%} |"
        for line in lines(name, n_runs)
    ]
    return "\n".join(rows)
