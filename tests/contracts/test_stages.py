"""
What every source, filter, scorer and space promises. The subjects are found in the engine's own mappings and in the
modules of models, so that a new one cannot skip.
"""

import inspect
import pkgutil
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsys.models
from recsys.clock import DAY
from recsys.feed import filters, pipeline, sources
from recsys.feed import scorers as score
from recsys.feed.eligible import find_eligible
from recsys.feed.query import count_eligible
from recsys.messages import FeedRequest
from recsys.models.base import LinearSpace
from recsys.models.ials import FactorSpace
from recsys.models.text import Centres, TextSpace
from recsys.types import Candidates, History

SOURCES = {f"{surface}:{name}": source for surface, all_ in sources.BY_SURFACE.items() for name, source in all_.items()}
SOURCES |= {f"fallback:{name}": source for name, source in pipeline.fallback().sources.items()}
SOURCES |= {f"reranking:{name}": source for name, source in pipeline.reranking().sources.items()}
PEOPLE = ["casa-adult", "agadir-teen", "nobody"]


def named(module, protocol):
    """Functions of a module that look like the protocol: (query) or (query, candidates), public."""
    return {
        name for name, f in inspect.getmembers(module, inspect.isfunction)
        if f.__module__ == module.__name__ and name[0] != "_" and len(inspect.signature(f).parameters) == protocol
        and next(iter(inspect.signature(f).parameters)) == "query"
    }  # fmt: skip


def test_every_stage_that_is_written_is_in_a_mapping_and_tested_here():
    in_use = {source.__name__ for source in SOURCES.values()}
    assert named(sources, 1) <= in_use
    assert named(filters, 2) == {check.__name__ for check in filters.FILTERS.values()}
    helpers = {"value", "faded", "language", "ordered", "ordered_in_numpy"}  # they read the parts, and order by them
    assert named(score, 2) - helpers <= {scorer.__name__ for scorer in score.SCORERS.values()}


@pytest.fixture(scope="module")
def asked(make_service, evening):
    """Resolved queries of several people on several surfaces, after some history."""
    service = make_service().is_adult("casa-adult")
    items = service.engine.resources.catalogue_cache.items
    service.tell(
        {"kind": "follow", "creator_id": items.creator_ids[3]},
        {"kind": "hide_creator", "creator_id": items.creator_ids[9]},
        {"kind": "like", "item_id": items.item_ids[4]},
        {"kind": "not_interested", "item_id": items.item_ids[6]},
    )
    found = {}
    for person in PEOPLE:
        service.ask(person)
        for surface in sources.BY_SURFACE:
            request = FeedRequest(
                user_id=person,
                surface=surface,
                request_id=f"{person} {surface}",
                query="kifach les",
                anchor_item_id=items.item_ids[5] if surface == "related" else None,
                exclude_ids=(items.item_ids[8],),
                candidate_ids=tuple(items.item_ids[1:90]) if surface == "search" else None,
            )
            found[person, surface] = service.engine.context(request, evening + 1).query
    return found


def empty(query):
    """The same question when nothing is eligible."""
    return replace(query, eligible=count_eligible(query, np.zeros(len(query.whole), np.bool_)))


@pytest.mark.parametrize("name", SOURCES)
class TestSource:
    def test_returns_each_eligible_item_once(self, asked, name):
        for query in asked.values():
            found = SOURCES[name](query)
            assert found.ndim == 1 and np.issubdtype(found.dtype, np.integer)
            assert len(set(found.tolist())) == len(found)
            assert query.is_eligible[found].all()

    def test_the_same_query_finds_the_same_items(self, asked, name):
        for query in asked.values():
            assert SOURCES[name](query).tolist() == SOURCES[name](replace(query)).tolist()

    def test_finds_nothing_where_nothing_may_be_shown(self, asked, name):
        for query in asked.values():
            assert len(SOURCES[name](empty(query))) == 0

    def test_does_not_change_the_query(self, asked, name):
        for query in asked.values():
            before = query.is_eligible.copy()
            SOURCES[name](query)
            assert (query.is_eligible == before).all()


@pytest.mark.parametrize("name", filters.FILTERS)
class TestFilter:
    def test_a_verdict_does_not_depend_on_the_other_rows(self, asked, name):
        check, rng = filters.FILTERS[name], np.random.default_rng(1)
        for query in asked.values():
            whole = check(query, query.whole)
            assert whole.shape == (len(query.whole),) and whole.dtype == np.bool_
            some = rng.permutation(len(query.whole))[:37]
            assert (check(query, query.whole.take(some)) == whole[some]).all()
            for row in some[:5]:
                assert check(query, query.whole.take(np.array([row])))[0] == whole[row]

    def test_no_rows_no_verdicts(self, asked, name):
        for query in asked.values():
            assert filters.FILTERS[name](query, query.whole.take(np.empty(0, np.intp))).shape == (0,)


