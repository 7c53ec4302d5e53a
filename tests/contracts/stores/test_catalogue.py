"""What `Catalogue` promises: numbers given once, revisions, what an item was before, raises, and creators."""

from dataclasses import replace

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
        make.put(store, make.change("good"), ItemChange(fields=bad))
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


# What an item was before, as far as its copies go by it.

HASH, OTHER_HASH = "0123456789abcdef", "fedcba9876543210"


def wordings(store, item_id):
    row = store.catalogue.get(item_id)
    assert row is not None
    return row.wordings


def hash_tiers(store, item_id):
    row = store.catalogue.get(item_id)
    assert row is not None
    return {f"{label.key:016x}": label.tier for label in row.hash_labels}


def test_an_item_remembers_since_when_it_says_what_it_says(store, make):
    first = make.put(store, make.change("a", title="one"))
    make.put(store, make.change("a", "R1", title="One!"))  # the same words
    assert [(w.n_words, w.since) for w in wordings(store, "a")] == [(1, first)]
    second = make.put(store, make.change("a", title="two"))
    assert [w.since for w in wordings(store, "a")] == [second, first]
    make.put(store, make.change("a", title="one"))
    assert [w.since for w in wordings(store, "a")] == [first, second]  # who returns to former words comes no later
    assert wordings(store, "a") == store.catalogue.since(0).rows[0].wordings


def test_an_item_stands_by_former_words_until_it_is_labelled_and_r3_until_it_is_labelled_lower(store, make):
    make.put(store, make.change("a", "R0", title="one"), make.change("b", "R3", title="one"))
    make.put(store, make.change("a", None, title="two"), make.change("b", "R3", title="two"))
    make.put(store, make.change("a", None, title="three"), make.change("b", "R4", title="three"))
    for item_id in "ab":
        assert [w.is_joined for w in wordings(store, item_id)] == [True, True, True]
    make.put(store, make.change("a", "R0", title="three"), make.change("b", "R0", title="three"))
    for item_id in "ab":
        assert [w.is_joined for w in wordings(store, item_id)] == [True, False, False]


def test_of_very_many_wordings_the_first_stays(store, make):
    make.put(store, make.change("a", title="the first"))
    for n in range(100):
        make.put(store, make.change("a", title=f"wording {n}"))
    known = wordings(store, "a")
    assert len(known) == 64 and min(w.since for w in known) == 1
    make.put(store, make.change("a", title="the first"))
    assert wordings(store, "a")[0].since == 1


def test_a_label_stays_with_the_hash_when_the_hash_or_the_label_goes(store, make):
    trusted = {"risk_source": "human", "perceptual_hash": HASH}
    make.put(store, make.change("a", "R3", **trusted))
    assert hash_tiers(store, "a") == {}  # the row speaks for itself
    make.put(store, make.change("a", "R0", risk_source="model", perceptual_hash=HASH))
    assert hash_tiers(store, "a") == {HASH: "R3"}
    make.put(store, make.change("a", "R0", risk_source="human", perceptual_hash=OTHER_HASH))
    make.put(store, make.change("a", None))
    assert hash_tiers(store, "a") == {HASH: "R3"}
    make.put(store, make.change("a", "R1", **trusted))  # a trusted label of the same file: that is the label now
    assert hash_tiers(store, "a") == {}


def test_only_a_label_of_a_person_a_partner_or_the_platform_stays_with_a_hash(store, make):
    for n, source in enumerate(("human", "partner", "platform", "model", "assumed", None)):
        make.put(store, make.change(f"v{n}", "R2", risk_source=source, perceptual_hash=HASH))
        make.put(store, make.change(f"v{n}", None))
        assert hash_tiers(store, f"v{n}") == ({HASH: "R2"} if n < 3 else {})


def test_what_an_item_was_outlives_an_artifact_that_does_not_know_it(store, make):
    label = {"risk_source": "partner", "perceptual_hash": HASH}
    make.put(store, make.change("a", "R3", edited=False, title="one", **label))
    make.put(store, make.change("a", None, edited=False, title="two"))
    before = make.put(store, make.change("a", None, edited=False, title="two"))
    assert hash_tiers(store, "a") == {HASH: "R3"} and len(wordings(store, "a")) == 2
    assert make.put(store, make.change("a", None, edited=False, title="two")) == before


def test_a_renewal_is_a_revision_without_rows(store, make):
    revision = make.put(store, make.change("v1"))
    before = store.catalogue.since(0)
    assert store.catalogue.renew(NOW + 1) == revision + 1
    after = store.catalogue.since(revision)
    assert (after.revision, after.newest_raise, after.rows) == (revision + 1, before.newest_raise, ())
    assert store.catalogue.since(0).rows == before.rows and store.users.read("u").revision == revision + 1
    assert store.users.committed_at() == NOW + 1


def test_the_artifact_that_was_put_last_is_noted_with_its_rows(store, make):
    assert store.catalogue.source() is None
    from_artifact = replace(make.change("v1"), is_edited=False)
    revision = store.catalogue.put([from_artifact], NOW, source="a")
    assert store.catalogue.source() == "a"
    assert store.catalogue.put([from_artifact], NOW, source="b") == revision  # equal rows: noted without a revision
    assert store.catalogue.source() == "b"
    make.put(store, make.change("v2"))
    assert store.catalogue.source() == "b"  # what comes over the wire wins anyway


def test_a_failed_artifact_is_not_noted_and_rows_of_no_artifact_end_the_note(store, make):
    from_artifact = replace(make.change("v1"), is_edited=False)
    store.catalogue.put([from_artifact], NOW, source="a")
    with pytest.raises(Conflict):
        store.catalogue.put([replace(make.change("v1", "R1"), is_edited=False, expects=99)], NOW, source="b")
    assert store.catalogue.source() == "a"
    store.catalogue.put([replace(make.change("v1", "R1"), is_edited=False)], NOW)
    assert store.catalogue.source() is None
