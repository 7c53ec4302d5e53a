"""Every vocabulary is one type and one tuple of the same words."""

from typing import get_args

import pytest

from recsys import vocabulary
from recsys.columns import TABLES

PAIRS = [
    (vocabulary.Tier, vocabulary.TIERS),
    (vocabulary.Family, vocabulary.FAMILIES),
    (vocabulary.Topic, vocabulary.TOPICS),
    (vocabulary.AgeBand, vocabulary.AGE_BANDS),
    (vocabulary.EffectiveBand, vocabulary.EFFECTIVE_BANDS),
    (vocabulary.EventKind, vocabulary.EVENT_KINDS),
    (vocabulary.PlaceSource, vocabulary.PLACE_SOURCES),
    (vocabulary.Surface, vocabulary.SURFACES),
]


@pytest.mark.parametrize(("kind", "words"), PAIRS)
def test_a_type_and_its_tuple_hold_the_same_words_once_each(kind: object, words: tuple[str, ...]) -> None:
    assert get_args(kind) == words
    assert len(set(words)) == len(words)


def test_positions_that_are_stored_never_change() -> None:
    """Ledgers hold the number of a tier and a family, bits of topics; artifacts hold the number of an event kind."""
    assert vocabulary.TIERS == ("R0", "R1", "R2", "R3", "R4")
    assert vocabulary.FAMILIES == ("despair", "body", "aggression", "self_diagnosis", "unlabelled")
    assert tuple(f"S{n}" for n in range(1, 13)) == vocabulary.TOPICS
    assert vocabulary.EVENT_KINDS == (
        "impression", "view", "rewatch", "complete", "like", "share", "comment", "save", "helped", "not_interested",
        "too_much", "report", "follow", "hide_creator", "search", "support_requested", "undo",
    )  # fmt: skip


def test_bands_stand_from_the_strictest_to_the_loosest() -> None:
    assert vocabulary.EFFECTIVE_BANDS == ("under_13", "13-15", "16-17", "18+")


def test_closed_columns_take_their_words_from_here() -> None:
    """A column never spells a vocabulary anew: the very tuple stands in the contract."""
    known = {id(value) for value in vars(vocabulary).values() if isinstance(value, tuple)}
    closed = [column for table in TABLES for column in table.columns if column.one_of is not None]
    assert closed and all(id(column.one_of) in known for column in closed)
