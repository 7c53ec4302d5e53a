"""
Fitting the weights of a blend to what validation users went on to do.

The weights maximise the measure that they are judged by, through coordinate ascent: the estimated watch fraction where
the log tells what users were shown, else NDCG at k on what they went on to interact with. A measure that was maximised
is too high on the users it was maximised on, so each half of the users is evaluated with the weights of the other half
(cross-validation). The blend is the mean of both halves' weights, which varies less than either, without the models
whose gain is within its standard error. Where an earlier artifact gave weights, the fewer the users, the nearer to
those the weights stay.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, Self

import numpy as np

from recsys.models.blend import POPULARITY
from recsys.types import Floats, Rows
from training.models.validation_table import ExposedTable, ValidationTable
from training.models.watch_table import WatchTable
from training.models.yardstick import Measured

_STEP_FACTORS: Final = (0.0, 0.5, 0.7, 0.85, 1.2, 1.4, 2.0)
"""By which a weight is multiplied in one step of the ascent."""

_ENTRY_SHARES: Final = (0.03, 0.1, 0.3, 0.6, 1.0)
"""Weights that a model at zero is tried with, as shares of the largest weight."""

_PERSONAL_SHARES: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of a blend that are not popularity, as `reduce_popularity` tries them."""

MIN_MARKET_USERS: Final = 400
"""Validation users that a market needs for weights of its own; with so many, half of the weights is its own."""

PRIOR_USERS: Final = 400
"""With so many validation users, half of the weights is that of the earlier artifact."""

_OWN_SHARES: Final = (1.0, 0.75, 0.5, 0.25)
"""Of fitted weights, as they are tried beside the weights that they shrink to."""

Prior = Mapping[str, float]
"""The weights of an earlier artifact by model."""


