from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.safety.floors import BOTH, NOTHING_OWED, Floor, completable, of_20

PLAIN, LOCAL, SUPPORTIVE = (False, False), (False, True), (True, False)
KINDS = frozenset({PLAIN, LOCAL, SUPPORTIVE, BOTH})


def owing(**debts: int) -> list[int]:
    """What each run owes: `r3=2` is two in the run that ends three slots on."""
    owed = [*NOTHING_OWED]
    for name, debt in debts.items():
        owed[int(name[1:])] = debt
    return owed


def can_pay(supportive: int, local: int, n_slots: int, n_both: int) -> bool:
    """Tries every way of filling the later slots."""
    return any(
        sum(kind[0] for kind in way) >= supportive and sum(kind[1] for kind in way) >= local
        for way in product(sorted(KINDS), repeat=n_slots)
        if way.count(BOTH) <= n_both
    )


@given(j=st.integers(0, 4), s=st.integers(0, 5), o=st.integers(0, 5), n_both=st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_a_choice_is_allowed_when_some_way_of_filling_the_later_slots_pays_every_debt(j, s, o, n_both):
    kinds = KINDS if n_both else KINDS - {BOTH}
    fitting = {kind for kind in kinds if can_pay(max(0, s - kind[0]), max(0, o - kind[1]), j, n_both - (kind == BOTH))}
    good, lost = completable(owing(**{f"r{j}": s}), owing(**{f"r{j}": o}), kinds, n_both)
    assert good == (fitting or kinds)
    assert lost == ([] if fitting else [j])


def test_a_lost_run_does_not_free_the_others():
    """Three owed in two slots is lost; two owed in the next two is not, and binds."""
    good, lost = completable(owing(r1=3, r2=3), NOTHING_OWED, KINDS, 9)
    assert good == {SUPPORTIVE, BOTH}
    assert lost == [1]


def test_what_is_owed_counts_complete_runs_only():
    """Two deliveries, the older a hit, 3 wanted: the first full run ends 17 slots on, the next is without the hit."""
    assert Floor("local", 3, [True, False]).owed() == [0] * 17 + [2, 3, 3]
    assert Floor("local", 3, []).owed() == [0] * 19 + [3]
    assert Floor("local", 0, [False] * 19).owed() == [0] * 20


def test_a_full_history_owes_by_where_its_hits_stand():
    """Hits 19 and 1 deliveries ago; 2 wanted. The older one leaves after this slot."""
    owed = Floor("local", 2, [True, *[False] * 17, True]).owed()
    assert owed == [0] + [1] * 18 + [2]


@pytest.mark.parametrize(
    ("share", "count"), [(0.0, 0), (0.04, 0), (0.05, 1), (0.15, 3), (0.29, 5), (0.3, 6), (0.4, 8), (0.6, 12), (1.0, 20)]
)
def test_a_floor_promises_the_whole_part_of_20_shares(share, count):
    assert of_20(share) == count