def test_what_is_eligible_is_what_every_filter_keeps_of_the_whole_catalogue(asked):
    for query in asked.values():
        keep = np.all([check(query, query.whole) for check in filters.FILTERS.values()], axis=0)
        found = find_eligible(filters.FILTERS, query).eligible
        counted = count_eligible(query, keep)
        assert (found.mask == keep).all() and (found.rows == counted.rows).all()
        assert found.n_by_class.tolist() == counted.n_by_class.tolist()


@pytest.mark.parametrize("name", score.SCORERS)
class TestScorer:
    def test_a_row_has_the_same_score_alone(self, asked, name):
        scorer, rng = score.SCORERS[name], np.random.default_rng(2)
        for query in asked.values():
            rows = rng.permutation(len(query.whole))[:40]
            together = scorer(query, query.whole.take(rows))
            assert together.shape == (40,) and together.dtype == np.float32
            assert not np.isinf(together).any()
            for n in range(0, 40, 7):
                alone = scorer(query, query.whole.take(rows[n : n + 1]))
                assert np.allclose(alone, together[n], rtol=1e-4, atol=1e-5, equal_nan=True)

    def test_an_item_that_no_model_knows_is_unknown_or_a_number_never_an_error(self, asked, name):
        for query in asked.values():
            items = replace(query.items, row=np.full(len(query.items), -1, np.int32))
            scores = score.SCORERS[name](replace(query, items=items), query.whole)
            assert scores.shape == (len(query.whole),) and not np.isinf(scores).any()


def spaces():
    """Every class of `recsys.models` that can place a person."""
    found = {}
    for module in pkgutil.iter_modules(recsys.models.__path__, "recsys.models."):
        for name, cls in inspect.getmembers(import_module(module.name), inspect.isclass):
            if cls.__module__ == module.name and hasattr(cls, "fold_in"):
                found[name] = cls
    return found


def made(cls, rng, n=30, d=5):
    """A small space of a class, by name, so that a new class needs a line here."""
    vectors = rng.standard_normal((n, d)).astype(np.float32)
    vectors[-1] = 0  # an item that the space knows nothing about
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    centres = Centres((), np.zeros((1, d), np.float32))
    makers = {
        "FactorSpace": lambda: FactorSpace(
            item_vectors=vectors,
            scales=np.ones(vectors.shape[1], np.float32),
            reg=1.0,
            power=0.0,
            unobserved=1.0,
            negative_weight=0.3,
        ),
        "LinearSpace": lambda: LinearSpace(vectors, np.arange(n, dtype=np.float32), 0.3),
        "TextSpace": lambda: TextSpace(item_vectors=unit, centres=centres, half_life_days=14.0, negative_weight=0.5),
    }
    return makers[cls.__name__]()


histories = st.lists(
    st.tuples(st.integers(0, 29), st.floats(-5, 5, width=32), st.integers(0, 400)), min_size=0, max_size=40
)


@pytest.mark.parametrize("name", spaces())
class TestSpace:
    @settings(max_examples=40, deadline=None)
    @given(events=histories)
    def test_a_person_is_a_finite_vector_and_nobody_is_zeros(self, name, events):
        space = made(spaces()[name], np.random.default_rng(3))
        d = space.item_vectors.shape[1]
        assert not space.fold_in(History.empty()).any() and space.fold_in(History.empty()).shape == (d,)
        history = History(
            np.array([e[0] for e in events], np.int32), np.array([e[1] for e in events], np.float32),
            np.array(sorted(e[2] * DAY for e in events), np.int64),
        )  # fmt: skip
        vector = space.fold_in(history)
        assert vector.shape == (d,) and vector.dtype == np.float32 and np.isfinite(vector).all()
        assert (space.fold_in(history) == vector).all()
        if not any(e[1] > 0 for e in events):
            assert not vector.any()  # refusals alone say what is not wanted

    def test_who_liked_an_item_is_nearer_to_it_than_before(self, name):
        space = made(spaces()[name], np.random.default_rng(4))
        base = History(np.array([3], np.int32), np.array([1.0], np.float32), np.array([DAY], np.int64))
        more = History(np.array([3, 7], np.int32), np.array([1.0, 2.0], np.float32), np.array([DAY, DAY], np.int64))
        before, after = (space.item_vectors[7] @ space.fold_in(history) for history in (base, more))
        assert after > before


def test_a_trained_space_is_known_to_these_contracts(tiny):
    assert {type(space).__name__ for space in tiny.spaces.values()} <= set(spaces())


def test_candidates_keep_their_rows():
    table = Candidates(np.array([4, 2], np.int32), {"a": np.array([1.0, np.nan])})
    assert table.take(np.array([1])).item_nos.tolist() == [2] and len(table.take(np.array([], np.intp))) == 0
