"""
Attacks by copies and on copies (policy-spec 0, Copies; section 11, row 9): no copycat lowers anybody's reach, and a
re-upload shares tier and counter with its original, also after that is gone.
"""

import pytest

from recsys.clock import MINUTE, SECOND
from recsys.services.explain import why
from recsys.services.items import delete_item, get_item, patch_item, put_item
from recsys.stores.protocols import ItemChange

BASE = {"country": "MA", "region": "MA-06", "language": "ary", "topics": ["S3"]}
CALM = {"risk_tier": "R0", "risk_source": "human"}
HEAVY = {"risk_tier": "R2", "risk_family": "despair", "risk_source": "human"}
NEVER = {"risk_tier": "R3", "risk_source": "human"}
CAPTION = "what helped me to sleep after a hard year"  # nine words
FILE = {"perceptual_hash": "0123456789abcdef", "duration_s": 31.4}
OTHER_FILE = {"perceptual_hash": "fedcba9876543210", "duration_s": 31.4}


def ids(page):
    return [item.item_id for item in page.items]


class Uploads:
    """What the platform sends, and what an adult in Casablanca then sees."""

    def __init__(self, service, at):
        self.service, self.catalogue, self.at = service.is_adult("casa-adult"), service.store.catalogue, at

    def put(self, item_id, title=CAPTION, creator="", **fields):
        put_item(
            self.catalogue,
            item_id,
            {**BASE, "creator_id": creator or f"by-{item_id}", "title": title, **fields},
            self.at,
        )

    def patch(self, item_id, **fields):
        patch_item(self.catalogue, item_id, fields, self.at)

    def delete(self, item_id):
        delete_item(self.catalogue, item_id, self.at)

    def tiers(self, *item_ids):
        """What each item is served as, asked for alone; None for one that is not."""
        pages = [self.service.ask(candidate_ids=(item_id,), dry_run=True, at=self.at) for item_id in item_ids]
        return [page.items[0].tier if page.items else None for page in pages]

    def show(self, *item_ids, after=SECOND, **options):
        self.at += after
        return self.service.ask(candidate_ids=item_ids, at=self.at, **options)


@pytest.fixture
def uploads(service, evening):
    return Uploads(service, evening)


# a copycat lowers nobody


@pytest.mark.parametrize("title", ["#fyp", "part 2", "good morning", "تصبحون على خير"])
def test_attack_09_a_set_phrase_makes_no_two_videos_one(uploads, title):
    for n in range(8):
        uploads.put(f"v{n}", title, duration_s=10.0 + 7 * n, **CALM)
    everything = [f"v{n}" for n in range(8)]
    assert set(ids(uploads.show(*everything))) == set(everything)


@pytest.mark.parametrize("known", [{}, {"duration_s": 31.4}, FILE])
@pytest.mark.parametrize("stolen", [{}, {"duration_s": 31.4}, OTHER_FILE])
@pytest.mark.parametrize(
    "label", [HEAVY, NEVER, {**NEVER, "risk_source": "platform"}, {"risk_tier": "R4", "risk_source": "model"}, {}]
)
def test_attack_09_a_copycats_caption_and_length_lower_nobody(uploads, known, stolen, label):
    """Whatever is said of the copycat's own video, and whatever the platform knows of the two."""
    uploads.put("original", **known, **CALM)
    uploads.put("copycat", **stolen, **label)
    assert uploads.tiers("original") == ["R0"]
    assert ids(uploads.show("copycat")) in ([], ["copycat"])
    assert ids(uploads.show("original")) == ["original"]  # nor is it seen through the copy


@pytest.mark.parametrize("title", [CAPTION, "a caption that nobody should read"])
@pytest.mark.parametrize(
    "raised", [{"predicted_tier": "R3", "predicted_family": "despair", "label_confidence": 1.0}, {"risk_tier": "R3"}]
)
def test_attack_09_a_stolen_file_with_a_harmful_caption_lowers_nobody(uploads, title, raised):
    """The label heads read the caption; what they say of it stays with the upload that says so."""
    uploads.put("original", **FILE, **CALM)
    fields = {**BASE, "item_id": "stolen", "creator_id": "thief", "title": title, "published_at": uploads.at}
    label = CALM if "predicted_tier" in raised else {"risk_source": "model", "risk_confidence": 1.0}
    uploads.catalogue.put([ItemChange(fields={**fields, **FILE, **label, **raised})], uploads.at)
    assert uploads.tiers("original", "stolen") == ["R0", None]


