"""Laws of what passes between copies: tiers, families and ages. Each table is worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.catalogue.copies import CopyMemory, copies_in
from recsys.catalogue.creators import Creator
from recsys.catalogue.items import apply_delta, empty_items, with_creator_changes
from recsys.columns import REVIEWED
from recsys.stores.protocols import CatalogueDelta, HashLabel, ItemRow, StatedWording
from recsys.text.clusters import CopyKeys, hash_key
from recsys.vocabulary import FAMILIES

CALM = {"risk_tier": "R0", "risk_source": "human"}
HEAVY = {"risk_tier": "R2", "risk_family": "despair", "risk_source": "human"}
NEVER = {"risk_tier": "R3", "risk_source": "platform"}
FILE = {"perceptual_hash": "0123456789abcdef"}
OTHER_FILE = {"perceptual_hash": "fedcba9876543210"}
LONG = {"text_id": "eight words or more", "n_words": 8, "duration_s": 30.0}
SHORT = {"text_id": "fyp", "n_words": 1}


def row(n: int, creator: str = "", revision: int = 1, **fields: object) -> ItemRow:
    """Item n, by a creator of its own unless said otherwise."""
    base = {"item_id": f"v{n}", "creator_id": creator or f"c{n}", "published_at": 0, "title": ""}
    wording = StatedWording(fields.pop("text_id", None), fields.pop("n_words", 0), revision)
    return ItemRow(item_no=n, revision=revision, peak_tier=0, is_edited=True, fields=base | fields, wordings=(wording,))


@pytest.fixture(scope="module")
def table(market):
    """`table(rows, on=items)`: the next table after one delta."""

    def build(*rows: ItemRow, on=None, newest_raise: int = 0):
        items = on or empty_items()
        delta = CatalogueDelta(revision=items.revision + 1, newest_raise=newest_raise, rows=rows)
        return apply_delta(items, delta, market=market, creators={}, rows={})

    return build


def tiers(items) -> list[int]:
    return items.tier[1:].tolist()


def test_a_label_passes_through_the_hash_both_ways_with_its_family(table):
    items = table(row(1, **FILE, **CALM), row(2, **FILE, **HEAVY), row(3, **FILE, **CALM), row(4, **CALM))
    assert tiers(items) == items.minor_tier[1:].tolist() == [2, 2, 2, 0]
    assert items.family[1:].tolist() == [FAMILIES.index("despair")] * 3 + [-1]
    assert items.own_tier[1:].tolist() == [0, 2, 0, 0]


@pytest.mark.parametrize(
    "label",
    [
        {"risk_tier": "R3", "risk_source": "model", "risk_confidence": 1.0},
        {"risk_tier": "R3", "risk_source": "assumed"},
        {"risk_tier": "R3"},
        {**CALM, "predicted_tier": "R3", "label_confidence": 1.0},
        {"predicted_tier": "R3", "label_confidence": 1.0},
        {},
    ],
)
def test_through_a_hash_passes_no_label_but_that_of_a_person_a_partner_or_the_platform(table, label):
    assert tiers(table(row(1, **FILE, **CALM), row(2, **FILE, **label)))[0] == 0


@pytest.mark.parametrize("source", ["human", "partner", "platform"])
def test_a_doubtful_label_passes_doubtful(table, source):
    label = {"risk_tier": "R1", "risk_source": source, "risk_confidence": 0.5}
    items = table(row(1, **FILE, **CALM), row(2, **FILE, **label))
    assert (items.tier[1], items.minor_tier[1]) == (1, 2)


def test_between_creators_words_bind_the_later_arrival_only(table):
    calm_first = table(row(1, **LONG, **CALM), row(2, **LONG, **HEAVY))
    assert tiers(calm_first) == [0, 2]
    heavy_first = table(row(1, **LONG, **HEAVY), row(2, **LONG, **CALM))
    assert tiers(heavy_first) == [2, 2]


def test_one_creators_equal_words_bind_both_ways(table):
    items = table(row(1, "c", **LONG, **CALM), row(2, "c", **LONG | {"duration_s": 99.0}, **HEAVY))
    assert tiers(items) == [2, 2]
    assert tiers(table(row(1, "c", **SHORT, **CALM), row(2, "c", **SHORT, **HEAVY))) == [0, 2]
    same = {**SHORT, "duration_s": 12.0}
    assert tiers(table(row(1, "c", **same, **CALM), row(2, "c", **same, **HEAVY))) == [2, 2]


def test_unlike_hashes_or_durations_of_two_creators_are_two_videos(table):
    assert tiers(table(row(1, **LONG, **FILE, **HEAVY), row(2, **LONG, **OTHER_FILE, **CALM))) == [2, 0]
    assert tiers(table(row(1, **LONG, **HEAVY), row(2, **LONG | {"duration_s": 31.0}, **CALM))) == [2, 0]
    alike = {**SHORT, "duration_s": 9.0}
    assert tiers(table(row(1, **alike, **HEAVY), row(2, **alike, **CALM))) == [2, 0]


def test_what_is_hidden_raises_nobody_through_words_and_everybody_through_the_hash(table):
    shown = table(row(1, **LONG, **FILE, **NEVER), row(2, **LONG, **CALM), row(3, **FILE, **CALM))
    assert tiers(shown) == [3, 3, 3]
    down = table(row(1, is_hidden=True, **LONG, **FILE, **NEVER), on=shown)
    assert tiers(down) == [3, 0, 3]


def test_a_hidden_creators_items_raise_nobody_through_words_until_the_creator_is_back(table):
    items = table(row(1, **LONG, **NEVER), row(2, **LONG, **CALM))
    gone = with_creator_changes(items, [Creator(creator_id="c1", is_hidden=True)], items.revision + 1)
    assert (tiers(items), tiers(gone)) == ([3, 3], [3, 0])
    back = with_creator_changes(gone, [Creator(creator_id="c1")], gone.revision + 1)
    assert tiers(back) == [3, 3] and back.newest_raise == back.revision


def test_a_label_stays_with_a_hash_that_its_item_has_no_more(table):
    key = hash_key(FILE["perceptual_hash"], None)
    former = replace(row(1, **OTHER_FILE, **CALM), hash_labels=(HashLabel(key, "R3", None, "human", None),))
    items = table(former, row(2, **FILE, **CALM), row(3, **OTHER_FILE, **CALM))
    assert tiers(items) == [0, 3, 0]
    assert tiers(table(row(1, **OTHER_FILE, **CALM), on=items)) == [0, 0, 0]


def test_what_a_person_reviewed_counts_what_they_said(table):
    reviewed = {**CALM, "label_version": REVIEWED}
    for evidence in (FILE, {**LONG, "creator": "c"}, LONG):
        items = table(row(1, **evidence, **NEVER), row(2, **evidence, **reviewed))
        assert tiers(items) == [3, 0]
    waiting = {**reviewed, "label_waits": True}  # its words were edited since
    assert tiers(table(row(1, **FILE, **NEVER), row(2, **FILE, **waiting))) == [3, 3]
    another = {**reviewed, "risk_source": "platform"}  # the platform labelled it since
    assert tiers(table(row(1, **FILE, **NEVER), row(2, **FILE, **another))) == [3, 3]


def test_an_item_is_joined_by_former_words_as_long_as_it_stands_by_them(table):
    heavy = row(1, **LONG, **HEAVY)
    edited = row(2, revision=2, **LONG | {"text_id": "other words, eight at least"}, **CALM)
    for is_joined, expected in ((True, 2), (False, 0)):
        former = StatedWording(LONG["text_id"], 8, 1, is_joined)
        items = table(heavy, replace(edited, wordings=(*edited.wordings, former)))
        assert tiers(items) == [2, expected]


def test_who_says_so_first_is_the_original_whatever_the_number(table):
    """An old upload whose caption was edited into somebody's words is no earlier than these."""
    items = table(row(1, revision=5, **LONG, **HEAVY), row(2, revision=4, **LONG, **CALM))
    assert tiers(items) == [2, 0]


