"""Validation users' best candidates, scored by every base model: weights measured by NDCG as exposed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.metrics import ndcg
from recsys.models.base import PreferenceModel
from recsys.models.blend import mask_excluded, standardise
from recsys.models.interactions import UserInteractions
from recsys.topk import top_k
from recsys.types import Csr, Floats, Mask, Reals, Rows
from training.models.yardstick import NDCG, Measured

NO_CANDIDATE: Final = -1e9
"""The score where there is no candidate: below all others, and finite, so that a weight of zero can multiply it."""


@dataclass(frozen=True, slots=True, eq=False)
class ValidationTable:
    """
    The base models' scores of each validation user's best candidates, and which of them became relevant.

    Shapes: `features` (q, m, n_models) standardised scores, `NO_CANDIDATE` where a row has fewer than m candidates;
            `is_relevant` (q, m); `n_relevant` (q,) relevant items in all; `users` (q,) user numbers: a user who occurs
            in two folds has two rows and counts once.
    """

    model_names: tuple[str, ...]
    features: Floats
    is_relevant: Mask
    n_relevant: NDArray[np.int64]
    users: Rows

    def __len__(self) -> int:
        return len(self.n_relevant)

    def take(self, rows: Rows) -> "ValidationTable":
        """The given rows."""
        return ValidationTable(
            self.model_names, self.features[rows], self.is_relevant[rows], self.n_relevant[rows], self.users[rows]
        )

    def with_relevant(self) -> "ValidationTable":
        """The rows of users with a relevant item: without one NDCG is undefined, and says nothing about weights."""
        has_relevant = self.n_relevant > 0
        return self if has_relevant.all() else self.take(np.flatnonzero(has_relevant))

    def half(self, side: int) -> "ValidationTable":
        """The rows of every other user, `side` 0 or 1; all rows where that would be none."""
        users, number = np.unique(self.users, return_inverse=True)
        return self.take(np.flatnonzero(number % 2 == side)) if len(users) > 1 else self

    def ndcg(self, weights: Floats, k: int) -> Reals:
        """(q,) NDCG at k of the blend with these weights (n_models,); NaN for a user without a relevant item."""
        total = self.features @ weights.astype(np.float32)
        width = min(k, total.shape[1])
        best = np.argpartition(-total, width - 1, axis=1)[:, :width]  # a few hundred columns: no need to sort them all
        order = np.argsort(-np.take_along_axis(total, best, axis=1), axis=1, kind="stable")
        ranked = np.take_along_axis(best, order, axis=1)
        return ndcg(np.take_along_axis(self.is_relevant, ranked, axis=1), self.n_relevant, k)


def build_table(
    models: Mapping[str, PreferenceModel],
    users: UserInteractions,
    relevant: Csr,
    k: int,
    numbers: Rows | None = None,
    block: int = 64,
) -> ValidationTable:
    """
    The candidates of each user: the best 3 k of every model, without the items that the user knows already.

    Shapes: `users` of q people; `relevant` CSR (q, n_items), entries above 0 are what they went on to interact with;
            `numbers` (q,) their user numbers, where a user may occur in another table too.
    Memory: q * about 3 k n_models / 2 * n_models * 4 bytes for the features, and n_models blocks of scores.
    """
    rows: list[tuple[Rows, Floats]] = []
    for start in range(0, len(users), block):
        batch = users[start : start + block]
        scores = [mask_excluded(standardise(model.scores(batch)), batch) for model in models.values()]
        candidates = np.concatenate([top_k(of_model, 3 * k) for of_model in scores], axis=1)
        for row, items in enumerate(candidates):
            columns = np.unique(items)
            rows.append((columns, np.stack([of_model[row, columns] for of_model in scores], axis=1)))
    return _pack_rows(tuple(models), rows, relevant, np.arange(len(users)) if numbers is None else numbers)


def _pack_rows(
    names: tuple[str, ...], rows: Sequence[tuple[Rows, Floats]], relevant: Csr, numbers: Rows
) -> ValidationTable:
    """One table of rows with different numbers of candidates."""
    width = max((len(columns) for columns, _ in rows), default=1)
    features = np.full((len(rows), width, len(names)), NO_CANDIDATE, np.float32)
    is_relevant = np.zeros((len(rows), width), np.bool_)
    for row, (columns, scores) in enumerate(rows):
        features[row, : len(columns)] = np.maximum(scores, NO_CANDIDATE)
        items = relevant.indices[relevant.indptr[row] : relevant.indptr[row + 1]]
        is_relevant[row, : len(columns)] = np.isin(columns, items)
    n_relevant = np.diff(relevant.indptr).astype(np.int64)
    return ValidationTable(names, features, is_relevant & (features[:, :, 0] > NO_CANDIDATE), n_relevant, numbers)


def stack_tables(tables: Sequence[ValidationTable]) -> ValidationTable:
    """The tables of several folds as one; their models must be the same."""
    if len(tables) == 1:
        return tables[0]  # no copy
    width = max(table.features.shape[1] for table in tables)
    gaps = [width - table.features.shape[1] for table in tables]
    features = [
        np.pad(table.features, ((0, 0), (0, gap), (0, 0)), constant_values=NO_CANDIDATE)
        for table, gap in zip(tables, gaps, strict=True)
    ]
    is_relevant = [np.pad(table.is_relevant, ((0, 0), (0, gap))) for table, gap in zip(tables, gaps, strict=True)]
    return ValidationTable(
        tables[0].model_names,
        np.concatenate(features),
        np.concatenate(is_relevant),
        np.concatenate([table.n_relevant for table in tables]),
        np.concatenate([table.users for table in tables]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class ExposedTable:
    """A table of users who all have a relevant item, measured by NDCG at k."""

    table: ValidationTable
    k: int

    @property
    def model_names(self) -> tuple[str, ...]:
        """In the order of the weights."""
        return self.table.model_names

    @property
    def numbers(self) -> Rows:
        """(q,) user numbers."""
        return self.table.users

    def take(self, rows: Rows) -> "ExposedTable":
        """The given rows."""
        return ExposedTable(self.table.take(rows), self.k)

    def half(self, side: int) -> "ExposedTable":
        """The rows of every other user, as `ValidationTable.half`."""
        return ExposedTable(self.table.half(side), self.k)

    def measure(self, weights: Floats) -> Measured:
        """Of a blend with these weights (n_models,)."""
        return _mean_ndcg(self.table.ndcg(weights, self.k), self.table.users)

    def cross_validate(self, first: Floats, second: Floats) -> Measured:
        """The second half of the users with the weights of the first, then the other way round."""
        halves = (self.table.half(1), self.table.half(0))
        values = [half.ndcg(weights, self.k) for half, weights in zip(halves, (first, second), strict=True)]
        return _mean_ndcg(np.concatenate(values), np.concatenate([half.users for half in halves]))

    def is_gain(self, after: Measured, before: Measured) -> bool:
        """Whether the mean over users rises by more than its standard error."""
        return is_significant(after.influence - before.influence, after.numbers)


def _mean_ndcg(values: Reals, users: Rows) -> Measured:
    return Measured(NDCG, float(values.mean()), values, users)


def is_significant(gain: Reals, users: Rows) -> bool:
    """
    Whether the mean gain (q,) of the users (q,) is above zero by more than its standard error; never for one user.
    """
    known, number = np.unique(users, return_inverse=True)
    if len(known) < 2:
        return False
    by_user = np.bincount(number, gain) / np.maximum(np.bincount(number), 1)
    return bool(by_user.mean() > by_user.std() / len(by_user) ** 0.5)
