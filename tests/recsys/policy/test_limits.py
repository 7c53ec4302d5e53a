import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.feed.slate import delivered
from recsys.policy.limits import (
    DIRECTIONS,
    MAX_CAP,
    PATHS,
    Limits,
    Windows,
    changed,
    family_cap,
    flatten,
    is_at_least_as_strict,
    lower,
    meet,
    minutes,
    spans_of,
)
from recsys.safety.validator import violations
from recsys.vocabulary import COUNTERS

caps = st.one_of(st.none(), st.integers(0, MAX_CAP))
windows = st.builds(Windows, last_20=caps, session=caps, rolling_24h=caps, rolling_7d=caps)
counters = st.sampled_from(COUNTERS)
names = st.frozensets(st.sampled_from("abcde"), max_size=3)
layers = st.builds(
    Limits,
    windows=st.dictionaries(counters, windows),
    gaps=st.dictionaries(counters, st.integers(0, 49)),
    creator_last_20=caps,
    daily_minutes=st.one_of(st.none(), st.integers(0, 1440)),
    supportive_floor=st.floats(0, 1),
    local_floor=st.floats(0, 1),
    blocked_tiers=st.frozensets(st.integers(0, 4), max_size=3),
    blocked_topics=names,
    blocked_families=names,
    blocked_creators=names,
    blocked_words=names,
    night=st.frozensets(st.integers(0, 1439), max_size=5),
    labelled_only=st.booleans(),
    non_personalised=st.booleans(),
)


@given(layers, layers)
def test_the_order_of_two_layers_does_not_matter(a, b):
    assert meet(a, b) == meet(b, a)


@given(layers, layers, layers)
def test_how_layers_are_grouped_does_not_matter(a, b, c):
    assert meet(meet(a, b), c) == meet(a, meet(b, c)) == meet(a, b, c)


@given(layers)
def test_a_layer_met_with_itself_or_with_nothing_is_itself(a):
    assert meet(a, a) == meet(a, Limits()) == meet(a)


@given(layers, layers, layers)
def test_a_stricter_layer_makes_a_stricter_meet(a, b, c):
    """If a is at least as strict as b, so are their meets with anything."""
    stricter = meet(a, b)
    assert is_at_least_as_strict(stricter, b)
    assert is_at_least_as_strict(meet(stricter, c), meet(b, c))


def is_no_looser(a: Limits, b: Limits) -> bool:
    """Field by field, by hand: a allows nothing that b forbids."""
    none = 10**9

    def cap(value: int | None) -> int:
        return none if value is None else value

    def cell(limits: Limits, counter: str, name: str) -> int:
        return cap(getattr(limits.windows.get(counter, Windows()), name))

    table = [(c, n) for c in COUNTERS for n in ("last_20", "session", "rolling_24h", "rolling_7d")]
    sets = ("blocked_tiers", "blocked_topics", "blocked_families", "blocked_creators", "blocked_words", "night")
    return (
        all(cell(a, c, n) <= cell(b, c, n) for c, n in table)
        and all(a.gaps.get(c, 0) >= b.gaps.get(c, 0) for c in COUNTERS)
        and cap(a.creator_last_20) <= cap(b.creator_last_20)
        and cap(a.daily_minutes) <= cap(b.daily_minutes)
        and a.supportive_floor >= b.supportive_floor
        and a.local_floor >= b.local_floor
        and all(getattr(a, name) >= getattr(b, name) for name in sets)
        and a.labelled_only >= b.labelled_only
        and a.non_personalised >= b.non_personalised
    )


@given(layers, layers)
def test_no_layer_can_loosen_what_another_one_set(base, experiment):
    met = meet(base, experiment)
    assert is_no_looser(met, base)
    assert is_no_looser(met, experiment)
    assert not changed(met, meet(met, base))


@given(layers, layers)
def test_strictness_is_what_the_hand_made_comparison_says(a, b):
    assert is_at_least_as_strict(a, b) == is_no_looser(a, b)


