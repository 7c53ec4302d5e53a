"""
Fitting the weights of a blend to what validation users went on to interact with.

The weights maximise the very measure that is reported (NDCG at k), by coordinate ascent. A measure that was maximised
is too high on the users it was maximised on, so each half of the users is evaluated with the weights of the other half
(cross-validation). The blend is the mean of both halves' weights, which varies less than either, without the models
whose gain is within its standard error. Where an earlier artifact gave weights, the fewer the users, the nearer to
those the weights stay.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.metrics import ndcg
from recsys.models.base import PreferenceModel
from recsys.models.blend import POPULARITY, mask_excluded, standardise
from recsys.models.interactions import UserInteractions
from recsys.topk import top_k
from recsys.types import Csr, Floats, Mask, Reals, Rows
from training.models.yardstick import standard_error

_STEP_FACTORS: Final = (0.0, 0.5, 0.7, 0.85, 1.2, 1.4, 2.0)
"""By which a weight is multiplied in one step of the ascent."""

_ENTRY_SHARES: Final = (0.03, 0.1, 0.3, 0.6, 1.0)
"""Weights that a model at zero is tried with, as shares of the largest weight."""

_PERSONAL_SHARES: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of a blend that are not popularity, as `reduce_popularity` tries them."""

NO_CANDIDATE: Final = -1e9
"""The score where there is no candidate: below all others, and finite, so that a weight of zero can multiply it."""

MIN_MARKET_USERS: Final = 400
"""Validation users that a market needs for weights of its own; with so many, half of the weights is its own."""

PRIOR_USERS: Final = 400
"""With so many validation users, half of the weights is that of the earlier artifact."""

_OWN_SHARES: Final = (1.0, 0.75, 0.5, 0.25)
"""Of fitted weights, as they are tried beside the weights that they shrink to."""

Prior = Mapping[str, float]
"""The weights of an earlier artifact by model."""


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

    def is_significant(self, gain: Reals) -> bool:
        """Whether the mean gain (q,) by user is above zero by more than its standard error; never for one user."""
        users, number = np.unique(self.users, return_inverse=True)
        if len(users) < 2:
            return False
        by_user = np.bincount(number, gain) / np.maximum(np.bincount(number), 1)
        return bool(by_user.mean() > by_user.std() / len(by_user) ** 0.5)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendWeights:
    """
    `weights` by model, largest first, those at zero left out. NDCG at k on validation: `ndcg_in_sample` of these
    weights on the users they were fitted to; `ndcg_cross_validated` of each half with the other half's weights, and its
    standard `error`; `ndcg_by_model` of each model alone, and `error_by_model`.
    """

    weights: Mapping[str, float]
    ndcg_in_sample: float
    ndcg_cross_validated: float
    ndcg_by_model: Mapping[str, float]
    error: float = float("nan")
    error_by_model: Mapping[str, float] = field(default_factory=dict)


POPULARITY_ONLY: Final = BlendWeights(
    weights={POPULARITY: 1.0}, ndcg_in_sample=float("nan"), ndcg_cross_validated=float("nan"), ndcg_by_model={}
)
"""The weights where there are no validation users: what is popular, as for a new user."""


