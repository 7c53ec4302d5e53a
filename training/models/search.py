"""
Model search: the settings of each base model by coordinate ascent on validation, within a budget.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy import sparse

from recsys.errors import ConfigError
from recsys.models.base import PreferenceModel
from recsys.models.blend import POPULARITY
from recsys.models.interactions import UserInteractions, interactions_from_matrix, select_positive
from recsys.progress import Progress, quiet
from recsys.types import Csr, Rows
from training.models.budget import Budget
from training.models.cost import Cost, estimate_cost, free_memory
from training.models.registry import ModelSpec, Params, TrainingMatrix
from training.models.settings import FACTORS
from training.models.splits import split_entries
from training.models.yardstick import Measured, ShownItems, measure_exposed, measure_watch

SEARCH_USERS: Final = 3_000
"""Validation users for the settings of one model, in each fold."""

MIN_SPLIT_USERS: Final = 1_000
"""Validation users of one random split; with fewer the data are split three times."""

MAX_FOLDS: Final = 5
"""Random splits of a small dataset, so that it has more validation users."""

CHOSEN, TRIED, TOO_MUCH_WORK, TOO_MUCH_MEMORY = "chosen", "tried", "too much work", "too much memory"
"""What came of settings; the last two were not fitted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValidationFold:
    """
    `train` is what models are fitted to.

    Shapes: `users` of q people, their `relevant` items CSR (q, n_items), their `numbers` (q,) in the whole dataset, and
            a random `order` (q,) in which fewer are taken. `markets` (q,) are theirs; `market_names` name the rows of
            the popularity by market. `shown`: what people were shown, where the log tells how the feed chose.
    """

    train: TrainingMatrix
    users: UserInteractions
    relevant: Csr
    numbers: Rows
    order: Rows
    markets: tuple[str | None, ...]
    market_names: tuple[str, ...] = ()
    shown: ShownItems | None = None

    def sample(self, n_users: int) -> tuple[UserInteractions, Csr, Rows]:
        """At most `n_users` users, what is relevant to them, and their rows."""
        rows = np.sort(self.order[:n_users])
        return self.users[rows], self.relevant[rows], rows


def matrix_folds(signed: Csr, valid: Csr | None, seed: int) -> tuple[ValidationFold, ...]:
    """
    The given validation part first, if any; then random splits of `signed`, the same with and without that part: one,
    and with few validation users three.
    """
    given = () if valid is None else (build_fold(signed, valid, np.random.default_rng([seed, 4])),)
    first = random_fold(signed, seed, 0)
    few = len(first.numbers) < MIN_SPLIT_USERS
    return (*given, first, *(random_fold(signed, seed, number) for number in ((1, 2) if few else ())))


def random_fold(signed: Csr, seed: int, number: int) -> ValidationFold:
    """The split of this number: a random tenth of `signed` is held out, and up to a quarter of a small set."""
    rng = np.random.default_rng([seed, 5, number])
    share = float(np.clip(5_000 / max(1, signed.nnz), 0.1, 0.25))
    return build_fold(*split_entries(signed, share, rng), rng)