def test_attack_09_an_old_upload_edited_into_a_caption_comes_after_it(uploads):
    uploads.put("sleeper", "something else altogether, of eight words or more", **HEAVY, duration_s=31.4)
    uploads.put("original", duration_s=31.4, **CALM)
    uploads.patch("sleeper", title=CAPTION, **HEAVY)
    assert uploads.tiers("original") == ["R0"]


def test_attack_09_an_original_that_changes_its_words_and_back_is_still_the_first(uploads):
    uploads.put("original", duration_s=31.4, **CALM)
    uploads.put("copycat", duration_s=31.4, **HEAVY)
    uploads.patch("original", title="other words for an hour or two, no more", **CALM)
    uploads.patch("original", title=CAPTION, **CALM)
    assert uploads.tiers("original") == ["R0"]


def test_attack_09_a_backdated_copycat_comes_after_what_was_there(uploads):
    uploads.put("original", duration_s=31.4, published_at="2026-11-19T10:00:00Z", **CALM)
    uploads.put("copycat", duration_s=31.4, published_at="2020-01-01T00:00:00Z", **HEAVY)
    assert uploads.tiers("original") == ["R0"]


def test_attack_09_a_hash_that_comes_later_makes_nobody_later(uploads):
    """The platform works hashes and lengths out after the upload; the thief was faster than that."""
    uploads.put("original", **CALM)
    uploads.put("copycat", duration_s=31.4, **HEAVY)
    uploads.patch("original", duration_s=31.4)
    uploads.patch("original", perceptual_hash="0123456789abcdef")
    assert uploads.tiers("original") == ["R0"]


def test_attack_09_a_thief_of_two_ties_no_two_others_together(uploads):
    """The file of one, the caption of another: what is said of these passes no further than one join."""
    uploads.put("file", "eight words that the first creator alone wrote", **FILE, **CALM)
    uploads.put("stolen", CAPTION, creator="thief", **FILE, **CALM)
    uploads.put("own", CAPTION, creator="thief", **OTHER_FILE, **NEVER)
    assert uploads.tiers("file", "stolen", "own") == ["R0", None, None]


def test_attack_09_an_age_limit_of_a_stolen_file_closes_no_original(uploads):
    uploads.put("original", **FILE, **CALM)
    uploads.put("stolen", **FILE, min_age=18, **CALM)
    uploads.put("late", **FILE, **CALM)
    items = uploads.service.engine.resources.catalogue_cache.at_least(uploads.catalogue.since(2**62).revision)
    assert [int(items.min_age[items.index[i]]) for i in ("original", "stolen", "late")] == [0, 18, 18]


def test_attack_09_a_review_holds_for_what_was_reviewed(uploads):
    uploads.put("original", **FILE, **CALM)
    uploads.put("stolen", "words that a person found never to be served", **FILE, **NEVER)
    assert uploads.tiers("original") == [None]  # a person's label passes through the hash
    uploads.patch("original", **CALM)
    assert uploads.tiers("original", "stolen") == ["R0", None]
    uploads.patch("original", title="new words that nobody looked at")
    assert uploads.tiers("original") == [None]


# a re-upload shares tier and counter


@pytest.mark.parametrize("source", ["human", "partner", "platform"])
@pytest.mark.parametrize(
    "gone", ["stays", "taken down", "its hash is lost", "its label is lost", "its file is replaced"]
)
def test_attack_09_a_re_upload_keeps_the_tier_of_its_hash_also_when_the_original_is_gone(uploads, source, gone):
    uploads.put("original", **FILE, **{**NEVER, "risk_source": source})
    uploads.put("before", "mirrored and cut again", **FILE, **CALM)
    if gone == "taken down":
        uploads.delete("original")
    elif gone == "its hash is lost":
        uploads.patch("original", perceptual_hash=None)
    elif gone == "its label is lost":
        uploads.put("original", "other words", **FILE, risk_tier="R0", risk_source="model", risk_confidence=1.0)
    elif gone == "its file is replaced":
        uploads.put("original", **OTHER_FILE, **CALM)
    uploads.put("after", "no words in common", **FILE, **CALM)
    assert uploads.tiers("before", "after") == [None, None]
    assert uploads.tiers("original") == (["R0"] if gone == "its file is replaced" else [None])


def test_attack_09_a_label_that_was_wrong_is_taken_back_for_every_copy(uploads):
    uploads.put("original", **FILE, **NEVER)
    uploads.put("copy", "other words", **FILE, **CALM)
    uploads.delete("original")
    assert uploads.tiers("copy") == [None]
    uploads.patch("original", **CALM)
    assert uploads.tiers("copy", "original") == ["R0", None]