def fit_weights(table: ValidationTable, k: int, prior: Prior | None = None) -> BlendWeights:
    """
    Weights of at least zero with a high mean NDCG at k, shrunk to those of an earlier artifact, `prior`.

    Where the cross-validated NDCG, or that of the mean of both halves, is below the best model alone, the weights
    shrink further to `prior`; then not to it; then to popularity. Where no share of them reaches that model, it alone
    is returned: on validation the blend is never below its best base model. Users without a relevant item are skipped.
    Empty: `POPULARITY_ONLY` where no user has a relevant item.
    """
    table = table.with_relevant()
    if not len(table):
        return POPULARITY_ONLY
    names = table.model_names
    single = np.eye(len(names), dtype=np.float32)
    alone = [table.ndcg(weights, k) for weights in single]
    by_model = np.array([values.mean() for values in alone])
    halves = [_fit_half(table, side, k) for side in (0, 1)]
    fitted = _drop_insignificant(table, halves[0] + halves[1], k)
    weights, crossed, numbers = single[int(np.argmax(by_model))], alone[int(np.argmax(by_model))], table.users
    for anchor, share in _shrinkages(table, prior):
        mixed, values = _shrink(fitted, anchor, share), _cross_validate(table, halves, anchor, share, k)
        if values.mean() >= by_model.max() and table.ndcg(mixed, k).mean() >= by_model.max():
            weights, crossed = mixed, values
            numbers = np.concatenate([table.half(1).users, table.half(0).users])
            break
    weights = weights / weights.max()
    order = np.argsort(-weights, kind="stable")
    return BlendWeights(
        weights={names[at]: round(float(weights[at]), 4) for at in order if weights[at] > 0},
        ndcg_in_sample=float(table.ndcg(weights, k).mean()),
        ndcg_cross_validated=float(crossed.mean()),
        ndcg_by_model=dict(zip(names, map(float, by_model), strict=True)),
        error=standard_error(crossed, numbers),
        error_by_model={name: standard_error(values, table.users) for name, values in zip(names, alone, strict=True)},
    )


def _shrinkages(table: ValidationTable, prior: Prior | None) -> Iterator[tuple[Floats, float]]:
    """What fitted weights may shrink to (n_models,), and the share of them that is left, in the order of trying."""
    earlier, popular = (
        np.array([(anchor or {}).get(name, 0.0) for name in table.model_names], np.float32)
        for anchor in (prior, {POPULARITY: 1.0})
    )
    if earlier.any():
        n_users = len(np.unique(table.users))
        own = n_users / (n_users + PRIOR_USERS)
        yield from ((earlier / earlier.sum(), own * share) for share in _OWN_SHARES)
    yield popular, 1.0
    if popular.any():
        yield from ((popular, share) for share in _OWN_SHARES[1:])


def _shrink(weights: Floats, anchor: Floats, share: float) -> Floats:
    """(n_models,) a share of the weights, and the rest of the anchor."""
    if share >= 1:
        return weights
    return np.asarray(share * weights / weights.sum() + (1 - share) * anchor, np.float32)


def _cross_validate(table: ValidationTable, halves: Sequence[Floats], anchor: Floats, share: float, k: int) -> Reals:
    """(q,) NDCG of the second half of the users with the weights of the first, then of the first with the second's."""
    first, second = (_shrink(half, anchor, share) for half in halves)
    return np.concatenate([table.half(1).ndcg(first, k), table.half(0).ndcg(second, k)])


def reduce_popularity(table: ValidationTable, fitted: BlendWeights, k: int) -> BlendWeights:
    """
    The blend with the least share of popularity, never a larger one than `fitted` has, whose NDCG is not below its best
    base model, nor below that of `fitted` by more than a standard error.

    A feed of what everybody likes is the same for all users, and hides most creators. Users without a relevant item
    are skipped.
    """
    table = table.with_relevant()
    if not len(table) or len(table.model_names) < 2 or not fitted.weights.get(POPULARITY):
        return fitted
    common = table.model_names.index(POPULARITY)
    weights = np.array([fitted.weights.get(name, 0.0) for name in table.model_names], np.float32)
    personal = weights.copy()
    personal[common] = 0
    if not personal.any():
        names = [name for name in table.model_names if name != POPULARITY]
        best = max(names, key=lambda name: fitted.ndcg_by_model[name])
        personal[table.model_names.index(best)] = 1
    before = table.ndcg(weights, k)
    share_before = _personal_share(weights, common)
    for share in (share for share in _PERSONAL_SHARES if share > share_before):
        mixed = (share * personal / personal.max()).astype(np.float32)
        mixed[common] = 1 - share
        after = table.ndcg(mixed, k)
        value = float(after.mean())
        if value >= max(fitted.ndcg_by_model.values()) and not table.is_significant(before - after):
            scaled = zip(table.model_names, mixed / mixed.max(), strict=True)
            return replace(
                fitted,
                weights={name: round(float(weight), 4) for name, weight in scaled if weight > 0},
                ndcg_in_sample=value,
                ndcg_cross_validated=min(fitted.ndcg_cross_validated, value),
            )
    return fitted