def test_every_field_has_a_direction_and_a_path():
    fields = {field.name for field in dataclasses.fields(Limits)}
    assert set(DIRECTIONS) == fields
    assert set(PATHS) == fields - {"windows", "gaps"}
    assert set(DIRECTIONS.values()) == {"lower", "higher", "union", "interval_union", "true_is_safe"}


@pytest.mark.parametrize(("a", "b", "low"), [(1, 2, 1), (None, 2, 2), (0, None, 0), (None, None, None)])
def test_no_cap_is_higher_than_any_cap(a, b, low):
    assert lower(a, b) == lower(b, a) == low


@pytest.mark.parametrize(
    ("cap", "half"), [(None, None), (0, 0), (1, 1), (2, 1), (3, 2), (6, 3), (7, 4), (21, 11), (100, 50)]
)
def test_a_family_may_fill_half_of_a_cap_rounded_up(cap, half):
    assert family_cap(cap) == half


@pytest.mark.parametrize("bad", [-1, MAX_CAP + 1, 2.0, math.nan, "3", True])
def test_a_cap_is_a_whole_number_from_0_to_100(bad):
    with pytest.raises(ValueError, match=r"rolling_24h: found .*, expected a whole number from 0 to 100"):
        Windows(rolling_24h=bad)


@pytest.mark.parametrize("name", ["supportive_floor", "local_floor"])
@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, math.inf])
def test_a_floor_is_a_share(name, bad):
    with pytest.raises(ValueError, match=f"{name}: found .*, expected a share from 0 to 1"):
        Limits(**{name: bad})


@pytest.mark.parametrize("bad", [-1, 50, 10**9])
def test_a_gap_is_no_longer_than_what_the_ledger_remembers(bad):
    with pytest.raises(ValueError, match=r"gaps\.R2: found .*, expected 0 to 49"):
        Limits(gaps={"R2": bad})


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(60, 63)], {60, 61, 62}),
        ([(1438, 2)], {1438, 1439, 0, 1}),
        ([(0, 2), (1, 3)], {0, 1, 2}),
        ([], set()),
    ],
)
def test_intervals_become_minutes_and_may_run_over_midnight(intervals, expected):
    assert minutes(intervals) == expected


def test_an_interval_with_equal_ends_is_the_whole_day():
    assert len(minutes([(600, 600)])) == 1440


def test_paths_are_spelled_as_experiments_spell_them():
    limits = Limits(windows={"R2": Windows(rolling_24h=6)}, gaps={"R2": 6}, local_floor=0.3, labelled_only=True)
    assert flatten(limits) == {
        "windows.R2.rolling_24h": 6,
        "gaps.R2": 6,
        "locality.floor": 0.3,
        "labelled_only": True,
    }


def test_what_changed_names_path_before_and_after():
    before = Limits(windows={"R2": Windows(rolling_24h=6, session=3)}, creator_last_20=2)
    after = Limits(windows={"R2": Windows(rolling_24h=4, session=3)}, supportive_floor=0.4)
    assert changed(before, after) == {
        "creators.last_20": (2, None),
        "supportive.floor": (None, 0.4),
        "windows.R2.rolling_24h": (6, 4),
    }


@given(layers, layers)
def test_nothing_changed_means_equal(a, b):
    assert (changed(a, b) == {}) == (meet(a) == meet(b))


@given(seed=st.integers(0, 10_000), experiment=layers)
def test_a_page_that_an_experiment_shaped_would_have_been_allowed_without_it(
    somebody, make_candidates, policy, seed, experiment
):
    base, person = policy.limits["18+", 0, False], somebody()
    person.wait(0)
    candidates = make_candidates(np.random.default_rng(seed), 40)
    chosen = person.page(candidates, meet(base, experiment), 10)
    assert violations(person.ledger, delivered(candidates, chosen.rows, person.at), base, at=person.at) == ()


@given(st.frozensets(st.integers(0, 1439)))
def test_spans_are_the_inverse_of_minutes(minutes_of_day):
    assert minutes(spans_of(minutes_of_day)) == minutes_of_day
    assert len(spans_of(minutes_of_day)) <= len(minutes_of_day)
