"""What `Catalogue` promises: numbers given once, revisions, clusters, raises, and creators."""

import pytest

from recsys.errors import Conflict, DataError
from recsys.stores.protocols import CreatorChange, ItemChange

NOW = 1_780_000_000_000


def ids(store, revision):
    return [row.fields["item_id"] for row in store.catalogue.since(revision).rows]


def number(store, item_id):
    row = store.catalogue.get(item_id)
    assert row is not None
    return row.item_no


def cluster(store, item_id):
    row = store.catalogue.get(item_id)
    assert row is not None
    return row.cluster_no


def peak(store, item_id):
    row = store.catalogue.get(item_id)
    assert row is not None
    return row.peak_tier


def test_an_item_comes_back_as_it_was_put(store, make):
    revision = make.put(store, make.change("v1", "R1", title="قصة", published_at=NOW, text=None))
    row = store.catalogue.get("v1")
    assert row is not None
    assert row.fields == make.change("v1", "R1", title="قصة", published_at=NOW, text=None).fields
    assert (row.revision, row.peak_tier, row.is_edited) == (revision, 1, True)
    assert store.catalogue.get("v2") is None


def test_numbers_are_given_once(store, make):
    make.put(store, make.change("a"), make.change("b"))
    make.put(store, make.change("c"), make.change("a", "R1"))
    assert [(i, number(store, i)) for i in "abc"] == [("a", 1), ("b", 2), ("c", 3)]


def test_revisions_grow_with_every_change_and_only_then(store, make):
    first = make.put(store, make.change("a"))
    assert make.put(store, make.change("a")) == first
    assert make.put(store) == first
    second = make.put(store, make.change("a", "R1"))
    assert second > first > 0


def test_a_delta_holds_all_that_is_newer(store, make):
    first = make.put(store, make.change("a"), make.change("b"))
    second = make.put(store, make.change("b", "R1"), make.change("c"))
    assert ids(store, 0) == ["a", "b", "c"]
    assert ids(store, first) == ["b", "c"]
    assert ids(store, second) == []
    assert store.catalogue.since(second).revision == second


def test_an_empty_catalogue_is_a_delta_too(store):
    delta = store.catalogue.since(0)
    assert (delta.revision, delta.newest_raise, delta.rows) == (0, 0, ())


def test_the_highest_tier_stays(store, make):
    for tier in ("R1", "R3", "R0"):
        make.put(store, make.change("a", tier))
    assert peak(store, "a") == 3


def test_no_label_is_no_peak(store, make):
    """What nobody looked at counts as R2 while it is so; a label of R0 later must not leave that behind."""
    make.put(store, make.change("a", None))
    assert peak(store, "a") == 0
    make.put(store, make.change("a", "R0"))
    assert peak(store, "a") == 0


def test_an_artifact_never_wins_over_the_wire(store, make):
    make.put(store, make.change("a", "R0", edited=False), make.change("b", "R0", edited=False))
    edited = make.put(store, make.change("a", "R2", is_hidden=True))
    assert make.put(store, make.change("a", "R0", edited=False), make.change("b", "R0", edited=False)) == edited
    row = store.catalogue.get("a")
    assert row is not None
    assert (row.fields["is_hidden"], row.is_edited) == (True, True)
    assert make.put(store, make.change("b", "R1", edited=False)) > edited


def test_putting_the_same_over_the_wire_protects_it_from_the_next_artifact(store, make):
    loaded = make.put(store, make.change("a", edited=False))
    edited = make.put(store, make.change("a"))
    assert edited > loaded
    assert make.put(store, make.change("a", "R1", edited=False)) == edited


def test_the_last_of_two_changes_of_one_item_stays(store, make):
    make.put(store, make.change("a", "R2"), make.change("a", "R0", title="last"))
    row = store.catalogue.get("a")
    assert row is not None
    assert (row.item_no, row.peak_tier, row.fields["title"]) == (1, 2, "last")


@pytest.mark.parametrize(
    "bad",
    [{"risk_tier": "R0"}, {"item_id": 3}, {"item_id": "a", "risk_tier": "R9"}, {"item_id": "a", "x": object()}],
)
def test_a_change_that_is_no_item_is_refused_whole(store, make, bad):
    with pytest.raises(DataError, match="change 1"):
        make.put(store, make.change("good"), ItemChange(fields=bad, cluster_id="c"))
    assert store.catalogue.get("good") is None


def test_a_creator_comes_back_as_it_was_put_and_in_the_delta(store, make):
    before = make.put(store, make.change("a"))
    fields = {"creator_id": "c", "country": "MA", "languages": ["ary"], "verified": True}
    revision = store.catalogue.put_creators([CreatorChange(fields=fields)], NOW)
    assert revision == before + 1 == store.users.read("u").revision
    delta = store.catalogue.since(before)
    assert delta.rows == () and [row.fields for row in delta.creators] == [fields]
    assert store.catalogue.creator("c") == delta.creators[0]
    assert store.catalogue.creator("d") is None
    assert store.catalogue.since(revision).creators == ()
    assert store.committed_at() == NOW


