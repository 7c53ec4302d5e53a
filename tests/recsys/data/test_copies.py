"""Laws of near-duplicates in a table of items: the rules of the service, for data files and artifacts."""

import numpy as np
import polars as pl
import pytest

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.data.copies import copies_of, tiers_of_copies, with_wordings
from recsys.data.impressions import is_risky
from recsys.text.clusters import wording_of
from recsys.text.duplicates import Join, joins_of

EIGHT = "breathe with me and count to eight now"
HASH = "0123456789abcdef"
USUAL = {
    "creator_id": "a", "published_at": 0, "title": EIGHT, "text": None, "duration_s": None, "perceptual_hash": None,
    "risk_tier": "R0", "risk_source": "human", "is_hidden": None,
}  # fmt: skip
TYPES = {"text": pl.String, "duration_s": pl.Float64, "perceptual_hash": pl.String, "is_hidden": pl.Boolean,
         "risk_tier": pl.String, "risk_source": pl.String}  # fmt: skip


def table(*rows: dict[str, object]) -> pl.DataFrame:
    return with_wordings(pl.DataFrame([USUAL | row for row in rows], schema_overrides=TYPES))


def tiers(items: pl.DataFrame, own: list[int]) -> list[int]:
    return tiers_of_copies(items, copies_of(items), np.array(own, np.int64)).tolist()


def test_every_row_gets_its_wording():
    items = table({"text": "caption"}, {"title": "", "text": "🌊"})
    assert items.select("text_id", "n_words").rows() == [wording_of(EIGHT, "caption"), (None, 0)]


def test_who_was_published_first_is_the_original_and_at_one_instant_the_first_row():
    later_first = table({"published_at": 9, "duration_s": 5.0}, {"creator_id": "b", "duration_s": 5.0})
    assert [joins_of(copies_of(later_first), row) for row in (0, 1)] == [(Join(1, "duration_text"),), ()]
    together = table({"duration_s": 5.0}, {"creator_id": "b", "duration_s": 5.0})
    assert [joins_of(copies_of(together), row) for row in (0, 1)] == [(), (Join(0, "duration_text"),)]


@pytest.mark.parametrize(("source", "passes"), [("human", True), ("partner", True), ("platform", True),
                                                ("model", False), ("assumed", False), (None, False)])  # fmt: skip
def test_only_labels_of_a_person_a_partner_or_the_platform_pass_through_a_hash(source, passes):
    file = {"perceptual_hash": HASH}
    items = table({**file, "title": "x"}, {**file, "title": "y", "creator_id": "b", "risk_tier": "R3",
                                           "risk_source": source, "is_hidden": True})  # fmt: skip
    assert tiers(items, [0, 3])[0] == 3 * passes


def test_through_words_passes_what_an_item_counts_unless_it_is_hidden_or_unlabelled():
    for change, expected in (({}, 2), ({"is_hidden": True}, 0), ({"risk_tier": None}, 0)):
        items = table({"risk_tier": "R0", **change}, {})
        assert tiers(items, [2, 0])[1] == expected


def test_nothing_is_learned_from_a_copy_of_risk_and_all_from_what_was_copied():
    same = {"duration_s": 5.0}
    items = table(same, {**same, "creator_id": "b", "published_at": 1, "risk_tier": "R2"},
                  {**same, "creator_id": "c", "published_at": 2})  # fmt: skip
    assert is_risky(items).tolist() == [False, True, True]
    assert is_risky(items.drop("text_id")).tolist() == [False, True, False]


def test_re_uploads_of_the_demo_world_are_found_by_the_platforms_hash():
    world = generate(WorldParams(n_events=1_000))
    copies, group = copies_of(with_wordings(world.items)), world.truth.items.group
    joins = {row: joins_of(copies, row) for row in range(len(group))}
    joined = {row: {join.item_no for join in found} for row, found in joins.items()}
    pairs = [(row, int(group[row])) for row in range(len(group)) if group[row] != row]
    assert np.mean([original in joined[row] for row, original in pairs]) > 0.75
    wrong = [join.evidence for row, found in joins.items() for join in found if group[join.item_no] != group[row]]
    assert "hash" not in wrong and len(wrong) < 10  # a few hundred phrases make all of its titles and captions
