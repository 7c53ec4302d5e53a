"""
Logistic regression of many questions about the same items at once, by truncated Newton steps.

Every step reads the features for all questions together, sparse or dense, which costs little more than for one. The
answers of a question are weighed so that each counts as much in all (balanced). The bias is a feature like any other.
A question of several choices is a softmax; one of yes or no a softmax with another choice that stays at 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.types import Csr, Floats, Rows

MAX_GRADIENT: Final = 0.01
"""A question is fitted when its gradient is this share of the gradient at 0."""

_MAX_NEWTON_STEPS: Final = 30
_MAX_CONJUGATE_STEPS: Final = 25
_MAX_RESIDUAL: Final = 0.5
"""Share of the gradient that a Newton step may leave over: a closer one does not come nearer to the end."""

_MAX_HALVINGS: Final = 8
_BLOCK_ROWS: Final = 1_024
_MAX_LOG_ODDS: Final = 60.0

Answers = Mapping[str, NDArray[np.bool_] | NDArray[np.int64]]
"""Question -> (n,) booleans for yes or no, or small whole numbers for one of several choices."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """
    The answers of n items in q columns: one for a yes-or-no question, one for each choice of another.

    Shapes: `is_true` (n, q) 0 or 1; `same_question` (q, q) 1 where two columns belong to one question; `other` (q,) 1
            for a question of yes or no, whose "no" has no column, else 0. `columns` are their names, `sizes` how many
            each question has.
    """

    columns: tuple[str, ...]
    sizes: tuple[int, ...]
    is_true: Floats
    same_question: Floats
    other: Floats

    def take(self, rows: Rows) -> "Targets":
        """The given items."""
        return replace(self, is_true=self.is_true[rows])


def build_targets(answers: Answers) -> Targets:
    """The answers in columns, question after question."""
    sizes = tuple(1 if answer.dtype == np.bool_ else int(answer.max()) + 1 for answer in answers.values())
    named = list(zip(answers.items(), sizes, strict=True))
    question = np.repeat(np.arange(len(sizes)), sizes)
    return Targets(
        columns=tuple(name if size == 1 else f"{name}={n}" for (name, _), size in named for n in range(size)),
        sizes=sizes,
        is_true=np.hstack(
            [answer[:, None] if size == 1 else answer[:, None] == np.arange(size) for (_, answer), size in named]
        ).astype(np.float32),
        same_question=(question[:, None] == question).astype(np.float32),
        other=np.repeat(np.array(sizes) == 1, sizes).astype(np.float32),
    )


def fit_logistic(features: Csr | Floats, targets: Targets, c: float, start: Floats | None = None) -> Floats:
    """
    (d + 1, q) weights, the bias last, that minimise the weighed log loss and half their squares over `c`.

    Shapes: `features` (n, d), CSR or dense, float32; `start` (d + 1, q) weights near the end save steps. A choice
    without items gets a low bias.
    """
    loss = _Loss(_blocks(features), targets, balanced_weights(targets), np.float32(1 / c))
    weights = np.zeros((features.shape[1] + 1, targets.is_true.shape[1]), np.float32)
    log_odds = np.zeros_like(targets.is_true)
    gradient = loss.gradient(loss.predict(log_odds), weights)
    limit = np.float32(MAX_GRADIENT**2) * loss.by_question(gradient, gradient)
    if start is not None:
        weights, log_odds = start, loss.log_odds(start)
    for _ in range(_MAX_NEWTON_STEPS):
        predicted = loss.predict(log_odds)
        gradient = loss.gradient(predicted, weights)
        is_open = loss.by_question(gradient, gradient) > limit
        if not is_open.any():
            break
        direction = loss.newton_step(predicted, np.where(is_open, gradient, np.float32(0)))
        weights, log_odds = loss.descend(weights, log_odds, direction)
    return weights


def _blocks(features: Csr | Floats) -> list[Csr] | list[Floats]:
    """The features with a last column of ones for the bias; sparse ones in blocks that stay near the processor."""
    ones = np.ones((features.shape[0], 1), np.float32)
    if isinstance(features, np.ndarray):
        return [np.hstack([features, ones])]
    rows = sparse.csr_matrix(sparse.hstack([features, sparse.csr_matrix(ones)]), dtype=np.float32)
    return [rows[start : start + _BLOCK_ROWS] for start in range(0, rows.shape[0], _BLOCK_ROWS)]


def balanced_weights(targets: Targets) -> Floats:
    """(n, q) weights of items: those of each answer to a question add up to n / (how many answers occur)."""
    n = len(targets.is_true)
    n_true = targets.is_true.sum(axis=0)
    n_answers = (n_true > 0) @ targets.same_question + targets.other * (n_true < n)
    of_true = (targets.is_true * (n / np.maximum(n_true, 1))) @ targets.same_question
    of_false = (1 - targets.is_true) * targets.other * (n / np.maximum(n - n_true, 1))
    return np.asarray((of_true + of_false) / n_answers, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Loss:
    """What is minimised. Shapes: `blocks` of (n, d) features, row by row; `balance` (n, q); `decay` is 1 / c."""

    blocks: list[Csr] | list[Floats]
    targets: Targets
    balance: Floats
    decay: np.float32

    def by_question(self, left: Floats, right: Floats) -> Floats:
        """(q,) the product of two (d, q) arrays over each question, in all its columns."""
        return np.asarray(np.einsum("ij,ij->j", left, right) @ self.targets.same_question, np.float32)

    def predict(self, log_odds: Floats) -> Floats:
        """(n, q) probabilities."""
        odds = np.exp(np.clip(log_odds, -_MAX_LOG_ODDS, _MAX_LOG_ODDS))
        return np.asarray(odds / (odds @ self.targets.same_question + self.targets.other), np.float32)

    def gradient(self, predicted: Floats, weights: Floats) -> Floats:
        """(d, q)."""
        return self._back(self.balance * (predicted - self.targets.is_true)) + self.decay * weights

    def newton_step(self, predicted: Floats, gradient: Floats) -> Floats:
        """(d, q) the direction by conjugate gradients, each question with steps of its own; 0 where the gradient is."""
        found, residual, direction = np.zeros_like(gradient), -gradient, -gradient
        left = first = self.by_question(residual, residual)
        for _ in range(_MAX_CONJUGATE_STEPS):
            is_open = left > _MAX_RESIDUAL**2 * first
            if not is_open.any():
                break
            curved = self._curvature(predicted, direction)
            length = np.where(is_open, left / np.maximum(self.by_question(direction, curved), 1e-30), 0)
            found += length.astype(np.float32) * direction
            residual = residual - length.astype(np.float32) * curved
            before, left = left, self.by_question(residual, residual)
            direction = residual + np.where(is_open, left / np.maximum(before, 1e-30), 0).astype(np.float32) * direction
        return found

    def descend(self, weights: Floats, log_odds: Floats, direction: Floats) -> tuple[Floats, Floats]:
        """Weights and log odds after the step; a question whose loss would rise goes half as far, and again."""
        change = self.log_odds(direction)
        before = self._value(log_odds, weights)
        length = np.ones(len(before), np.float32)
        for _ in range(_MAX_HALVINGS):
            after = self._value(log_odds + length * change, weights + length * direction)
            rises = after > before + 1e-6 * np.abs(before)
            if not rises.any():
                break
            length = np.where(rises, length / 2, length).astype(np.float32)
        return weights + length * direction, log_odds + length * change

    def _curvature(self, predicted: Floats, direction: Floats) -> Floats:
        """(d, q) the second derivative in a direction."""
        moved = predicted * self.log_odds(direction)
        bent = self.balance * (moved - predicted * (moved @ self.targets.same_question))
        return self._back(np.asarray(bent, np.float32)) + self.decay * direction

    def _value(self, log_odds: Floats, weights: Floats) -> NDArray[np.float64]:
        """(q,) the loss of each question, in all its columns."""
        clipped, same = np.clip(log_odds, -_MAX_LOG_ODDS, _MAX_LOG_ODDS), self.targets.same_question
        total = np.log(np.exp(clipped) @ same + self.targets.other)
        missed = self.balance * (total - (self.targets.is_true * clipped) @ same)
        return np.asarray(missed.sum(axis=0, dtype=np.float64) + self.decay / 2 * self.by_question(weights, weights))

    def log_odds(self, weights: Floats) -> Floats:
        """(n, q)."""
        return np.concatenate([block @ weights for block in self.blocks])

    def _back(self, values: Floats) -> Floats:
        total, start = np.zeros((self.blocks[0].shape[1], values.shape[1]), np.float32), 0
        for block in self.blocks:
            total += block.T @ values[start : start + block.shape[0]]
            start += block.shape[0]
        return total
