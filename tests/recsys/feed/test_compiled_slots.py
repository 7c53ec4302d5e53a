"""The compiled slot loop fills every page as its specification in Python does, and explores with the same draws."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.feed.compiled_slots import fill_page
from recsys.feed.slate import delivered, floors, select_slot_by_slot, selection_of
from recsys.feed.slot_rules import slot_rules
from recsys.policy.limits import Limits, Windows
from recsys.safety.floors import Supply
from recsys.types import Candidates

caps = st.one_of(st.none(), st.integers(0, 9))
windows = st.builds(Windows, last_20=caps, session=caps, rolling_24h=caps, rolling_7d=caps)
counters = st.sampled_from(["R1", "R2", "R1+R2", "S4"])
limits_ = st.builds(
    Limits,
    windows=st.dictionaries(counters, windows),
    gaps=st.dictionaries(counters, st.integers(1, 49)),
    creator_last_20=st.one_of(st.none(), st.integers(0, 5)),
    supportive_floor=st.floats(0, 1),
    local_floor=st.floats(0, 1),
)


def rules_of(person, limits, size, seed):
    """The rules of a page with any supply and any kind of exploration. Made anew for each loop, because they change."""
    rng = np.random.default_rng(seed)
    supply = Supply(supportive=int(rng.integers(21)), local=int(rng.integers(21)), local_share=rng.random())
    return slot_rules(
        person.ledger,
        limits,
        floors(person.ledger, limits, supply, 1.5),
        size=size,
        at=person.at,
        explore_slots=int(rng.integers(3)),
        explore_from=int(rng.integers(6)),
        new_creator_share=rng.random(),
    )


def both(native, candidates, make_rules, seed):
    """The page of each loop, and what its generator draws next."""
    pages = []
    for is_compiled in (False, True):
        rng = np.random.default_rng(seed)
        if is_compiled:
            filled = fill_page(native, candidates, make_rules(), rng)
            assert filled is not None
            page = selection_of(filled)
        else:
            page = select_slot_by_slot(candidates, make_rules(), rng)
        values = dataclasses.asdict(page)
        arrays = {name: (value.dtype, value.tolist()) for name, value in values.items() if hasattr(value, "dtype")}
        pages.append((values | arrays, list(values["blocked"]), rng.integers(1 << 30)))
    return (*pages, page)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    limits=limits_,
    n=st.integers(0, 80),
    size=st.integers(1, 50),
    n_creators=st.sampled_from([3, 20, 1_000]),
)
def test_both_loops_fill_the_same_pages(native, somebody, make_candidates, steps, seed, limits, n, size, n_creators):
    rng, person = np.random.default_rng(seed), somebody()
    for number in range(4):
        person.wait(int(rng.choice(steps)))
        candidates = make_candidates(rng, n, 1_000 * number, n_creators)
        candidates = candidates.with_columns({"is_new_creator": rng.random(n) < 0.3})
        specified, compiled, page = both(
            native, candidates, lambda number=number: rules_of(person, limits, size, [seed, number]), seed
        )
        assert compiled == specified
        person.take(delivered(candidates, page.rows, person.at), limits)


@pytest.mark.parametrize(
    ("name", "value"), [("tier", 8), ("tier", -1), ("family", -2), ("family", 5), ("family", 2**40)]
)
def test_a_kind_that_there_is_not_is_left_to_the_specification(native, somebody, make_candidates, name, value):
    rng, person = np.random.default_rng(0), somebody()
    candidates = make_candidates(rng, 20)
    columns = {"tier": np.full(20, 2), "family": np.zeros(20, int)} | {name: np.full(20, value)}
    rules = rules_of(person, Limits(), 5, 0)
    assert fill_page(native, candidates.with_columns(columns), rules, rng) is None
    assert all(not counter.places for counter in rules.counters.values())


def test_a_page_of_nothing_is_empty(native, somebody, make_candidates):
    nothing: Candidates = make_candidates(np.random.default_rng(0), 0)
    filled = fill_page(native, nothing, rules_of(somebody(), Limits(), 5, 0), np.random.default_rng(0))
    assert filled is not None and not len(filled.rows) and filled.blocked == {}
