"""Weights, re-ranker and locality weight chosen by what users would watch, not by what an old feed showed them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recsys.models.base import PopularityModel
from recsys.models.interactions import interactions_from_matrix
from recsys.types import Floats
from training.models.blend_weights import fit_market_weights, fit_weights, reduce_popularity
from training.models.locality_weight import MAX_WEIGHT, MIN_USERS, watched_locality_weight
from training.models.reranked_watch import RerankedItems, RerankedWatch
from training.models.reranker import RerankerTable, fit_reranker
from training.models.validation_table import ValidationTable
from training.models.watch_table import WatchTable, build_watch_table, stack_watch_tables
from training.models.yardstick import ShownItems, measure_watch

N_ITEMS, K = 120, 5
ONE = np.ones(1, np.float32)


def table_of(signal: list[float], names: tuple[str, ...], n_users: int = 300, seed: int = 0) -> WatchTable:
    """Models that see what users would watch through noise; an old feed shows every fifth item ten times as often."""
    random = np.random.default_rng(seed)
    worth = random.standard_normal((n_users, N_ITEMS))
    scores = np.stack([s * worth + random.standard_normal(worth.shape) for s in signal], axis=2).astype(np.float32)
    chance = np.where(np.arange(N_ITEMS) % 5 == 0, 10.0, 1.0)
    chance /= chance.sum()
    items = random.choice(N_ITEMS, (n_users, 10), p=chance)
    rows = np.repeat(np.arange(n_users), 10)
    return WatchTable(
        model_names=names, numbers=np.arange(n_users), markets=(None,) * n_users, n_open=np.full(n_users, N_ITEMS),
        items=np.tile(np.arange(N_ITEMS, dtype=np.int32), (n_users, 1)), drawn=scores,
        is_open=np.ones((n_users, N_ITEMS), np.bool_), rows=rows, shown_items=items.ravel().astype(np.int32),
        shown=scores[rows, items.ravel()], propensity=chance[items.ravel()].astype(np.float32),
        response=(1 / (1 + np.exp(-worth[rows, items.ravel()]))).astype(np.float32),
    )  # fmt: skip


def exposed_of(table: WatchTable, seed: int = 0) -> ValidationTable:
    """What the same users went on to like, as an old feed that is the first model would have it."""
    liked = np.argsort(np.argsort(-table.drawn[:, :, 0], axis=1), axis=1) < K
    return ValidationTable(table.model_names, table.drawn, liked, liked.sum(axis=1), table.numbers)


def test_a_model_is_worth_what_it_is_worth_when_its_whole_ranking_is_scored() -> None:
    random = np.random.default_rng(0)
    model = PopularityModel(random.random((1, N_ITEMS)).astype(np.float32))
    met = sparse.csr_matrix((random.random((40, N_ITEMS)) < 0.1).astype(np.float32))
    shown = ShownItems(
        users=interactions_from_matrix(met), numbers=np.arange(40), rows=np.repeat(np.arange(40), 3),
        items=random.integers(0, N_ITEMS, 120).astype(np.int32), propensity=random.random(120).astype(np.float32),
        response=random.random(120).astype(np.float32), drawn=np.arange(0, N_ITEMS, 2, dtype=np.int32), n_open=N_ITEMS,
    )  # fmt: skip
    table = build_watch_table({"popularity": model}, shown)
    whole, found = measure_watch([(model.scores, shown)]), table.measure(ONE)
    assert found.value == pytest.approx(whole.value) and found.error == pytest.approx(whole.error)
    assert stack_watch_tables([table, table]).measure(ONE).value == pytest.approx(whole.value)
    assert stack_watch_tables([table, table]).measure(ONE).error == pytest.approx(whole.error)  # nobody counts twice


def test_folds_of_different_draws_are_measured_together() -> None:
    one = table_of([1.0], ("ials",), 30)
    short = replace(one, items=one.items[:, :60], drawn=one.drawn[:, :60], is_open=one.is_open[:, :60])
    both = stack_watch_tables([short, one])
    targets = np.concatenate([short.targets(ONE), one.targets(ONE)])
    assert both.targets(ONE) == pytest.approx(targets)


def test_a_user_is_in_one_half_and_each_half_is_measured_by_its_own_weights() -> None:
    table = table_of([2.0, 0.0], ("ials", "bpr"), 40)
    twice = stack_watch_tables([table, table])
    sides = [set(twice.half(side).numbers.tolist()) for side in (0, 1)]
    assert not sides[0] & sides[1] and set.union(*sides) == set(range(40))
    first, second = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    crossed = twice.cross_validate(first, second)
    assert twice.measure(second).value < crossed.value < twice.measure(first).value
    assert twice.cross_validate(first, first).value == pytest.approx(twice.measure(first).value)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 2), min_size=1, max_size=3), st.integers(0, 100))
def test_a_blend_is_never_below_its_best_model(signal: list[float], seed: int) -> None:
    table = table_of(signal, ("popularity", "ials", "bpr")[: len(signal)], 80, seed)
    exposed = exposed_of(table)
    fitted = fit_weights(exposed, K, None, table)
    for chosen in (fitted, reduce_popularity(exposed, fitted, K, table)):
        assert chosen.watch is not None
        assert chosen.watch.value >= max(chosen.watch.by_model.values()) - 1e-6
        assert all(weight > 0 for weight in chosen.weights.values())


def test_what_people_would_watch_decides_and_what_they_were_shown_does_not() -> None:
    table = table_of([0.0, 1.5], ("popularity", "ials"))
    exposed = exposed_of(table)
    by_ndcg = reduce_popularity(exposed, fit_weights(exposed, K), K)
    by_watch = reduce_popularity(exposed, fit_weights(exposed, K, None, table), K, table)
    assert max(by_ndcg.weights, key=by_ndcg.weights.__getitem__) == "popularity"
    assert by_watch.weights == {"ials": 1.0} and by_ndcg.watch is None
    assert by_watch.ndcg_in_sample == by_watch.ndcg_cross_validated < by_ndcg.ndcg_cross_validated


def test_popularity_stays_where_people_would_watch_less_without_it() -> None:
    table = table_of([1.5, 0.0], ("popularity", "ials"))
    exposed = exposed_of(table)
    assert reduce_popularity(exposed, fit_weights(exposed, K, None, table), K, table).weights["popularity"] == 1.0


def test_a_market_that_watches_something_else_has_weights_of_its_own() -> None:
    names = ("popularity", "ials")
    tables = [table_of([1.5, 0.0], names, 900, 1), table_of([0.0, 1.5], names, 900, 2), table_of([0.0, 1.5], names, 50)]
    together = replace(stack_watch_tables(tables), numbers=np.arange(1850))
    together = replace(together, markets=("MA",) * 900 + ("FR",) * 900 + ("EG",) * 50)
    exposed = exposed_of(together)
    by_market = fit_market_weights(exposed, [], fit_weights(exposed, K, None, together), K, together)
    assert set(by_market) == {"FR", "MA"}
    assert by_market["MA"]["popularity"] > by_market["MA"].get("ials", 0)
    assert by_market["FR"]["ials"] > by_market["FR"].get("popularity", 0)


def test_a_blend_as_one_model_orders_as_the_blend_does() -> None:
    table, weights = table_of([1.0, 1.0], ("ials", "bpr"), 50), np.array([0.7, 0.2], np.float32)
    one = table.collapse(np.tile(weights, (50, 1)))
    assert one.measure(ONE).value == pytest.approx(table.measure(weights).value)
    assert one.drawn[:, :, 0].std(axis=1) == pytest.approx(np.ones(50), rel=1e-4)


def reranked(signal: float, *, is_watched: bool, n_users: int = 1_500) -> tuple[RerankerTable, RerankedWatch]:
    """People like what two features of one sign have; they watch it too, or rather what they were shown before."""
    random = np.random.default_rng(0)
    n_best = 20
    features = random.standard_normal((n_users, n_best, 8)).astype(np.float32)
    features[:, :, 0] = -np.sort(-features[:, :, 0], axis=1)
    features[:, :, 3] = np.log1p(np.arange(n_best))
    is_fit = features[:, :, 5] * features[:, :, 6] > 0.3
    liked = random.random(is_fit.shape) < 0.05 + signal * is_fit
    liked[:, 0] |= ~liked.any(axis=1)
    new = np.ones_like(liked)
    table = RerankerTable(features.astype(np.float16), new, liked, liked.sum(axis=1), np.arange(n_users))
    rows = np.repeat(np.arange(n_users), 4)
    place = random.integers(0, n_best, len(rows))
    watched = is_fit[rows, place] if is_watched else ~is_fit[rows, place]
    watch = replace(
        table_of([1.0], ("blend",), n_users), rows=rows, shown_items=place.astype(np.int32),
        shown=np.zeros((len(rows), 1), np.float32), propensity=np.full(len(rows), 0.5, np.float32),
        response=np.where(watched, 0.9, 0.1).astype(np.float32),
    )  # fmt: skip
    return table, RerankedWatch(watch, RerankedItems(table.features, new, np.ones(n_users, np.bool_), place))


def test_trees_are_kept_where_people_watch_more_of_what_they_put_first() -> None:
    table, watch = reranked(0.3, is_watched=True)
    found = fit_reranker(table, 10, np.random.default_rng(0), watch)
    assert found.trees is not None and found.watch_with > found.watch_without


def test_trees_that_only_rebuild_the_old_feed_are_left_out() -> None:
    table, watch = reranked(0.3, is_watched=False)
    assert fit_reranker(table, 10, np.random.default_rng(0)).trees is not None
    found = fit_reranker(table, 10, np.random.default_rng(0), watch)
    assert found.trees is None and found.ndcg_cross_validated == found.ndcg_without


def test_re_ranking_moves_the_best_items_of_those_who_are_re_ranked_and_nothing_else() -> None:
    _, watch = reranked(0.3, is_watched=True, n_users=30)
    before = watch.measure(None)
    reverse: Floats = np.tile(np.arange(20, dtype=np.float32), (30, 1))
    assert watch.measure(-reverse).value == pytest.approx(before.value)
    nobody = replace(watch, items=replace(watch.items, is_reranked=np.zeros(30, np.bool_)))
    assert watch.measure(reverse).value != pytest.approx(before.value)
    assert nobody.measure(reverse).value == pytest.approx(before.value)
    below = replace(watch, items=replace(watch.items, place=np.full(120, -1)))
    assert below.measure(reverse).value == pytest.approx(below.table.measure(ONE).value)


@pytest.mark.parametrize(("pull", "weights"), [(1.0, {MAX_WEIGHT}), (-1.0, {0.0, 0.1})])
def test_pages_are_as_local_as_people_would_watch(pull: float, weights: set[float]) -> None:
    made = ["MA" if item % 2 else "FR" for item in range(N_ITEMS)]
    table = table_of([1.0], ("blend",))
    is_local = np.array([place == "MA" for place in made])[table.shown_items]
    table = replace(table, response=np.clip(table.response + pull * 0.4 * is_local, 0, 1).astype(np.float32))
    homes = ["MA"] * 300
    assert watched_locality_weight(table, homes, made, "MA") in weights
    assert watched_locality_weight(table, homes, [None] * N_ITEMS, "MA") is None
    few = ["MA"] * (MIN_USERS - 1) + ["FR"] * 300
    assert watched_locality_weight(table, few, made, "MA") is None


@pytest.mark.parametrize("untold", [{"propensity": np.nan}, {"propensity": 0.0}, {"response": 0.0}])
def test_a_market_whose_log_tells_nothing_has_no_locality_weight(untold: dict[str, float]) -> None:
    """Half of the people are of a market whose app logs no propensities, or who watch nothing."""
    made, homes = ["MA" if item % 2 else "FR" for item in range(N_ITEMS)], ["MA", "FR"] * 150
    table = table_of([1.0], ("blend",))
    is_of_ma = table.rows % 2 == 0
    columns = {name: np.where(is_of_ma, value, getattr(table, name)) for name, value in untold.items()}
    table = replace(table, **{name: values.astype(np.float32) for name, values in columns.items()})
    assert watched_locality_weight(table, homes, made, "MA") is None
    assert watched_locality_weight(table, homes, made, "FR") is not None


def test_a_user_who_has_met_all_that_was_drawn_keeps_their_scores() -> None:
    table = table_of([1.0], ("blend",), 3)
    met = replace(table, is_open=np.arange(3)[:, None] > np.zeros((3, N_ITEMS)))
    blend = met.collapse(np.full((3, 1), 2.0, np.float32))
    assert blend.drawn[0] == pytest.approx(2 * table.drawn[0])
    assert blend.drawn[1].std() == pytest.approx(1.0, abs=1e-5)
