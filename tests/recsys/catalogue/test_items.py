import pytest

from recsys.catalogue.creators import Creator, index_creators
from recsys.catalogue.items import apply_delta, empty_items, topic_bits, topic_names
from recsys.stores.protocols import CatalogueDelta, ItemRow, StatedWording
from recsys.vocabulary import FAMILIES

UNLABELLED = FAMILIES.index("unlabelled")
LABEL = {"risk_tier": "R0", "risk_source": "human"}
CREATORS = {
    "verified-06": Creator(creator_id="verified-06", country="MA", region="MA-06", is_verified=True),
    "declared-06": Creator(creator_id="declared-06", country="MA", region="MA-06"),
    "declared-07": Creator(creator_id="declared-07", country="MA", region="MA-07"),
    "declared-01": Creator(creator_id="declared-01", country="MA", region="MA-01"),
    "abroad": Creator(creator_id="abroad", country="FR"),
    "egypt": Creator(creator_id="egypt", country="EG", languages=("ar",)),
    "nowhere": Creator(creator_id="nowhere"),
}


def row(n: int, *, peak: int = 0, revision: int = 1, **fields: object) -> ItemRow:
    base = {"item_id": f"v{n}", "creator_id": "nowhere", "published_at": 0, "title": f"Title {n}"}
    return ItemRow(
        item_no=n, revision=revision, peak_tier=peak, is_edited=False, fields=base | fields,
        wordings=(StatedWording(f"Title {n}", 2, revision),),
    )  # fmt: skip


@pytest.fixture(scope="module")
def table(market):
    """`table(rows, items)` applies one delta."""

    def build(*rows: ItemRow, on=None, revision: int = 1, newest_raise: int = 0):
        delta = CatalogueDelta(revision=revision, newest_raise=newest_raise, rows=rows)
        return apply_delta(on or empty_items(), delta, market=market, creators=CREATORS, rows={"v1": 7})

    return build


def label(items, n: int = 1) -> tuple[int, int, int, bool, bool]:
    """Tier, tier for minors, family, is_labelled, is_reviewed."""
    columns = (items.tier, items.minor_tier, items.family, items.is_labelled, items.is_reviewed)
    tier, minor, family, labelled, reviewed = (column[n] for column in columns)
    return int(tier), int(minor), int(family), bool(labelled), bool(reviewed)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"risk_tier": "R0", "risk_source": "human"}, (0, 0, -1, True, True)),
        ({"risk_tier": "R0", "risk_source": "partner"}, (0, 0, -1, True, True)),
        ({"risk_tier": "R0", "risk_source": "model"}, (0, 1, -1, True, False)),  # no confidence: not sure
        ({"risk_tier": "R0", "risk_source": "model", "risk_confidence": 0.8}, (0, 0, -1, True, False)),
        ({"risk_tier": "R0", "risk_source": "human", "risk_confidence": 0.79}, (0, 1, -1, True, False)),
        ({"risk_tier": "R1", "risk_source": "model", "risk_confidence": 0.5}, (1, 2, -1, True, False)),
        ({"risk_tier": "R2", "risk_family": "body", "risk_source": "human"}, (2, 2, 1, True, True)),
        ({"risk_tier": "R2", "risk_family": "despair", "risk_source": "model"}, (2, 3, 0, True, False)),
        ({"risk_tier": "R4", "risk_source": "model"}, (4, 4, -1, True, False)),
        ({}, (2, 3, UNLABELLED, False, False)),
        ({"topics": ["S3"]}, (2, 3, UNLABELLED, False, False)),
        ({**LABEL, "topics": ["S11"]}, (1, 1, -1, True, True)),  # grief is R1 at least
        ({**LABEL, "risk_tier": "R2", "topics": ["S11"]}, (2, 2, -1, True, True)),
    ],
)
def test_a_label_is_read_on_the_safe_side(table, fields, expected):
    assert label(table(row(1, **fields))) == expected


def said(tier: str, confidence: float = 0.8, **more: object) -> dict[str, object]:
    """What the trained model adds to an item."""
    return {"predicted_tier": tier, "label_confidence": confidence, **more}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({**LABEL, **said("R2", predicted_family="body")}, (2, 2, 1, True, False)),
        ({**LABEL, **said("R2")}, (2, 2, UNLABELLED, True, False)),
        ({**LABEL, **said("R3")}, (3, 3, UNLABELLED, True, False)),
        ({**LABEL, **said("R3", 0.79)}, (0, 0, -1, True, True)),  # not sure
        ({**LABEL, "risk_tier": "R2", "risk_family": "despair", **said("R0", 1.0)}, (2, 2, 0, True, True)),
        ({**LABEL, "risk_confidence": 0.5, **said("R1")}, (1, 1, -1, True, False)),
        (said("R0", 1.0), (2, 3, UNLABELLED, False, False)),  # it labels nothing that nobody labelled
        (said("R3"), (3, 3, UNLABELLED, False, False)),
    ],
)
def test_the_model_may_raise_a_tier_and_neither_lower_one_nor_label_an_item(table, fields, expected):
    assert label(table(row(1, **fields))) == expected


def test_a_delta_makes_a_new_table_and_leaves_the_old_one_alone(table):
    old = table(row(1, **LABEL))
    new = table(row(1, is_hidden=True, **LABEL), row(4, **LABEL), on=old, revision=2, newest_raise=2)
    assert (len(old), len(new)) == (2, 5)
    assert (bool(old.is_hidden[1]), bool(new.is_hidden[1])) == (False, True)
    assert (old.revision, new.revision, new.newest_raise) == (1, 2, 2)
    assert new.exists.tolist() == [False, True, False, False, True]
    assert new.index == {"v1": 1, "v4": 4}
    assert (new.row[1], new.row[4]) == (7, -1)


def test_a_delta_without_rows_changes_the_revision_alone(table):
    old = table(row(1, **LABEL))
    assert table(on=old) is old
    assert table(on=old, revision=9).revision == 9


def test_a_peak_is_never_below_what_an_item_was_before(table):
    items = table(row(1, peak=3, **LABEL), row(2, peak=0, risk_tier="R2", risk_source="human"))
    assert items.peak_tier[1:].tolist() == [3, 2]


def test_texts_are_folded_for_muted_words(table):
    assert table(row(1, title="Burn-OUT", text="À MIDI", **LABEL)).texts[1] == "burn-out à midi"


def test_topics_are_bits_and_back():
    assert topic_bits(["S1", "S4", "S4", "S12"]) == 0b100000001001
    assert topic_names(0b100000001001) == ["S1", "S4", "S12"]


def test_a_creator_of_no_country_is_nowhere():
    rows = [{"creator_id": "a", "country": "ZZ"}, {"creator_id": "b", "country": "MA", "verified": True}]
    creators = index_creators(rows)
    assert (creators["a"].country, creators["b"].country, creators["b"].is_verified) == (None, "MA", True)