def test_the_same_creator_again_is_no_change(store):
    first = CreatorChange(fields={"creator_id": "c", "country": "MA"})
    revision = store.catalogue.put_creators([first], NOW)
    assert store.catalogue.put_creators([first], NOW) == revision


def test_an_artifacts_creator_never_wins_over_the_wire(store):
    edited = CreatorChange(fields={"creator_id": "c", "country": "FR"})
    loaded = CreatorChange(fields={"creator_id": "c", "country": "MA"}, is_edited=False)
    store.catalogue.put_creators([loaded], NOW)
    revision = store.catalogue.put_creators([edited], NOW)
    assert store.catalogue.put_creators([loaded], NOW) == revision
    row = store.catalogue.creator("c")
    assert row is not None and row.fields["country"] == "FR"


def test_a_change_of_what_is_not_there_any_more_writes_nothing(store):
    first = store.catalogue.put_creators([CreatorChange(fields={"creator_id": "c", "country": "MA"})], NOW)
    second = store.catalogue.put_creators([CreatorChange(fields={"creator_id": "c", "country": "FR"})], NOW)
    for expects in (first, second + 1):
        with pytest.raises(Conflict):
            store.catalogue.put_creators([CreatorChange(fields={"creator_id": "c"}, expects=expects)], NOW)
    assert store.catalogue.since(0).revision == second


def test_nobody_is_no_creator(store):
    good = CreatorChange(fields={"creator_id": "c", "country": "MA"})
    with pytest.raises(DataError, match="change 1"):
        store.catalogue.put_creators([good, CreatorChange(fields={"country": "MA"})], NOW)
    assert store.catalogue.creator("c") is None


def test_near_duplicates_share_the_number_of_the_first(store, make):
    make.put(store, make.change("x"), make.change("a", cluster="k"))
    make.put(store, make.change("b", cluster="k"), make.change("y"))
    assert [cluster(store, i) for i in "xaby"] == [1, 2, 2, 4]


def test_a_cluster_keeps_its_number_when_its_first_member_leaves(store, make):
    make.put(store, make.change("a", cluster="k"), make.change("b", cluster="k"))
    make.put(store, make.change("a", cluster="m"))
    make.put(store, make.change("c", cluster="k"), make.change("d"))
    assert cluster(store, "b") == cluster(store, "c") == 1
    numbers = [cluster(store, i) for i in "abcd"] + [number(store, i) for i in "bcd"]
    assert cluster(store, "a") not in numbers[1:]
    assert number(store, "a") == 1


def test_new_items_and_lowered_items_are_no_raise(store, make):
    make.put(store, make.change("a", "R2"), make.change("b", "R1"))
    make.put(store, make.change("a", "R0"))
    assert store.catalogue.since(0).newest_raise == 0


def test_a_label_that_rises_again_after_it_was_lowered_is_a_raise(store, make):
    """What was delivered while it was low counts as it is now."""
    make.put(store, make.change("a", "R2"))
    make.put(store, make.change("a", "R0"))
    again = make.put(store, make.change("a", "R2", title="not above its peak"))
    assert store.catalogue.since(0).newest_raise == again


def test_a_higher_label_is_a_raise(store, make):
    make.put(store, make.change("a", "R0"))
    raised = make.put(store, make.change("a", "R1"))
    make.put(store, make.change("b", "R4"))
    assert store.catalogue.since(0).newest_raise == raised


def test_a_worse_copy_raises_its_cluster(store, make):
    make.put(store, make.change("a", "R1", "k"))
    make.put(store, make.change("b", "R1", "k"))
    assert store.catalogue.since(0).newest_raise == 0
    raised = make.put(store, make.change("c", "R2", "k"))
    assert store.catalogue.since(0).newest_raise == raised


def test_moving_to_a_worse_cluster_is_a_raise_and_to_a_milder_one_is_not(store, make):
    make.put(store, make.change("a", "R0"), make.change("b", "R2", "k"), make.change("c", "R0"))
    assert make.put(store, make.change("a", "R0", "c")) > 0
    assert store.catalogue.since(0).newest_raise == 0
    raised = make.put(store, make.change("a", "R0", "k"))
    assert store.catalogue.since(0).newest_raise == raised


def test_a_calm_label_for_the_unlabelled_is_no_raise_and_losing_it_is(store, make):
    make.put(store, make.change("a", None), make.change("b", None), make.change("c", "R0"))
    make.put(store, make.change("a", "R0"))
    assert store.catalogue.since(0).newest_raise == 0
    lost = make.put(store, make.change("c", None))
    assert store.catalogue.since(0).newest_raise == lost
    raised = make.put(store, make.change("b", "R3"))
    assert store.catalogue.since(0).newest_raise == raised


def test_a_surer_label_of_the_model_is_a_raise_and_a_weaker_one_is_not(store, make):
    """It may have come to a market's threshold, whatever the peak was."""
    for confidence in (0.9, 0.7):
        make.put(store, make.change("a", "R2", predicted_tier="R2", label_confidence=confidence))
    assert store.catalogue.since(0).newest_raise == 0
    raised = make.put(store, make.change("a", "R2", predicted_tier="R2", label_confidence=0.8))
    assert store.catalogue.since(0).newest_raise == raised
