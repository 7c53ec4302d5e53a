"""What is retrieved is ranked or removed; nothing disappears unaccounted for, whatever the stages do."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import StageError
from recsys.feed.eligible import find_eligible
from recsys.feed.filters import FILTERS
from recsys.feed.pipeline import Pipeline, for_surface, recommend, refilter, removals, retrieve
from recsys.feed.scorers import SCORERS, page_order
from recsys.messages import FeedRequest
from recsys.types import Candidates, rank_order


@pytest.fixture(scope="module")
def query(make_service, evening):
    return make_service().is_adult("casa-adult").engine.context(FeedRequest(user_id="casa-adult"), evening).query


def source_of(numbers):
    return lambda query: np.array(numbers, np.int32)


lists = st.lists(st.integers(0, 299), unique=True, max_size=40)


@settings(max_examples=60, deadline=None)
@given(found=st.lists(lists, max_size=4), removed=st.lists(st.sets(st.integers(0, 299)), max_size=3))
def test_retrieved_is_ranked_plus_removed(query, found, removed):
    checks = {
        f"f{n}": lambda _, candidates, gone=gone: ~np.isin(candidates.item_nos, list(gone))
        for n, gone in enumerate(removed)
    }
    pipeline = Pipeline(
        sources={f"s{n}": source_of(numbers) for n, numbers in enumerate(found)}, filters=checks, scorers=SCORERS
    )
    ranked = recommend(pipeline, query)
    retrieved = {number for numbers in found for number in numbers}
    parts = [ranked.candidates.item_nos.tolist(), *(numbers.tolist() for numbers in ranked.removed.values())]
    together = [number for part in parts for number in part]
    assert sorted(together) == sorted(retrieved)  # each exactly once
    for n, numbers in ranked.removed.items():
        assert set(numbers.tolist()) <= removed[int(n[1:])]
    for n, numbers in enumerate(found):  # a rank for what a source returned, NaN for the rest
        ranks = dict(zip(ranked.candidates.item_nos.tolist(), ranked.candidates[f"rank_s{n}"].tolist(), strict=True))
        assert {i for i, rank in ranks.items() if rank == rank} == set(numbers) & set(ranks)


@given(scores=st.lists(st.one_of(st.floats(width=32), st.just(float("nan"))), max_size=40))
def test_unknown_sinks_and_ties_go_to_the_smaller_number(scores):
    values, numbers = np.array(scores, np.float32), np.arange(len(scores), dtype=np.int32)
    order = rank_order(values, numbers)
    assert sorted(order.tolist()) == list(range(len(scores)))
    ordered = values[order]
    n_finite = int(np.isfinite(values).sum())
    assert np.isfinite(ordered[:n_finite]).all() and not np.isfinite(ordered[n_finite:]).any()
    assert all(a >= b for a, b in pairwise(ordered[:n_finite]))


def test_r2_stands_where_the_30th_percentile_of_r0_stands_the_surest_label_first():
    table = Candidates(
        np.array([1, 2, 3, 4, 5, 6], np.int32),
        {
            "tier": np.array([0, 0, 0, 2, 2, 2]),
            "score": np.array([3, 2, 1, 99, -99, np.nan], np.float32),
        },
    )
    order, scores = page_order(table, np.array([1, 1, 1, 0.5, 0.9, 0.9], np.float32))
    assert scores[3:].tolist() == [pytest.approx(1.6)] * 3  # 1 + 0.6 of the way to 2
    assert table.item_nos[order].tolist() == [1, 2, 5, 6, 4, 3]


def test_nan_scores_stand_last():
    table = Candidates(
        np.array([1, 2], np.int32), {"tier": np.array([0, 0]), "score": np.array([np.nan, -5], np.float32)}
    )
    order, scores = page_order(table, np.ones(2, np.float32))
    assert table.item_nos[order].tolist() == [2, 1] and scores[0] == -np.inf


@pytest.mark.parametrize(
    "broken", [lambda q, c: np.ones(len(c)), lambda q, c: np.ones(len(c) + 1, np.bool_), lambda q, c: np.array(True)]
)
def test_a_filter_of_another_shape_or_kind_is_refused(query, broken):
    pipeline = replace(for_surface("for_you"), filters={**FILTERS, "own": broken})
    with pytest.raises(StageError, match="filter own"):
        recommend(pipeline, query)


def test_a_scorer_of_another_shape_is_refused(query):
    pipeline = replace(for_surface("for_you"), scorers={**SCORERS, "cf": lambda q, c: np.zeros(3, np.float32)})
    with pytest.raises(StageError, match="scorer cf"):
        recommend(pipeline, query)


def test_a_source_that_invents_an_item_breaks_the_page_and_not_the_rules(query):
    pipeline = replace(for_surface("for_you"), sources={"own": source_of([10**6])})
    with pytest.raises(IndexError):  # the engine then serves the fallback page
        recommend(pipeline, query)


def test_a_source_that_returns_what_is_not_eligible_brings_nothing_in(query):
    forbidden = np.flatnonzero(~query.is_eligible)
    ranked = recommend(replace(for_surface("for_you"), sources={"own": source_of(forbidden)}), query)
    assert len(ranked.candidates) == 0
    assert sum(len(numbers) for numbers in ranked.removed.values()) == len(forbidden)


def test_no_sources_no_candidates(query):
    ranked = recommend(replace(for_surface("for_you"), sources={}), query)
    assert len(ranked.candidates) == 0 and "score" in ranked.candidates.columns


def test_a_failed_source_says_what_went_wrong(query):
    def gone(_):
        raise OSError("no such file")

    found, failed = retrieve(replace(for_surface("for_you"), sources={"a": gone, "b": source_of([1])}), query)
    assert failed["a"].startswith("OSError at test_pipeline.py:") and set(found) == {"b"}


def test_what_is_eligible_is_what_every_filter_keeps_and_removals_count_the_rest(query):
    pipeline = for_surface("for_you")
    again = find_eligible(pipeline.filters, query)
    assert (again.is_eligible == query.is_eligible).all()
    real = int(query.items.exists.sum())
    assert sum(removals(pipeline, query).values()) == real - int(query.is_eligible.sum())


def test_refiltering_an_unchanged_world_changes_nothing(query):
    pipeline = for_surface("for_you")
    ranked = recommend(pipeline, query)
    again = refilter(pipeline, query, ranked)
    assert again.candidates.item_nos.tolist() == ranked.candidates.item_nos.tolist()
    assert again.candidates["score"].tolist() == ranked.candidates["score"].tolist()


def test_refiltering_drops_what_was_seen_meanwhile(query):
    pipeline = for_surface("for_you")
    ranked = recommend(pipeline, query)
    best = ranked.candidates.item_nos[0]
    shown = np.union1d(query.shown, best).astype(np.int32)
    again = refilter(pipeline, replace(query, shown=shown), ranked)
    assert best not in again.candidates.item_nos and best in again.removed["seen"]
