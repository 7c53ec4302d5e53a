"""
Logs to compare estimators on, as plain arrays: made here, or the sample of the Open Bandit Dataset.

Needs NumPy alone, so that the environment of `benchmarks/obp` reads the very same arrays.
"""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PRIOR = 20.0
CLIP = 2.0
"""Low, so that it matters in every log."""


@dataclass(frozen=True)
class ChoiceLog:
    """
    n choices among `n_actions` at `n_places`: `actions`, `places` from 0, `rewards`, `logged` probability (n,);
    `policy` (n_places, n_actions) that is judged; `expected` (n_actions,) of an outcome model.
    """

    actions: np.ndarray
    places: np.ndarray
    rewards: np.ndarray
    logged: np.ndarray
    policy: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True)
class PageLog:
    """
    n pages of k places: `actions`, `rewards`, and the probability of each action given those before it under the two
    policies, `logged` and `chosen`; over all ways to fill those before it, `logged_place` and `chosen_place`, all
    (n, k). `policy` (n, k, n_actions) given those before; `expected` (n, k, n_actions) sums of rewards from there on.
    """

    actions: np.ndarray
    rewards: np.ndarray
    logged: np.ndarray
    chosen: np.ndarray
    logged_place: np.ndarray
    chosen_place: np.ndarray
    policy: np.ndarray
    expected: np.ndarray


def scrambled(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers as fractions in [0, 1) without a visible order (multiplicative hashing of Knuth)."""
    mixed = (np.asarray(numbers, np.uint64) + np.uint64(1)) * np.uint64(2_654_435_761) % np.uint64(1 << 32)
    return (mixed ^ (mixed >> np.uint64(15))).astype(np.float64) * 2_246_822_519 % (1 << 32) / (1 << 32)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def made_choices(n: int = 500, n_actions: int = 6, n_places: int = 3) -> ChoiceLog:
    """A log without any draw, so that every machine makes the same one."""
    t, a = np.arange(n), np.arange(n_actions)
    actions, places = (n_actions * scrambled(t)).astype(np.int64), t % n_places
    behaviour = softmax(np.sin(1.7 * a)[None, :] + np.zeros((n_places, 1)))
    policy = softmax(np.cos(2.3 * a[None, :] + np.arange(n_places)[:, None]))
    rewards = (scrambled(t * 7 + actions * 31) < 0.2 + 0.1 * actions).astype(float)
    return ChoiceLog(actions, places, rewards, behaviour[places, actions], policy, shrunk(actions, rewards, n_actions))


def made_pages(n: int = 200, k: int = 3, n_actions: int = 5) -> PageLog:
    """Pages of two policies that fill places with replacement, so that the probabilities of a place are plain."""
    t, places, a = np.arange(n)[:, None], np.arange(k)[None, :], np.arange(n_actions)
    actions = (n_actions * scrambled(t * k + places)).astype(np.int64)
    behaviour = softmax(np.sin(1.3 * a[None, :] + np.arange(k)[:, None]))
    policy = softmax(np.cos(0.9 * a[None, :] + 2 * np.arange(k)[:, None]))
    rewards = (scrambled(t * 17 + actions * 5 + places) < 0.2 + 0.1 * actions).astype(float)
    logged = np.take_along_axis(np.broadcast_to(behaviour, (n, k, n_actions)), actions[:, :, None], 2)[:, :, 0]
    chosen = np.take_along_axis(np.broadcast_to(policy, (n, k, n_actions)), actions[:, :, None], 2)[:, :, 0]
    expected = (k - places[:, :, None]) * (0.4 + 0.1 * np.sin(a)[None, None, :]) + np.zeros((n, 1, 1))
    return PageLog(
        actions, rewards, logged, chosen, logged, chosen, np.broadcast_to(policy, (n, k, n_actions)), expected
    )


def shrunk(actions: np.ndarray, rewards: np.ndarray, n_actions: int) -> np.ndarray:
    """(n_actions,) mean rewards, drawn to that of all."""
    counts = np.bincount(actions, minlength=n_actions)
    return (np.bincount(actions, rewards, n_actions) + PRIOR * rewards.mean()) / (counts + PRIOR)


def open_bandit(folder: Path, log: str, judged: str, campaign: str) -> ChoiceLog:
    """The log of one policy, and the other one as the shares of items by place in its own log."""
    actions, places, rewards, logged = _columns(folder / log / f"{campaign}_log.csv.gz")
    others, at, _, _ = _columns(folder / judged / f"{campaign}_log.csv.gz")
    n_actions, n_places = int(max(actions.max(), others.max())) + 1, int(places.max()) + 1
    counts = np.bincount(at * n_actions + others, minlength=n_places * n_actions).reshape(n_places, n_actions)
    policy = counts / counts.sum(axis=1, keepdims=True)
    return ChoiceLog(actions, places, rewards, logged, policy, shrunk(actions, rewards, n_actions))


def mean_reward(folder: Path, log: str, campaign: str) -> float:
    """What the policy of a log gained in it."""
    return float(_columns(folder / log / f"{campaign}_log.csv.gz")[2].mean())


def _columns(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        rows = [(r["item_id"], r["position"], r["click"], r["propensity_score"]) for r in csv.DictReader(text)]
    items, places, clicks, logged = zip(*rows, strict=True)
    return (
        np.array(items, np.int64), np.array(places, np.int64) - 1, np.array(clicks, np.float64),
        np.array(logged, np.float64),
    )  # fmt: skip
