"""The floors of a feed: what each run of 20 still needs, and which choices leave it feasible."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.safety.floors import BOTH, NO_DEFICIT, Floor, feasible, of_20

PLAIN, LOCAL, SUPPORTIVE = (False, False), (False, True), (True, False)
KINDS = frozenset({PLAIN, LOCAL, SUPPORTIVE, BOTH})


def deficits_of(**missing: int) -> list[int]:
    """The deficit of each run: `r3=2` is two in the run that ends three slots on."""
    deficits = [*NO_DEFICIT]
    for name, n in missing.items():
        deficits[int(name[1:])] = n
    return deficits


def can_fill(supportive: int, local: int, n_slots: int, n_both: int) -> bool:
    """Tries every way of filling the later slots."""
    return any(
        sum(kind[0] for kind in way) >= supportive and sum(kind[1] for kind in way) >= local
        for way in product(sorted(KINDS), repeat=n_slots)
        if way.count(BOTH) <= n_both
    )


@given(j=st.integers(0, 4), s=st.integers(0, 5), o=st.integers(0, 5), n_both=st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_a_choice_is_allowed_when_some_way_of_filling_the_later_slots_fills_every_deficit(j, s, o, n_both):
    kinds = KINDS if n_both else KINDS - {BOTH}
    fitting = {kind for kind in kinds if can_fill(max(0, s - kind[0]), max(0, o - kind[1]), j, n_both - (kind == BOTH))}
    allowed, infeasible = feasible(deficits_of(**{f"r{j}": s}), deficits_of(**{f"r{j}": o}), kinds, n_both)
    assert allowed == (fitting or kinds)
    assert infeasible == ([] if fitting else [j])


def test_an_infeasible_run_does_not_free_the_others():
    """Three missing in two slots is infeasible; two missing in the next two is not, and binds."""
    allowed, infeasible = feasible(deficits_of(r1=3, r2=3), NO_DEFICIT, KINDS, 9)
    assert allowed == {SUPPORTIVE, BOTH}
    assert infeasible == [1]


def test_deficits_are_those_of_complete_runs_only():
    """Two deliveries, the older a hit, 3 wanted: the first full run ends 17 slots on, the next is without the hit."""
    assert Floor("local", 3, [True, False]).deficits() == [0] * 17 + [2, 3, 3]
    assert Floor("local", 3, []).deficits() == [0] * 19 + [3]
    assert Floor("local", 0, [False] * 19).deficits() == [0] * 20


def test_a_full_history_has_deficits_by_where_its_hits_stand():
    """Hits 19 and 1 deliveries ago; 2 wanted. The older one leaves after this slot."""
    deficits = Floor("local", 2, [True, *[False] * 17, True]).deficits()
    assert deficits == [0] + [1] * 18 + [2]


@pytest.mark.parametrize(
    ("share", "count"), [(0.0, 0), (0.04, 0), (0.05, 1), (0.15, 3), (0.29, 5), (0.3, 6), (0.4, 8), (0.6, 12), (1.0, 20)]
)
def test_a_floor_promises_the_whole_part_of_20_shares(share, count):
    assert of_20(share) == count