def test_attack_09_a_re_upload_shares_the_counter(uploads):
    uploads.put("original", **FILE, **HEAVY)
    uploads.put("copy", "mirrored and cut again", **FILE, **CALM)
    page = uploads.show("original", "copy")
    assert [(item.tier, item.family) for item in page.items] == [("R2", "despair")]
    again = uploads.show("original", "copy")
    assert again.items == [] and again.shortfall.because == {"seen": 2}
    uploads.delete("original")
    uploads.put("later", "a third time", **FILE, **CALM)
    assert uploads.show("later").shortfall.because == {"seen": 1}


def test_attack_09_no_page_shows_one_video_twice(uploads):
    uploads.put("original", **FILE, **CALM)
    uploads.put("copy", "mirrored and cut again", **FILE, **CALM)
    page = uploads.show("original", "copy")
    assert len(page.items) == 1 and page.shortfall.because == {"duplicate": 1}


def test_attack_09_what_was_delivered_counts_as_its_copy_is_labelled(service, uploads):
    uploads.put("original", **FILE, **CALM)
    assert ids(uploads.show("original")) == ["original"]
    delivered_at = uploads.at
    uploads.put("mirrored", "no words in common", **FILE, **NEVER)
    assert uploads.show("original", "mirrored", after=MINUTE).items == []
    ledger = service.store.users.read("casa-adult").state.safety.ledger
    assert ledger.capped["R2"] == (delivered_at,)
    uploads.delete("mirrored")
    uploads.show("original", after=MINUTE)
    assert service.store.users.read("casa-adult").state.safety.ledger.capped["R2"] == (delivered_at,)


@pytest.mark.parametrize("edited", ["the one that was looked at", "the copy"])
@pytest.mark.parametrize("evidence", [FILE, {"creator": "one"}, {"duration_s": 31.4}])
def test_attack_09_no_edit_of_the_words_of_one_copy_frees_another(uploads, edited, evidence):
    """New words make no new video: a copy of R4 stays one, and what is R4 stays the reason for its copies."""
    uploads.put("the one that was looked at", **evidence, risk_tier="R4", risk_source="human")
    uploads.put("the copy", **evidence, **CALM)
    for title in ("quite another title", "and another"):
        uploads.patch(edited, title=title)
        assert uploads.tiers("the copy", "the one that was looked at") == [None, None]
    uploads.patch("the copy", title="a title of its own", **CALM)
    assert uploads.tiers("the copy") == ["R0"]  # a person looked at it


def test_attack_09_pictures_in_one_colour_are_one_video_unless_their_lengths_are_unlike(uploads):
    """Many videos begin with black: what was said of one of them is said of no other of another length."""
    black = {"perceptual_hash": "0" * 16}
    uploads.put("never", "a", **black, duration_s=20.0, **NEVER)
    uploads.put("calm", "b", **black, duration_s=40.0, **CALM)
    uploads.put("again", "c", **black, duration_s=20.0, **CALM)
    assert uploads.tiers("calm", "again") == ["R0", None]
    uploads.put("never, of unknown length", "d", **black, **NEVER)
    uploads.put("again, of unknown length", "e", **black, **CALM)
    assert uploads.tiers("calm", "again, of unknown length") == ["R0", None]


def test_attack_09_why_names_the_kind_of_evidence_and_no_words(service, uploads):
    uploads.put("original", **FILE, **HEAVY)
    uploads.put("file", "mirrored and cut again", **FILE, **CALM)
    uploads.put("words", CAPTION, duration_s=31.4, **CALM)
    uploads.put("own", CAPTION, creator="by-original", **CALM)
    uploads.show("original", "file", "words", "own", request_id="r")
    found = {item_id: why(service.engine, "r", item_id)["copy_of"] for item_id in ("original", "file", "words", "own")}
    assert found["file"] == [{"item_id": "original", "evidence": "hash", "tier": "R2"}]
    assert {"item_id": "original", "evidence": "duration_text", "tier": "R2"} in found["words"]
    assert {"item_id": "original", "evidence": "creator_text", "tier": "R2"} in found["own"]
    assert {join["evidence"] for joins in found.values() for join in joins} == {"hash", "duration_text", "creator_text"}
    assert CAPTION not in str(found)


def test_attack_09_what_an_item_remembers_is_shown_to_nobody(uploads):
    uploads.put("original", **FILE, **NEVER)
    uploads.patch("original", title="other words")
    row = uploads.catalogue.get("original")
    assert len(row.wordings) == 2 and CAPTION not in str(row.wordings)
    assert set(get_item(uploads.catalogue, "original")) == set(get_item(uploads.catalogue, "v00001") or row.fields)