class Judge(Protocol):
    """Users by whom weights (n_models,) are measured."""

    @property
    def model_names(self) -> tuple[str, ...]:
        """In the order of the weights."""

    @property
    def numbers(self) -> Rows:
        """(q,) user numbers."""

    def take(self, rows: Rows, /) -> Self:
        """The given rows of users."""

    def half(self, side: int) -> Self:
        """The rows of every other user, `side` 0 or 1; all rows where that would be none."""

    def measure(self, weights: Floats) -> Measured:
        """What a blend with these weights is worth to the users."""

    def cross_validate(self, first: Floats, second: Floats) -> Measured:
        """The second half of the users with the weights of the first, and the other way round."""

    def is_gain(self, after: Measured, before: Measured) -> bool:
        """Whether users gain more than chance gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchValues:
    """
    Estimated watch fractions: of a blend's weights (`value`), cross-validated with its standard `error`, and
    `by_model`, each alone.
    """

    value: float
    cross_validated: float
    error: float
    by_model: Mapping[str, float]
    error_by_model: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendWeights:
    """
    `weights` by model, largest first, those at zero left out. NDCG at k on validation, as exposed: `ndcg_in_sample` of
    these weights on the users they were fitted to; `ndcg_cross_validated` of each half with the other half's weights,
    and its standard `error`; `ndcg_by_model` of each model alone, and `error_by_model`. `watch` chose the weights where
    it is known; then the NDCG of weights that were not fitted to it is the same in both.
    """

    weights: Mapping[str, float]
    ndcg_in_sample: float
    ndcg_cross_validated: float
    ndcg_by_model: Mapping[str, float]
    error: float = float("nan")
    error_by_model: Mapping[str, float] = field(default_factory=dict)
    watch: WatchValues | None = None


POPULARITY_ONLY: Final = BlendWeights(
    weights={POPULARITY: 1.0}, ndcg_in_sample=float("nan"), ndcg_cross_validated=float("nan"), ndcg_by_model={}
)
"""The weights where there are no validation users: what is popular, as for a new user."""


def fit_weights(
    table: ValidationTable, k: int, prior: Prior | None = None, watch: WatchTable | None = None
) -> BlendWeights:
    """
    Weights of at least zero with a high measure, shrunk to those of an earlier artifact, `prior`. The measure is the
    estimated watch fraction where a `watch` table is given, else NDCG at k.

    Where the cross-validated measure, or that of the mean of both halves, is below the best model alone, the weights
    shrink further to `prior`; then not to it; then to popularity. Where no share of them reaches that model, it alone
    is returned: on validation the blend is never below its best base model. Users without a relevant item are skipped
    by NDCG. Empty: `POPULARITY_ONLY` where no user has a relevant item.
    """
    table = table.with_relevant()
    if not len(table):
        return POPULARITY_ONLY
    exposed = ExposedTable(table, k)
    fitted = _fit(exposed if watch is None else watch, prior)
    weights, names = fitted.weights, table.model_names
    alone = fitted.alone if watch is None else [exposed.measure(single) for single in _singles(exposed)]
    in_sample = exposed.measure(weights)
    crossed = fitted.crossed if watch is None else in_sample
    order = np.argsort(-weights, kind="stable")
    return BlendWeights(
        weights={names[at]: round(float(weights[at]), 4) for at in order if weights[at] > 0},
        ndcg_in_sample=in_sample.value,
        ndcg_cross_validated=crossed.value,
        ndcg_by_model={name: measured.value for name, measured in zip(names, alone, strict=True)},
        error=crossed.error,
        error_by_model={name: measured.error for name, measured in zip(names, alone, strict=True)},
        watch=None if watch is None else fitted.told(watch),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """Weights (n_models,), the largest 1; what they were cross-validated as, and each model `alone`."""

    weights: Floats
    crossed: Measured
    alone: list[Measured]

    def told(self, watch: WatchTable) -> WatchValues:
        """The values of a fit by the estimated watch fraction."""
        named = dict(zip(watch.model_names, self.alone, strict=True))
        return WatchValues(
            value=watch.measure(self.weights).value, cross_validated=self.crossed.value, error=self.crossed.error,
            by_model={name: it.value for name, it in named.items()},
            error_by_model={name: it.error for name, it in named.items()},
        )  # fmt: skip


def _fit(judge: Judge, prior: Prior | None) -> _Fitted:
    singles = _singles(judge)
    alone = [judge.measure(weights) for weights in singles]
    best = int(np.argmax([measured.value for measured in alone]))
    halves = [_fit_half(judge, side) for side in (0, 1)]
    fitted = _drop_insignificant(judge, halves[0] + halves[1])
    weights, crossed = singles[best], alone[best]
    for anchor, share in _shrinkages(judge, prior):
        mixed = _shrink(fitted, anchor, share)
        measured = judge.cross_validate(*(_shrink(half, anchor, share) for half in halves))
        if min(measured.value, judge.measure(mixed).value) >= alone[best].value:
            weights, crossed = mixed, measured
            break
    return _Fitted(weights / weights.max(), crossed, alone)


def _singles(judge: Judge) -> Floats:
    """(n_models, n_models) the weights of each model alone."""
    return np.eye(len(judge.model_names), dtype=np.float32)


def _shrinkages(judge: Judge, prior: Prior | None) -> Iterator[tuple[Floats, float]]:
    """What fitted weights may shrink to (n_models,), and the share of them that is left, in the order of trying."""
    earlier, popular = (
        np.array([(anchor or {}).get(name, 0.0) for name in judge.model_names], np.float32)
        for anchor in (prior, {POPULARITY: 1.0})
    )
    if earlier.any():
        n_users = len(np.unique(judge.numbers))
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


def reduce_popularity(
    table: ValidationTable, fitted: BlendWeights, k: int, watch: WatchTable | None = None
) -> BlendWeights:
    """
    The blend with the least share of popularity, never a larger one than `fitted` has, whose measure is not below its
    best base model, nor below that of `fitted` by more than a standard error.

    A feed of what everybody likes is the same for all users, and hides most creators. The measure is that of
    `fit_weights`.
    """
    table = table.with_relevant()
    if not len(table) or len(table.model_names) < 2 or not fitted.weights.get(POPULARITY):
        return fitted
    exposed = ExposedTable(table, k)
    judge: Judge = exposed if watch is None else watch
    common = judge.model_names.index(POPULARITY)
    weights = np.array([fitted.weights.get(name, 0.0) for name in judge.model_names], np.float32)
    by_model = fitted.ndcg_by_model if fitted.watch is None else fitted.watch.by_model
    before, share_before = judge.measure(weights), _personal_share(weights, common)
    personal = _personal_part(weights, common, judge.model_names, by_model)
    for share in (share for share in _PERSONAL_SHARES if share > share_before):
        mixed = (share * personal / personal.max()).astype(np.float32)
        mixed[common] = 1 - share
        after = judge.measure(mixed)
        if after.value >= max(by_model.values()) and not judge.is_gain(before, after):
            return _reweighted(fitted, mixed / mixed.max(), exposed, after)
    return fitted


def _personal_part(weights: Floats, common: int, names: Sequence[str], by_model: Mapping[str, float]) -> Floats:
    """(n_models,) the weights without popularity's; where none is left, the best other model alone."""
    personal = weights.copy()
    personal[common] = 0
    if not personal.any():
        best = max((name for name in names if name != POPULARITY), key=lambda name: by_model[name])
        personal[names.index(best)] = 1
    return personal


