"""Laws of the evidence that two uploads are one video. The rule is that of policy-spec 0, Copies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.clusters import CopyKeys, Wording, copy_keys, hash_key, wording_of

EIGHT = "breathe with me and count to eight now"
SEVEN = "breathe with me and count to eight"
HASH = "0123456789abcdef"
NOTHING = CopyKeys(0, 0, 0)


def keys(
    title: str = EIGHT, creator_id: str = "c", duration_s: float | None = None, picture: str | None = None
) -> CopyKeys:
    return copy_keys(creator_id, wording_of(title, None), duration_s=duration_s, perceptual_hash=picture)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Respire 🌊 avec moi!", "respire avec moi"),
        ("الصَّبْرُ مفتاح", "الصبر مفتـــاح"),
        ("ＡＢＣ", "abc"),
        ("a  b\nc", "a b c"),
    ],
)
def test_a_text_is_the_same_however_it_is_dressed(one: str, other: str) -> None:
    assert wording_of(one, None) == wording_of(other, "")


def test_other_words_are_another_text_and_silence_is_none() -> None:
    assert wording_of("a", None) != wording_of("b", None)
    assert wording_of("a b", "c") == wording_of("a", "b c")
    assert wording_of("🌊", None) == wording_of("", "!?") == Wording(None, 0)
    assert wording_of(EIGHT, None).n_words == 8


@pytest.mark.parametrize("title", ["#fyp", "part 2", "good morning", "تصبحون على خير", SEVEN])
def test_few_words_join_nobody_and_nothing_of_another_length(title: str) -> None:
    assert keys(title) == NOTHING
    short, long = keys(title, duration_s=10), keys(title, duration_s=17)
    assert short.duration_text == 0 and short.creator_text != long.creator_text
    assert short.creator_text != keys(title, "another", duration_s=10).creator_text


def test_eight_words_join_a_creators_own_videos_and_those_of_equal_length() -> None:
    assert keys().creator_text == keys(duration_s=10).creator_text != 0
    assert keys(creator_id="another").creator_text != keys().creator_text
    assert keys().duration_text == 0
    assert keys(duration_s=10).duration_text == keys(creator_id="another", duration_s=10).duration_text != 0
    assert keys(duration_s=10).duration_text != keys(duration_s=10.1).duration_text


def test_durations_are_equal_in_tenths_of_a_second() -> None:
    assert keys(duration_s=31.44).duration_text == keys(duration_s=31.36).duration_text
    assert keys(duration_s=31.44).duration_text != keys(duration_s=31.46).duration_text


@pytest.mark.parametrize("unknown", [None, 0.0, 0.04, -3.0, float("nan"), float("inf")])
def test_an_unknown_duration_equals_nothing(unknown: float | None) -> None:
    assert keys(duration_s=unknown).duration_text == 0
    assert keys("short", duration_s=unknown).creator_text == 0


def test_a_hash_is_itself_whatever_its_letters_and_an_unknown_one_is_none() -> None:
    assert hash_key(HASH, None) == hash_key(HASH.upper(), 10.0) == 0x0123456789ABCDEF
    assert hash_key(None, 10.0) == 0


@pytest.mark.parametrize("flat", ["0" * 16, "f" * 16])
def test_a_picture_in_one_colour_is_evidence_unless_the_durations_speak_against_it(flat: str) -> None:
    assert hash_key(flat, None) == hash_key(flat.upper(), 0.0) != 0
    assert hash_key(flat, None) != hash_key(flat, 10.0)
    assert hash_key(flat, 10.0) == hash_key(flat, 10.04) != 0
    assert hash_key(flat, 10.0) != hash_key(flat, 11.0)
    assert hash_key("0" * 16, 10.0) != hash_key("f" * 16, 10.0)


@given(st.text(), st.text(), st.none() | st.floats())
def test_every_upload_has_keys(title: str, text: str, duration_s: float | None) -> None:
    found = copy_keys("c", wording_of(title, text), duration_s=duration_s, perceptual_hash=None)
    assert all(0 <= key < 2**64 for key in found)
