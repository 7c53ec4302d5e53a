"""The exact audit of the local floor against brute force, and the prefix test against its definition."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.services.floor_audit import ALPHA, RUN, audit, audit_all, below, is_fair, refused, runs
from recsys.services.floor_audit import _minima as minima

flags = st.lists(st.booleans(), max_size=70)


@given(hits=flags, wanted=st.integers(0, 20), first=st.integers(0, 80))
def test_the_count_is_that_of_looking_at_every_run(hits, wanted, first):
    ends = [end for end in range(len(hits)) if end >= RUN - 1 and end >= first]
    assert runs(len(hits), first) == len(ends)
    assert below(hits, wanted, first) == sum(sum(hits[end - RUN + 1 : end + 1]) < wanted for end in ends)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_the_chance_to_refuse_a_fair_ranking_is_that_of_all_rankings_together(share):
    least = minima(10, share, ALPHA)
    total = 0.0
    for hits in product([False, True], repeat=10):
        n = sum(hits)
        total += (not is_fair(hits, share)) * share**n * (1 - share) ** (10 - n)
    assert total == pytest.approx(refused(least, share))
    assert total <= ALPHA


def test_the_minima_of_a_prefix_are_those_of_the_published_table():
    """Zehlike et al. 2017, table 2: the least protected candidates for p = 0.5, without the correction, alpha 0.1."""
    from recsys.services.floor_audit import _quantiles

    assert _quantiles(12, 0.5, 0.1) == (0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4)


@given(hits=st.lists(st.booleans(), min_size=1, max_size=20), share=st.sampled_from([0.0, 0.15, 0.3, 0.5]))
def test_a_local_item_moved_up_never_makes_a_fair_ranking_unfair(hits, share):
    """The bug of a published implementation: whoever ranks high must not be punished for it."""
    if not is_fair(hits, share):
        return
    for place in range(1, len(hits)):
        if hits[place] and not hits[place - 1]:
            better = [*hits[: place - 1], True, False, *hits[place + 1 :]]
            assert is_fair(better, share)


def test_all_local_is_fair_and_none_is_not():
    assert is_fair([True] * 20, 0.3) and not is_fair([False] * 20, 0.3)
    assert is_fair([False] * 20, 0.0)


def test_over_the_records_of_a_person_every_run_is_audited_once(service, evening):
    service.is_adult("casa-adult")
    pages = [service.ask(size=size, at=evening + n) for n, size in enumerate((7, 20, 3, 15))]
    n = sum(len(page.items) for page in pages)
    found = audit_all(service.decisions())
    assert found.runs == n - RUN + 1 > 20
    assert found.below_supply == sum(found.reasons.values()) == 0
    assert found.pages == 2
    last = service.decisions()[-1]
    assert audit(msgspec.structs.replace(last, chosen=[])).runs == 0  # an empty page ends no run
    unlucky = msgspec.structs.replace(
        last, columns={**last.columns, "is_local": b"\0" * len(last.columns["is_local"])},
        ledger=msgspec.structs.replace(
            last.ledger, last=tuple(msgspec.structs.replace(d, is_local=False) for d in last.ledger.last)
        ),
    )  # fmt: skip
    assert audit(unlucky).below_supply == 15 and audit(unlucky).prefix_failures == 1