def test_ages_pass_to_later_copies_of_a_hash_and_to_who_is_bound_by_words(table):
    items = table(row(1, **FILE, **CALM), row(2, min_age=18, **FILE, **CALM), row(3, **FILE, **CALM))
    assert items.min_age[1:].tolist() == [0, 18, 18]
    words = table(row(1, **LONG, **CALM), row(2, min_age=16, **LONG, **CALM), row(3, **LONG, **CALM))
    assert words.min_age[1:].tolist() == [0, 16, 16]
    own = table(row(1, "c", **LONG, **CALM), row(2, "c", min_age=16, **LONG, **CALM))
    assert own.min_age[1:].tolist() == [16, 16]


def test_a_copy_that_nobody_labelled_raises_nobody(table):
    items = table(row(1, "c", **LONG, **FILE, **CALM), row(2, "c", **LONG, **FILE))
    assert tiers(items) == [0, 2] and items.family[2] == FAMILIES.index("unlabelled")


def test_an_item_that_counts_higher_by_its_copies_is_a_raise_and_a_new_one_is_none(table):
    first = table(row(1, **FILE, **CALM), row(2, **CALM))
    assert first.newest_raise == first.revision  # of what was counted before nobody knows
    alone = table(row(3, **HEAVY), on=first)
    assert alone.newest_raise == first.newest_raise
    raised = table(row(4, **FILE, **HEAVY), on=alone)
    assert raised.newest_raise == raised.revision and tiers(raised) == [2, 0, 2, 2]
    lowered = table(row(4, **FILE, **CALM), on=raised)
    assert lowered.newest_raise == raised.revision and tiers(lowered) == [0, 0, 2, 0]
    again = table(row(2, **FILE, **CALM), row(4, **FILE, **HEAVY), on=lowered)
    assert again.newest_raise == again.revision and tiers(again) == [2, 2, 2, 2]


def test_in_whichever_order_former_wordings_came_the_joins_are_the_same() -> None:
    n = 4
    arrays = {
        name: np.zeros(n, np.uint64) for name in ("hash_key", "creator_text_key", "duration_text_key")
    } | {"worded_since": np.arange(n)}  # fmt: skip
    memory = {
        row: CopyMemory(wordings=((row, CopyKeys(0, 7, 8)), (row + 1, CopyKeys(0, 9, 10))), labels=())
        for row in (3, 0, 2)
    }
    one, other = (copies_in(arrays, dict(order)) for order in (memory.items(), sorted(memory.items())))
    for name in ("hash_no", "owner", "creator_text_no", "duration_text_no", "arrival"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
