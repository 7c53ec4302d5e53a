"""What was seen does not come again for 30 days, whoever delivered it; at most the newest 2,000 are remembered."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import DAY
from recsys.user import seen as seen_module
from recsys.user.seen import SeenFold, add_delivered, add_reported, of_clusters, seen_since
from recsys.user.state import MAX_SEEN, Seen

AT, DAYS = 1_000 * DAY, 30
steps = st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 50), max_size=5), st.integers(0, 20)), max_size=20)


@given(steps)
def test_seen_is_what_was_delivered_or_reported_in_the_last_30_days(steps):
    seen, at, delivered, reported = Seen(), AT, [], []
    for is_delivered, item_nos, days in steps:
        at += days * DAY
        if is_delivered:
            seen = add_delivered(seen, item_nos, at, DAYS)
            delivered += [(item_no, at) for item_no in item_nos]
        else:
            seen = add_reported(seen, item_nos, at, at, DAYS)
            reported += [(item_no, at) for item_no in item_nos]
    since = at - DAYS * DAY
    assert set(seen_since(seen, since)) == {item_no for item_no, when in delivered + reported if when >= since}
    for item_no in range(1, 51):
        mine = [when for known, when in delivered if known == item_no and when >= since]
        assert SeenFold(seen).delivered_at(item_no) == max(mine, default=0)


@given(steps, st.lists(st.integers(1, 50), max_size=5), st.integers(0, 40))
def test_a_page_that_pushes_nothing_out_is_added_as_any_other(steps, page, days):
    seen, at = Seen(log_version="v"), AT
    for is_delivered, item_nos, later in steps:
        at += later * DAY
        if is_delivered:
            seen = add_delivered(seen, item_nos, at, DAYS)
        else:
            seen = add_reported(seen, item_nos, at, at, DAYS)
    at += days * DAY
    before = [pair for pair in seen_module._delivered(seen) if pair[0] not in page]
    whole = [*before, *((item_no, at) for item_no in page)]
    assert add_delivered(seen, page, at, DAYS) == seen_module._seen(whole, seen_module._reported(seen), seen, at, DAYS)


@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_at_most_the_newest_2000_are_remembered(n_delivered, n_reported):
    seen = add_reported(Seen(), range(n_reported), AT - DAY, AT - DAY, DAYS)
    seen = add_delivered(seen, range(n_delivered), AT, DAYS)
    assert len({*seen.item_nos, *seen.reported}) == min(MAX_SEEN, max(n_reported, n_delivered))
    assert len(seen.item_nos) == min(MAX_SEEN, n_delivered)  # they are the newest


@given(st.integers(1, 40), st.integers(40, 60))
def test_what_was_delivered_and_reported_takes_one_place(n_pages, size):
    """Nearly everything that is delivered is reported as well: the memory is of 2,000 items, and not of 1,000."""
    seen = Seen()
    for page in range(n_pages):
        items = range(page * size, (page + 1) * size)
        seen = add_delivered(seen, items, AT + 2 * page, DAYS)
        seen = add_reported(seen, items, AT + 2 * page + 1, AT + 2 * page + 1, DAYS)
    n = n_pages * size
    assert {*range(max(0, n - MAX_SEEN), n)} == {*seen_since(seen, AT)}


@given(st.lists(st.integers(0, 2_499), max_size=60))
def test_late_reports_of_old_deliveries_push_out_none_of_the_last_2000(reported):
    """A telephone that was offline reports what was delivered long ago: the order of deliveries stays."""
    seen = Seen()
    for page in range(50):
        items = range(page * 50, (page + 1) * 50)
        seen = add_delivered(seen, items, AT + page, DAYS)
        late = [item_no for item_no in reported if items.stop - MAX_SEEN <= item_no < items.stop]
        seen = add_reported(seen, late, AT + page, AT + page, DAYS)
    assert {*range(500, 2_500)} == {*seen_since(seen, AT - DAYS * DAY)}


def test_an_item_that_is_searched_for_again_and_again_takes_one_place():
    seen = add_delivered(Seen(), [7, 8], AT, DAYS)
    for n in range(1, 5):
        seen = add_delivered(seen, [7], AT + n, DAYS)
    assert (seen.item_nos, seen.at) == ((8, 7), (AT, AT + 4))


def test_an_old_report_is_not_remembered_and_a_newer_one_lasts_longer():
    assert add_reported(Seen(), [1], AT - 31 * DAY, AT, DAYS).reported == ()
    twice = add_reported(add_reported(Seen(), [1], AT - 20 * DAY, AT, DAYS), [1], AT - 5 * DAY, AT, DAYS)
    assert (twice.reported, twice.reported_at) == ((1,), (AT - 5 * DAY,))


def test_what_was_seen_is_forgotten_after_30_days():
    seen = add_delivered(Seen(), [1, 2], AT, 30)
    assert add_delivered(seen, [3], AT + 30 * DAY, 30).item_nos == (1, 2, 3)
    assert add_delivered(seen, [3], AT + 30 * DAY + 1, 30).item_nos == (3,)


def test_at_most_2000_items_are_remembered_the_newest_ones():
    seen = add_delivered(add_delivered(Seen(), range(1_990), AT, 30), range(5_000, 5_020), AT + 1, 30)
    assert len(seen.item_nos) == len(seen.at) == MAX_SEEN
    assert seen.item_nos[0] == 10
    assert seen.item_nos[-1] == 5_019


def test_a_seen_cluster_is_every_item_that_was_in_it_and_at_most_the_newest_2000():
    seen = add_reported(add_delivered(Seen(), [3, 9], AT, DAYS), [5], AT + 1, AT + 1, DAYS)
    assert of_clusters(seen, {3: [4, 3], 5: [6]}) == Seen(
        item_nos=(3, 4, 9), at=(AT, AT, AT), reported=(5, 6), reported_at=(AT + 1, AT + 1)
    )
    many = of_clusters(add_delivered(Seen(), range(1_900), AT, DAYS), {n: [n, n + 10_000] for n in range(1_900)})
    assert len(many.item_nos) == MAX_SEEN


SMALL = 6  # items remembered, so that the limit is met


@settings(max_examples=300, deadline=None)
@given(
    delivered=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), max_size=8, unique_by=lambda pair: pair[0]),
    before=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 4)), max_size=6),
    after=st.lists(st.tuples(st.integers(1, 12), st.integers(-1, 34)), max_size=25),
)
def test_a_fold_is_what_one_report_after_the_other_is(delivered, before, after):
    """Ties, returns of what was forgotten, and days so far apart that all of it is too old."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_module, "MAX_SEEN", SMALL)
        pairs = sorted(delivered, key=lambda pair: pair[1])
        seen = Seen(item_nos=tuple(n for n, _ in pairs), at=tuple(AT + day * DAY for _, day in pairs))
        for item_no, day in before:
            seen = add_reported(seen, [item_no], AT + day * DAY, AT + day * DAY, DAYS)
        fold = SeenFold(seen)
        for item_no, day in after:
            reported_at, at = AT + day * DAY, AT + abs(day) * DAY
            fold.add_reported(item_no, reported_at, at, DAYS)
            seen = add_reported(seen, [item_no], reported_at, at, DAYS)
            assert fold.result() == seen
            known = dict(zip(seen.item_nos, seen.at, strict=True))
            assert [fold.delivered_at(n) for n in range(13)] == [known.get(n, 0) for n in range(13)]
