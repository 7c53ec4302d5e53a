"""Laws of near-duplicates."""

import pytest

from recsys.text.clusters import cluster_id


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("Respire 🌊 avec moi!", "respire avec moi"),
        ("الصَّبْرُ مفتاح", "الصبر مفتـــاح"),
        ("ＡＢＣ", "abc"),
        ("a  b\nc", "a b c"),
    ],
)
def test_the_same_words_are_one_cluster_however_they_are_written(text: str, variant: str) -> None:
    assert cluster_id("v1", text, None) == cluster_id("v2", variant, "")


def test_other_words_are_another_cluster_and_silence_is_a_cluster_of_its_own() -> None:
    assert cluster_id("v1", "a", None) != cluster_id("v1", "b", None)
    assert cluster_id("v1", "🌊", None) != cluster_id("v2", "", None)


def test_an_item_cannot_name_itself_into_another_cluster() -> None:
    assert cluster_id("v1", "item v2", None) != cluster_id("v2", "", None)
