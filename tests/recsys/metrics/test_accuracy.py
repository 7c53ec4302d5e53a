"""Metrics of accuracy by hand, at several cut-offs, weighted, on frames; and the laws that hold for every list."""

import doctest
from math import isnan, log2, nan

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys import metrics
from recsys.errors import DataError
from recsys.metrics import ACCURACY, EMPTY, accuracy, frames, variety

# Hits at 1 and 3 of three relevant; a hit at 2, the only relevant; nothing relevant.
HITS = np.array([[True, False, True, False], [False, True, False, False], [False, False, False, False]])
N_RELEVANT = np.array([3, 1, 0])
hits = arrays.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(0, 12)))


@pytest.mark.parametrize("module", [accuracy, variety, frames])
def test_every_metric_has_an_example_worked_by_hand(module) -> None:
    names = {"np": np, "pl": pl}
    found = doctest.testmod(module, extraglobs=names)
    assert found.failed == 0 and found.attempted >= 3


@pytest.mark.parametrize(
    ("name", "k", "first", "second"),
    [
        ("precision", 2, 1 / 2, 1 / 2),
        ("precision", 10, 2 / 10, 1 / 10),  # a short list does not make it easier
        ("hit_rate", 1, 1.0, 0.0),
        ("map", 4, (1 / 1 + 2 / 3) / 3, 1 / 2),
        ("map", 1, 1 / 3, 0.0),
        ("mrr", 4, 1.0, 1 / 2),
        ("ndcg_full_page", 2, 1 / (1 + 1 / log2(3)), (1 / log2(3)) / (1 + 1 / log2(3))),
    ],
)
def test_by_hand(name: str, k: int, first: float, second: float) -> None:
    values = ACCURACY[name](HITS, N_RELEVANT, k)
    assert values[:2].tolist() == pytest.approx([first, second])
    assert isnan(values[2])


@given(hits, st.integers(0, 3), st.integers(1, 15))
def test_every_metric_is_a_share_and_unknown_for_the_same_people(found: np.ndarray, missed: int, k: int) -> None:
    n_relevant = found.sum(axis=1) + missed
    for values in metrics.score_lists(found, n_relevant, (k, 2 * k)).values():
        assert np.array_equal(np.isnan(values), n_relevant == 0)
        assert np.all((values[n_relevant > 0] >= 0) & (values[n_relevant > 0] <= 1 + 1e-9))


@given(hits, st.integers(0, 3), st.integers(1, 15))
def test_equal_weights_give_the_plain_metric(found: np.ndarray, missed: int, k: int) -> None:
    n_relevant = found.sum(axis=1) + missed
    everything = (np.arange(n_relevant.max(initial=0)) < n_relevant[:, None]) * 2.5
    pairs = [
        (metrics.weighted_recall, metrics.recall),
        (metrics.weighted_ndcg, metrics.ndcg),
        (metrics.weighted_average_precision, metrics.average_precision),
    ]
    for weighted, plain in pairs:
        assert weighted(found * 2.5, everything, k) == pytest.approx(plain(found, n_relevant, k), nan_ok=True)


def test_what_is_rarely_shown_counts_for_more_when_it_is_found() -> None:
    weights = metrics.inverse_propensity(np.array([0.5, 0.1]))  # 2 and 10
    assert metrics.weighted_recall(np.array([[10.0, 0.0]]), weights[None], 2)[0] == pytest.approx(10 / 12)
    assert metrics.inverse_propensity(np.array([0.0, nan, 1.5, 1.0])).tolist() == [0.0, 0.0, 0.0, 1.0]


@given(st.integers(2, 9), st.integers(0, 9), st.randoms(use_true_random=False))
def test_the_auc_of_a_list_is_that_of_scores_which_fall_with_the_rank(n_items: int, length: int, random) -> None:
    order = random.sample(range(n_items), n_items)
    listed, n_relevant = order[:length], random.randint(1, n_items - 1)
    relevant = random.sample(range(n_items), n_relevant)
    scores = np.array([-listed.index(item) if item in listed else -99.0 for item in range(n_items)])
    expected = metrics.auc(scores, np.isin(np.arange(n_items), relevant))
    found = np.isin(listed, relevant).reshape(1, -1)
    values = metrics.ranked_auc(found, np.array([n_relevant]), np.array([len(listed)]), n_items)
    assert values[0] == pytest.approx(expected)