def _personal_share(weights: Floats, common: int) -> float:
    """The largest weight that is not popularity's, over the sum of both: a share as `reduce_popularity` tries them."""
    largest = np.delete(weights, common).max(initial=0)
    return float(largest / (largest + weights[common]))


def fit_market_weights(
    table: ValidationTable, markets: Sequence[str | None], fitted: BlendWeights, k: int
) -> dict[str, dict[str, float]]:
    """
    Weights by market, for the markets (q,) of the rows that have `MIN_MARKET_USERS` or more.

    The ascent starts from everybody's weights and its result is shrunk to them. Weights are kept only where each half
    of the market's users is better off with those of the other half. Users without a relevant item are skipped.
    """
    by_market: dict[str, dict[str, float]] = {}
    common = np.array([fitted.weights.get(name, 0.0) for name in table.model_names], np.float32)
    for market in sorted({name for name in markets if name}):
        members = table.take(np.flatnonzero([name == market for name in markets])).with_relevant()
        if len(np.unique(members.users)) < MIN_MARKET_USERS or not common.any():
            continue
        halves = (members.half(0), members.half(1))
        gains = [
            evaluated.ndcg(_fit_market(other, common, k), k) - evaluated.ndcg(common, k)
            for evaluated, other in zip(halves, reversed(halves), strict=True)
        ]
        if stack_tables(halves).is_significant(np.concatenate(gains)):
            weights = zip(table.model_names, _fit_market(members, common, k), strict=True)
            by_market[market] = {name: round(float(weight), 4) for name, weight in weights if weight > 0}
    return by_market


def _fit_market(members: ValidationTable, common: Floats, k: int) -> Floats:
    """(n_models,) a market's weights, shrunk to everybody's."""
    share = len(members) / (len(members) + MIN_MARKET_USERS)
    weights = _ascend(members, common, k, rounds=2)
    return np.asarray(share * weights / weights.max() + (1 - share) * common / common.max(), np.float32)


def _fit_half(table: ValidationTable, side: int, k: int) -> Floats:
    """(n_models,) weights fitted to half of the users, starting from their best model; they add up to 1."""
    half = table.half(side)
    single = np.eye(len(table.model_names), dtype=np.float32)
    start = single[int(np.argmax([half.ndcg(weights, k).mean() for weights in single]))]
    weights = _drop_insignificant(half, _ascend(half, start, k), k)
    return np.asarray(weights / weights.sum(), np.float32)


def _ascend(table: ValidationTable, start: Floats, k: int, rounds: int = 4) -> Floats:
    """(n_models,) the best weights that coordinate ascent reaches: it changes one weight at a time."""
    weights, value = start, table.ndcg(start, k).mean()
    for _ in range(rounds):
        before = value
        for at in range(len(weights)):
            for size in _step_sizes(weights, at):
                changed = weights.copy()
                changed[at] = size
                if not changed.any():
                    continue
                measured = table.ndcg(changed, k).mean()
                if measured > value:
                    weights, value = changed, measured
        if value <= before * 1.0005:
            break
    return weights


def _step_sizes(weights: Floats, at: int) -> list[float]:
    """The values that the weight at one position is tried with."""
    if weights[at]:
        return [factor * weights[at] for factor in _STEP_FACTORS]
    return [share * float(weights.max()) for share in _ENTRY_SHARES]


def _drop_insignificant(table: ValidationTable, weights: Floats, k: int) -> Floats:
    """The weights without models whose gain by user is within its standard error; smallest weights go first."""
    for at in np.argsort(weights, kind="stable"):
        rest = weights.copy()
        rest[at] = 0
        if weights[at] == 0 or not rest.any():
            continue
        if not table.is_significant(table.ndcg(weights, k) - table.ndcg(rest, k)):
            weights = rest
    return weights
