"""Deliveries and ledgers come back as they were, also those of versions before."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from recsys.user.packed import PackedLedger, pack_ledger, pack_page, unpack_ledger, unpack_page
from recsys.user.state import Delivery, Ledger, Span

TIMES = st.integers(0, 2**42)
DELIVERIES = st.builds(
    Delivery,
    at=TIMES, item_no=st.integers(0, 2**31 - 1), unused_no=st.integers(0, 10**6), creator_no=st.integers(0, 2**32 - 1),
    tier=st.integers(0, 4), family=st.integers(-1, 4), is_s4=st.booleans(), is_supportive=st.booleans(),
    is_local=st.booleans(), topics=st.integers(0, 4_095), is_open=st.booleans(), is_new_creator=st.booleans(),
)  # fmt: skip
PAGES = st.lists(DELIVERIES, max_size=50).map(tuple)
LEDGERS = st.builds(
    Ledger,
    last=PAGES,
    capped=st.dictionaries(st.sampled_from(["R1", "R2", "S4"]), st.lists(TIMES, max_size=9).map(tuple)),
    n_delivered=st.integers(0, 10**6), session_started_at=TIMES, active_at=TIMES,
    active=st.lists(st.builds(Span, start=TIMES, end=TIMES), max_size=4).map(tuple),
    pause_answered=st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple),
    stopped=st.tuples(st.text(), TIMES),
)  # fmt: skip


@given(page=PAGES)
def test_a_page_comes_back_from_both_formats(page):
    assert unpack_page(pack_page(page)) == page
    assert unpack_page(msgspec.msgpack.encode(page)) == page


@given(ledger=LEDGERS)
def test_a_ledger_comes_back(ledger):
    packed = msgspec.msgpack.encode(pack_ledger(ledger))
    assert unpack_ledger(msgspec.msgpack.decode(packed, type=PackedLedger)) == ledger


def test_a_page_of_20_is_small():
    """551 bytes of msgpack before; numbers of items and creators are most of it."""
    page = tuple(
        Delivery(
            at=1_795_199_405_000, item_no=n * 977 % 20_000, creator_no=(n * 2_654_435_761) % 2**32, topics=1 << n % 9
        )
        for n in range(20)
    )
    assert len(pack_page(page)) < 250
