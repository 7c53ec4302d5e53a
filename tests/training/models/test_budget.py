"""Budgets: costs never fall as things grow, no search spends more than it may, and equal inputs give equal choices."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsys.errors import ConfigError
from recsys.models.base import PopularityModel
from recsys.models.bpr import BPRParams
from recsys.models.ease import EASEParams
from recsys.models.ials import IALSParams
from recsys.models.spectral import SpectralParams
from recsys.types import Csr
from training.models import search
from training.models.blend_weights import POPULARITY_ONLY
from training.models.budget import BUDGETS, FULL, SMALL, Budget, find_budget
from training.models.cost import MatrixSize, estimate_cost, measure_matrix
from training.models.recipe import choose_blend
from training.models.registry import MODELS, ModelSpec, TrainingMatrix
from training.models.search import (
    CHOSEN,
    TOO_MUCH_MEMORY,
    TOO_MUCH_WORK,
    TRIED,
    ChosenSettings,
    CoordinateAscent,
    build_fold,
    choose_settings,
    limit_factors,
    matrix_folds,
)
from training.models.settings import BlendParams
from training.models.yardstick import NDCG, Measured

SPECS = {name: MODELS[name] for name in ("graph_filter", "ials", "bm25", "popularity")}
TIGHT = Budget(name="tight", models=tuple(SPECS), max_factors=128, work=2.5)


def camps(n_users: int = 120, n_items: int = 60, seed: int = 0) -> Csr:
    random = np.random.default_rng(seed)
    near = (np.arange(n_users)[:, None] + np.arange(n_items)) % 4 == 0
    return sparse.csr_matrix((random.random((n_users, n_items)) < np.where(near, 0.6, 0.05)), dtype=np.float32)


def chosen(budget: Budget, signed: Csr | None = None) -> ChosenSettings:
    folds = matrix_folds(camps() if signed is None else signed, None, 0)
    return choose_settings(folds, SPECS, budget, 10, 0)


sizes = st.lists(st.integers(0, 40), min_size=1, max_size=12).map(lambda counts: np.array(counts, np.float64))


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.integers(1, 12), st.sampled_from([16, 64, 256]), st.integers(1, 5))
def test_a_cost_never_falls_when_a_matrix_an_embedding_or_a_number_of_passes_grows(
    by_user: np.ndarray, by_item: np.ndarray, more: int, factors: int, epochs: int
) -> None:
    size = MatrixSize(by_user=by_user, by_item=by_item)
    grown = MatrixSize(by_user=np.append(by_user + 1, float(more)), by_item=np.append(by_item + 1, float(more)))
    for spec in MODELS.values():
        small, large = estimate_cost(size, spec.params), estimate_cost(grown, spec.params)
        assert 0 <= small.work <= large.work and 0 <= small.memory <= large.memory
    for params in (IALSParams(embedding_size=factors, epochs=epochs), BPRParams(embedding_size=factors, epochs=epochs)):
        longer, wider = replace(params, epochs=epochs + 1), replace(params, embedding_size=2 * factors)
        assert estimate_cost(size, params).work <= estimate_cost(size, longer).work
        assert estimate_cost(size, params).work <= estimate_cost(size, wider).work
        assert estimate_cost(size, params).memory <= estimate_cost(size, wider).memory
    assert estimate_cost(size, SpectralParams(embedding_size=factors)).work <= (
        estimate_cost(size, SpectralParams(embedding_size=2 * factors)).work
    )


def test_a_solve_costs_what_its_row_needs_by_hand() -> None:
    size = measure_matrix(sparse.csr_matrix(np.ones((3, 2)), dtype=np.float32))  # users of 2 items, items of 3 users
    solves = 3 * 2**3 + 2 * min(3 * 2**2 + 2**3 / 3, 3**2 * 2 + 3**3 / 3)  # wide for items: d = 2 < 3
    users_narrow = 3 * min(2 * 2**2 + 2**3 / 3, 2**2 * 2 + 2**3 / 3)
    start = 10 * 6 * 6 * (2 + 16)
    assert estimate_cost(size, IALSParams(embedding_size=2, epochs=1)).work == pytest.approx(
        start + users_narrow + solves - 3 * 2**3
    )


def test_budgets_grow() -> None:
    small, nightly, full = BUDGETS.values()
    assert (small.name, nightly.name, full.name) == ("small", "nightly", "full")
    assert small.max_factors < nightly.max_factors < full.max_factors and small.work < nightly.work < full.work
    assert {*small.models} < {*nightly.models} == {*full.models}


def test_an_unknown_budget_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="found budget 'large', expected one of small, nightly, full; correct"):
        find_budget("large")


def test_a_budget_leaves_models_that_were_named_alone() -> None:
    assert FULL.widen(BlendParams()).models == FULL.models
    assert FULL.widen(BlendParams(models=("ials",))).models == ("ials",)


def test_a_search_spends_at_most_its_budget_and_tells_what_it_left_out() -> None:
    found = chosen(TIGHT)
    fitted = [it for it in found.tried if it.outcome in (CHOSEN, TRIED)]
    starts = sum(it.work for it in chosen(SMALL).tried)
    assert found.work == pytest.approx(sum(it.work for it in fitted)) and found.work <= found.max_work
    assert found.max_work == pytest.approx(2.5 * starts)
    assert any(it.outcome == TOO_MUCH_WORK and it.measured is None for it in found.tried)
    assert all(it.measured is not None and it.measured.error > 0 for it in fitted)


def test_every_model_has_one_chosen_setting_and_it_is_what_is_fitted() -> None:
    for budget in (SMALL, TIGHT):
        found = chosen(budget)
        assert [it.model for it in found.tried if it.outcome == CHOSEN] == sorted(
            found.params, key=[it.model for it in found.tried].index
        )
        assert {it.model: it.params for it in found.tried if it.outcome == CHOSEN} == found.params
        assert all(tuple(models) == tuple(found.params) == tuple(SPECS) for models in found.by_fold)


def test_a_search_is_not_below_where_it_started() -> None:
    specs = {name: SPECS[name] for name in ("graph_filter", "bm25")}
    found = choose_settings(matrix_folds(camps(), None, 0), specs, replace(TIGHT, work=float("inf")), 10, 0)
    for name, spec in specs.items():
        value = {it.params: it.measured for it in found.tried if it.model == name and it.measured}
        assert value[found.params[name]].value >= value[spec.params].value


def test_the_small_budget_fits_every_setting_once_as_it_is() -> None:
    found = chosen(SMALL)
    assert [(it.outcome, it.measured) for it in found.tried] == [(CHOSEN, None)] * len(SPECS)
    assert found.params == {name: spec.params for name, spec in SPECS.items()} and found.work == found.max_work


def test_equal_inputs_give_equal_choices() -> None:
    folds = [matrix_folds(camps(), None, 3) for _ in range(2)]
    specs = {name: SPECS[name] for name in ("bm25", "popularity")}
    first, again = (choose_blend(part, specs, TIGHT, 10, 3) for part in folds)
    assert (first.params, first.weights, first.by_market) == (again.params, again.weights, again.by_market)


def test_no_embedding_above_the_limit_is_tried_but_the_one_that_was_given() -> None:
    for given_size, largest in ((64, 128), (512, 512)):
        spec = replace(MODELS["ials"], params=IALSParams(embedding_size=given_size))
        sizes = limit_factors(spec, 128).search_space["embedding_size"]
        assert max(sizes) == largest and {size for size in sizes if size > 128} <= {given_size}


def test_factors_that_do_not_fit_into_memory_are_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "free_memory", lambda: 1_000.0)
    with pytest.raises(ConfigError, match=r"found 0.0 GB of free memory, expected about 0.\d GB for factors of 64 num"):
        chosen(SMALL)


def test_settings_that_do_not_fit_into_memory_are_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folds = matrix_folds(camps(), None, 0)
    start, factors = search._cost(folds, SPECS["ials"].params), search._cost(folds, IALSParams(embedding_size=16))
    monkeypatch.setattr(search, "free_memory", lambda: factors.memory)
    specs = {"ials": replace(SPECS["ials"], params=IALSParams(embedding_size=16)), "popularity": SPECS["popularity"]}
    found = choose_settings(folds, specs, replace(TIGHT, work=float("inf")), 10, 0)
    assert start.memory > factors.memory
    refused = [it for it in found.tried if it.outcome == TOO_MUCH_MEMORY]
    assert refused and all(it.model == "ials" and it.measured is None for it in refused)


def test_what_other_models_hold_is_not_free_and_what_the_factors_need_is_kept_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folds = matrix_folds(camps(), None, 0)
    left = [1e12, 1e12]  # at the start, and for the first model; later what the factors need and no more
    least = search._cost(folds, SPECS["ials"].params).memory
    monkeypatch.setattr(search, "free_memory", lambda: left.pop() if left else least)
    found = choose_settings(folds, SPECS, SMALL, 10, 0)
    assert set(found.params) == {"popularity", "ials"}
    assert {it.model for it in found.tried if it.outcome == TOO_MUCH_MEMORY} == {"graph_filter", "bm25"}
    assert all(tuple(models) == tuple(found.params) for models in found.by_fold)


def test_a_given_validation_part_leaves_the_folds_of_train_as_they_are() -> None:
    signed, valid = camps(), camps(seed=9)
    with_part, without = matrix_folds(signed, valid, 5), matrix_folds(signed, None, 5)
    assert len(with_part) == len(without) + 1
    assert (with_part[0].train.signed != signed).nnz == 0
    for one, other in zip(with_part[1:], without, strict=True):
        assert (one.train.signed != other.train.signed).nnz == 0 and (one.relevant != other.relevant).nnz == 0
        assert np.array_equal(one.order, other.order) and len(one.users) > 0


def test_without_anybody_to_validate_by_nothing_is_chosen() -> None:
    nobody = build_fold(camps(), sparse.csr_matrix(camps().shape, dtype=np.float32), np.random.default_rng(0))
    found = choose_blend([nobody], SPECS, FULL, 10, 0)
    assert found.weights == POPULARITY_ONLY and found.search is None and not found.params


def climb(monkeypatch: pytest.MonkeyPatch, by_reg: dict[float, float], others: tuple[EASEParams, ...] = ()) -> float:
    """The regularisation that a search from 300 ends with, where each measures so much."""
    fitted: list[float] = []

    def fit(train: TrainingMatrix, params: EASEParams, rng: np.random.Generator) -> PopularityModel:
        fitted.append(params.reg)
        return PopularityModel(np.full((1, 1), params.reg, np.float32))

    def told(models: Sequence[PopularityModel], folds: object, k: int) -> Measured:
        value = by_reg[float(models[0].by_market[0, 0])]
        return Measured(NDCG, value, np.full(2, value), np.arange(2))

    monkeypatch.setattr(search, "measure", told)
    spec = ModelSpec("ease", EASEParams(reg=300.0), {"reg": tuple(sorted(by_reg))}, fit, other_starts=others)
    found, models = CoordinateAscent(spec, matrix_folds(camps(), None, 0), 10, 0).search()
    assert isinstance(models[0], PopularityModel) and models[0].by_market[0, 0] == found.reg
    assert len(fitted) == len(set(fitted)) * len(models)  # nothing is fitted twice
    return float(found.reg)


def test_a_field_is_tried_downwards_too_where_upwards_was_a_little_better(monkeypatch: pytest.MonkeyPatch) -> None:
    assert climb(monkeypatch, {30.0: 0.55, 100.0: 0.6, 300.0: 0.5, 1000.0: 0.51, 3000.0: 0.505}) == 100
    assert climb(monkeypatch, {30.0: 0.55, 100.0: 0.505, 300.0: 0.5, 1000.0: 0.51, 3000.0: 0.52}) == 3000


def test_a_search_begins_at_the_best_of_its_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    by_reg = {10.0: 0.7, 30.0: 0.6, 100.0: 0.4, 300.0: 0.5, 1000.0: 0.45}  # a valley lies between
    assert climb(monkeypatch, by_reg) == 300
    assert climb(monkeypatch, by_reg, (EASEParams(reg=30.0),)) == 10
    assert climb(monkeypatch, by_reg, (EASEParams(reg=100.0),)) == 300


def test_a_start_above_the_limit_of_factors_is_left_out() -> None:
    assert [it.embedding_size for it in limit_factors(MODELS["ials"], 128).other_starts] == [128]
    assert limit_factors(MODELS["ials"], 64).other_starts == ()