def _reweighted(fitted: BlendWeights, weights: Floats, exposed: ExposedTable, measured: Measured) -> BlendWeights:
    """The blend with other weights (n_models,), which were `measured` on the users that they were chosen on."""
    ndcg, watch = exposed.measure(weights).value, fitted.watch
    if watch is not None:
        crossed = min(watch.cross_validated, measured.value)
        watch = replace(watch, value=measured.value, cross_validated=crossed)
    return replace(
        fitted,
        weights={
            name: round(float(weight), 4)
            for name, weight in zip(exposed.model_names, weights, strict=True)
            if weight > 0
        },
        ndcg_in_sample=ndcg,
        ndcg_cross_validated=min(fitted.ndcg_cross_validated, ndcg) if watch is None else ndcg,
        watch=watch,
    )


def _personal_share(weights: Floats, common: int) -> float:
    """The largest weight that is not popularity's, over the sum of both: a share as `reduce_popularity` tries them."""
    largest = np.delete(weights, common).max(initial=0)
    return float(largest / (largest + weights[common]))


def fit_market_weights(
    table: ValidationTable, markets: Sequence[str | None], fitted: BlendWeights, k: int, watch: WatchTable | None = None
) -> dict[str, dict[str, float]]:
    """
    Weights by market, for the markets (q,) of the table's rows that have `MIN_MARKET_USERS` or more.

    The ascent starts from everybody's weights and its result is shrunk to them. Weights are kept only where each half
    of the market's users is better off with those of the other half, by the measure of `fit_weights`.
    """
    judge: Judge
    judge, names = _judge_of_markets(table, markets, k) if watch is None else (watch, watch.markets)
    by_market: dict[str, dict[str, float]] = {}
    common = np.array([fitted.weights.get(name, 0.0) for name in judge.model_names], np.float32)
    for market in sorted({name for name in names if name}):
        members = judge.take(np.flatnonzero([name == market for name in names]))
        if len(np.unique(members.numbers)) < MIN_MARKET_USERS or not common.any():
            continue
        first, second = (_fit_market(members.half(side), common) for side in (0, 1))
        if members.is_gain(members.cross_validate(first, second), members.cross_validate(common, common)):
            weights = zip(judge.model_names, _fit_market(members, common), strict=True)
            by_market[market] = {name: round(float(weight), 4) for name, weight in weights if weight > 0}
    return by_market


def _judge_of_markets(
    table: ValidationTable, markets: Sequence[str | None], k: int
) -> tuple[Judge, tuple[str | None, ...]]:
    """The rows with a relevant item, and their markets."""
    rows = np.flatnonzero(table.n_relevant > 0)
    return ExposedTable(table.with_relevant(), k), tuple(markets[row] for row in rows.tolist())


def _fit_market(members: Judge, common: Floats) -> Floats:
    """(n_models,) a market's weights, shrunk to everybody's."""
    share = len(members.numbers) / (len(members.numbers) + MIN_MARKET_USERS)
    weights = _ascend(members, common, rounds=2)
    return np.asarray(share * weights / weights.max() + (1 - share) * common / common.max(), np.float32)


def _fit_half(judge: Judge, side: int) -> Floats:
    """(n_models,) weights fitted to half of the users, starting from their best model; they add up to 1."""
    half, singles = judge.half(side), _singles(judge)
    start = singles[int(np.argmax([half.measure(weights).value for weights in singles]))]
    weights = _drop_insignificant(half, _ascend(half, start))
    return np.asarray(weights / weights.sum(), np.float32)


def _ascend(judge: Judge, start: Floats, rounds: int = 4) -> Floats:
    """(n_models,) the best weights that coordinate ascent reaches: it changes one weight at a time."""
    weights, value = start, judge.measure(start).value
    for _ in range(rounds):
        before = value
        for at in range(len(weights)):
            for size in _step_sizes(weights, at):
                changed = weights.copy()
                changed[at] = size
                if not changed.any():
                    continue
                measured = judge.measure(changed).value
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


def _drop_insignificant(judge: Judge, weights: Floats) -> Floats:
    """The weights without models whose gain by user is within its standard error; smallest weights go first."""
    for at in np.argsort(weights, kind="stable"):
        rest = weights.copy()
        rest[at] = 0
        if weights[at] == 0 or not rest.any():
            continue
        if not judge.is_gain(judge.measure(weights), judge.measure(rest)):
            weights = rest
    return weights