def build_fold(train: Csr, held_out: Csr, rng: np.random.Generator) -> ValidationFold:
    """The fold of two matrices (n_users, n_items): the users with something held out."""
    relevant = select_positive(sparse.csr_matrix(held_out, dtype=np.float32))
    rows = np.flatnonzero(np.diff(relevant.indptr))
    return ValidationFold(
        train=TrainingMatrix(train), users=interactions_from_matrix(train)[rows], relevant=relevant[rows],
        numbers=rows, order=rng.permutation(len(rows)), markets=(None,) * len(rows),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """Settings of one model, what came of them, their estimated work in all folds, and what they were measured as."""

    model: str
    params: Params
    outcome: str
    work: float
    measured: Measured | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChosenSettings:
    """
    `params` of every model by name, and its models, one for each fold. `tried`: all settings in the order in which they
    came up. `work` was spent, of at most `max_work`, both as estimated.
    """

    params: Mapping[str, Params]
    by_fold: list[dict[str, PreferenceModel]]
    tried: tuple[Tried, ...]
    work: float
    max_work: float


def choose_settings(
    folds: Sequence[ValidationFold],
    specs: Mapping[str, ModelSpec],
    budget: Budget,
    k: int,
    seed: int,
    on_progress: Progress = quiet,
) -> ChosenSettings:
    """
    The settings of every model that fits the size of all folds, the cheapest model first. What a model leaves of its
    share of the budget goes to the next ones. Models of all folds are kept: what is free is asked before each.

    Raises: ConfigError where the memory does not hold the factors, which every artifact has.
    """
    fitting = {name: spec for name, spec in specs.items() if all(spec.can_fit(fold.train) for fold in folds)}
    starts = {name: _cost(folds, spec.params) for name, spec in fitting.items()}
    memory = free_memory()
    large = [name for name, cost in starts.items() if cost.memory > memory]
    if FACTORS in large:
        check_memory(starts[FACTORS], memory, fitting[FACTORS].params)
    tried = [Tried(name, fitting[name].params, TOO_MUCH_MEMORY, starts[name].work) for name in large]
    names = sorted(fitting.keys() - set(large), key=lambda name: (starts[name].work, name))
    left = (budget.work - 1) * sum(starts[name].work for name in names) if budget.is_search else 0.0
    max_work, spent = sum(starts[name].work for name in names) + left, 0.0
    params: dict[str, Params] = {}
    models: dict[str, list[PreferenceModel]] = {}
    for at, name in enumerate(names):
        memory = _free_for(name, starts, models)
        if name not in (FACTORS, POPULARITY) and starts[name].memory > memory:
            tried.append(Tried(name, fitting[name].params, TOO_MUCH_MEMORY, starts[name].work))
            continue
        spec = limit_factors(fitting[name], budget.max_factors)
        share = starts[name].work + left / (len(names) - at)
        ascent = CoordinateAscent(spec, folds, k, seed, on_progress, max_work=share, max_memory=memory)
        params[name], models[name] = ascent.search() if budget.is_search else ascent.fit_start()
        spent += ascent.work
        left = max(left - (ascent.work - starts[name].work), 0.0)
        tried += ascent.tried(params[name])
    ordered = [name for name in fitting if name in models]
    by_fold = [{name: models[name][at] for name in ordered} for at in range(len(folds))]
    return ChosenSettings(
        params={name: params[name] for name in ordered}, by_fold=by_fold, tried=tuple(tried), work=spent,
        max_work=max_work,
    )  # fmt: skip


def _free_for(name: str, starts: Mapping[str, Cost], models: Mapping[str, object]) -> float:
    """The bytes that are free now, beside what is kept of other models, and without what the factors will need."""
    is_awaited = name != FACTORS and FACTORS in starts and FACTORS not in models
    return free_memory() - (starts[FACTORS].memory if is_awaited else 0.0)


def check_memory(cost: Cost, memory: float, params: Params) -> None:
    """Raises ConfigError where the factors do not fit into the memory that is free."""
    if cost.memory > memory:
        raise ConfigError(
            f"found {memory / 1e9:.1f} GB of free memory, expected about {cost.memory / 1e9:.1f} GB for factors of "
            f"{params.embedding_size} numbers; give more memory, or set a smaller embedding_size of ials with --config"
        )


def limit_factors(spec: ModelSpec, max_factors: int) -> ModelSpec:
    """The spec with its own settings in its search space, and no embedding above `max_factors` beside those."""
    space: dict[str, tuple[float, ...]] = {}
    for name, values in spec.search_space.items():
        allowed = {value for value in values if name != "embedding_size" or value <= max_factors}
        space[name] = tuple(sorted({*allowed, getattr(spec.params, name)}))
    others = tuple(it for it in spec.other_starts if getattr(it, "embedding_size", 0) <= max_factors)
    return replace(spec, search_space=space, other_starts=others)


def _cost(folds: Sequence[ValidationFold], params: Params) -> Cost:
    """The work of fitting one model to every fold; its models are kept, beside those of the setting before it."""
    costs = [estimate_cost(fold.train.size, params) for fold in folds]
    return Cost(sum(cost.work for cost in costs), (1 + len(folds)) * max((cost.memory for cost in costs), default=0.0))


def measure(models: Sequence[PreferenceModel], folds: Sequence[ValidationFold], k: int) -> Measured:
    """One model, fitted once for each fold, by the unbiased yardstick where every fold knows what was shown."""
    shown = [fold.shown for fold in folds]
    if all(part is not None for part in shown):
        return measure_watch([(model.scores, part) for model, part in zip(models, shown, strict=True) if part])
    parts = []
    for model, fold in zip(models, folds, strict=True):
        users, relevant, rows = fold.sample(SEARCH_USERS)
        parts.append((model.scores, users, relevant, fold.numbers[rows]))
    return measure_exposed(parts, k)


class CoordinateAscent:
    """
    The search for one model's parameters: from the best start one field at a time, up and down its values for as long
    as the measure rises.

    `measured` holds every setting that was fitted, and `refused` those that were not, with the reason; `work` is what
    all fits take by estimate, at most `max_work`. `earlier` are measures of an earlier run; `remember` is called with
    every new one, and `on_progress` for `stage`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        folds: Sequence[ValidationFold],
        k: int,
        seed: int,
        on_progress: Progress = quiet,
        *,
        max_work: float = float("inf"),
        max_memory: float = float("inf"),
        stage: str = "",
        earlier: Mapping[Params, Measured] | None = None,
        remember: Callable[[Params, Measured], None] = lambda params, value: None,
    ) -> None:
        self.spec, self.folds, self.k, self.seed = spec, folds, k, seed
        self.on_progress, self.stage = on_progress, stage or spec.name
        self.max_work, self.max_memory = max_work, max_memory
        self.earlier, self.remember = earlier or {}, remember
        self.measured: dict[Params, Measured | None] = {}
        self.refused: dict[Params, str] = {}
        self.work = 0.0
        self.best_models: list[PreferenceModel] = []

    def fit_start(self) -> tuple[Params, list[PreferenceModel]]:
        """The models of the parameters that the search would start from, which are not measured."""
        self.on_progress(self.stage, 0, None)
        self.best_models = self._fit(self.spec.params)
        self.measured[self.spec.params] = None
        for fold in self.folds:
            fold.train.decompositions.clear()
        return self.spec.params, self.best_models

    def search(self) -> tuple[Params, list[PreferenceModel]]:
        """
        The best parameters, and their models, one for each fold. Weights of negative feedback are searched where there
        is any.
        """
        has_negatives = any(np.any(fold.train.signed.data < 0) for fold in self.folds)
        at = self.spec.params
        self.on_progress(self.stage, 0, self.most_fits)
        best = self._measure(at)
        for other in self.spec.other_starts:
            if self._is_affordable(other) and (value := self._measure(other, above=best)).is_above(best):
                at, best = other, value
        for name, values in self.spec.search_space.items():
            if name == "negative_weight" and not has_negatives:
                continue
            start = at
            for step in (1, -1):  # down too where up was better: the first step up may be noise
                moved, value = self._walk(start, best, name, values, step)
                if moved != start:
                    at, best = moved, value
        for fold in self.folds:
            fold.train.decompositions.clear()
        return at, self.best_models

    @property
    def most_fits(self) -> int:
        """The most settings that a search may measure: it usually ends much earlier."""
        return 1 + sum(len(values) for values in self.spec.search_space.values())

    def tried(self, chosen: Params) -> list[Tried]:
        """Every setting that came up."""
        fitted = [
            Tried(self.spec.name, params, CHOSEN if params == chosen else TRIED, _cost(self.folds, params).work, value)
            for params, value in self.measured.items()
        ]
        refused = [
            Tried(self.spec.name, params, why, _cost(self.folds, params).work) for params, why in self.refused.items()
        ]
        return fitted + refused

    def _walk(
        self, at: Params, best: Measured, name: str, values: tuple[float, ...], step: int
    ) -> tuple[Params, Measured]:
        place = values.index(getattr(at, name)) + step
        while 0 <= place < len(values):
            after = replace(at, **{name: values[place]})
            if after in self.measured or not self._is_affordable(after):
                break  # it was measured before, and not better
            measured = self._measure(after, above=best)
            if not measured.is_above(best):
                break
            at, best, place = after, measured, place + step
        return at, best

    def _is_affordable(self, params: Params) -> bool:
        if params in self.earlier:
            return True
        cost = _cost(self.folds, params)
        if cost.memory > self.max_memory:
            self.refused[params] = TOO_MUCH_MEMORY
        elif self.work + cost.work > self.max_work:
            self.refused[params] = TOO_MUCH_WORK
        return params not in self.refused

    def _measure(self, params: Params, above: Measured | None = None) -> Measured:
        """The measure of parameters; their models are the best where they are `above` those of before."""
        if params in self.earlier:
            value = self.measured[params] = self.earlier[params]
            return value
        models = self._fit(params)
        value = self.measured[params] = measure(models, self.folds, self.k)
        self.remember(params, value)
        self.on_progress(self.stage, len(self.measured), self.most_fits)
        if above is None or value.is_above(above):
            self.best_models = models
        return value

    def _fit(self, params: Params) -> list[PreferenceModel]:
        self.work += _cost(self.folds, params).work
        return [self.spec.fit(fold.train, params, np.random.default_rng(self.seed)) for fold in self.folds]