@given(st.lists(st.tuples(st.sets(st.integers(0, 9), max_size=6), st.sets(st.integers(0, 9))), min_size=1, max_size=5))
def test_hits_are_found_person_by_person(people: list[tuple[set[int], set[int]]]) -> None:
    pages = np.full((len(people), 6), EMPTY)
    for row, (listed, _) in enumerate(people):
        pages[row, : len(listed)] = list(listed)
    flat = np.array([item for _, relevant in people for item in relevant], np.int64)
    found = metrics.find_hits(pages, flat, np.array([len(relevant) for _, relevant in people]))
    for row, (_, relevant) in enumerate(people):
        assert found[row].tolist() == [item in relevant for item in pages[row].tolist()]


def test_counts_that_do_not_fit_the_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 2, and 1 relevant items"):
        metrics.find_hits(np.array([[1]]), np.array([1]), np.array([2]))


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'precison', expected one of precision"):
        metrics.score_lists(HITS, N_RELEVANT, (1,), ("precison",))
    for function in ACCURACY.values():
        with pytest.raises(ValueError, match="k = 0"):
            function(HITS, N_RELEVANT, 0)


SHOWN = pl.DataFrame({"user_id": ["b", "a", "a"], "item_id": ["x", "y", "x"], "rank": [1, 7, 2]})
RELEVANT = pl.DataFrame({"user_id": ["a", "c"], "item_id": ["y", "x"], "propensity": [0.5, None]})


def test_frames_are_read_by_rank_and_who_was_shown_nothing_counts() -> None:
    found = metrics.score_frame(SHOWN, RELEVANT, (1, 2), ("recall", "mrr"))
    assert found["user_id"].to_list() == ["a", "c"]
    assert found["recall@1"].to_list() == [0.0, 0.0]
    assert found["mrr@2"].to_list() == [0.5, 0.0]
    assert found["weighted_recall@2"].to_list() == pytest.approx([1.0, nan], nan_ok=True)


def test_a_frame_weighs_each_item_by_its_own_propensity() -> None:
    relevant = pl.DataFrame({"user_id": ["a", "a"], "item_id": ["x", "z"], "propensity": [0.25, 0.5]})
    found = metrics.score_frame(SHOWN, relevant, (5,))
    assert found["weighted_recall@5"].to_list() == [4 / 6]
    assert found["weighted_ndcg@5"].to_list() == pytest.approx([4 / (4 + 2 / log2(3))])


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (SHOWN.drop("rank"), "shown: found the columns user_id, item_id, expected also rank"),
        (pl.concat([SHOWN, SHOWN.with_columns(rank=9 + pl.col("rank"))]), "found user_id b and item_id x twice"),
        (SHOWN.with_columns(rank=pl.lit(1)), "found user_id a and rank 1 twice"),
    ],
)
def test_a_frame_that_is_no_ranking_is_a_sentence(shown: pl.DataFrame, said: str) -> None:
    with pytest.raises(DataError, match=said):
        metrics.score_frame(shown, RELEVANT)


def test_a_frame_without_rows_gives_none() -> None:
    assert metrics.score_frame(SHOWN, RELEVANT.clear()).height == 0
    assert metrics.score_frame(SHOWN.clear(), RELEVANT, (3,), ("recall",))["recall@3"].to_list() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rank": pl.lit(None, pl.Int64)}, "found {n} rows without rank"),
        ({"rank": pl.lit(float("nan"))}, "found {n} rows without rank"),
        ({"item_id": pl.lit(None, pl.String)}, "found {n} rows without item_id"),
        ({"user_id": pl.lit(1)}, "user_id: found Int32 in shown and String in relevant"),
    ],
)
def test_a_frame_that_lacks_values_or_has_other_types_is_refused_in_a_sentence(change: dict, sentence: str) -> None:
    """A row without a rank would else stand first."""
    shown = SHOWN.head(1).with_columns(**change)
    with pytest.raises(DataError, match=sentence.format(n=1)):
        metrics.score_frame(shown, RELEVANT)
