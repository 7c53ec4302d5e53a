"""Laws of what predicted labels do to groups of creators: false raises, and supportive items that are lost or found."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recsys.vocabulary import TIERS
from training.labels.groups import MIN_GROUP_ITEMS, group_rows, sizes_of_creators


def table(rows):
    """Items from their tier, topics, predicted tier and predicted topics."""
    return pl.DataFrame(
        rows,
        schema={
            "risk_tier": pl.String, "topics": pl.List(pl.String), "predicted_tier": pl.String,
            "predicted_topics": pl.List(pl.String),
        },
        orient="row",
    )  # fmt: skip


def test_by_hand():
    rows = [
        ("R0", ["S3"], "R2", ["S3"]),  # a supportive item that is raised: neither stays nor is recognised
        ("R0", ["S3"], "R0", ["S1"]),
        ("R0", ["S3"], None, []),
        ("R0", ["S11"], None, None),  # no supportive topic
        ("R2", ["S3"], "R2", ["S3"]),  # right, and no R0
        ("R2", None, "R3", None),
    ]
    [row] = group_rows(table(rows), {})
    assert (row["by"], row["n"], row["n_raised"], row["raised"]) == ("all", 6, 2, 1 / 3)
    assert (row["n_supportive"], row["stay"], row["recall"]) == (3, 2 / 3, 1 / 3)
    assert row["raised_low"] < 1 / 3 < row["raised_high"]


def test_a_group_needs_enough_items_for_a_row_and_the_unknown_are_a_group():
    n = MIN_GROUP_ITEMS
    items = table([("R0", ["S3"], None, None)] * (2 * n + 1))
    dialects = ["ary"] * n + ["arz"] * (n - 1) + [None] * 2
    sizes = [None] * (2 * n + 1)
    names = [(row["by"], row["group"], row["n"]) for row in group_rows(items, {"dialect": dialects, "size": sizes})]
    assert names == [("all", "all", 2 * n + 1), ("dialect", "ary", n), ("size", "unknown", 2 * n + 1)]


def test_without_labelled_items_there_are_no_rows():
    assert group_rows(table([]), {"dialect": []}) == []


@given(st.lists(st.tuples(st.sampled_from(TIERS), st.sampled_from([*TIERS, None]), st.booleans()), min_size=1))
def test_groups_share_out_what_all_have(drawn):
    items = table([(tier, ["S3"], predicted, ["S3"]) for tier, predicted, _ in drawn] * MIN_GROUP_ITEMS)
    groups = ["one" if is_one else None for *_, is_one in drawn] * MIN_GROUP_ITEMS
    whole, *parts = group_rows(items, {"dialect": groups})
    assert sum(part["n"] for part in parts) == whole["n"]
    assert sum(part["n_raised"] for part in parts) == whole["n_raised"]
    assert sum(part["n_supportive"] for part in parts) == whole["n_supportive"]


def test_the_size_of_a_creator_is_that_of_reports():
    items = pl.DataFrame({"creator_id": ["a", "b", "c", "d"]})
    creators = pl.DataFrame({"creator_id": ["a", "b", "c"], "followers": [999, 100_000, None]})
    assert sizes_of_creators(items, creators) == ["0 to 999 followers", "100,000 followers and more", None, None]
