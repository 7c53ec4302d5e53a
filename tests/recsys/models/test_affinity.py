"""Laws of affinity: a ridge regression of each user's own, by hand and by its properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.models import affinity
from recsys.models.affinity import affinities, embed_user
from recsys.types import Responses

TOPICS = np.eye(4, 2, dtype=np.float32)  # item 0 is about the first topic, item 1 about the second, 2 and 3 about none
EXPECTED = np.full(4, 0.5, np.float32)
ALL = np.arange(4, dtype=np.int32)


def responses(*pairs: tuple[int, float]) -> Responses:
    return Responses(np.array([item for item, _ in pairs], np.int32), np.array([v for _, v in pairs], np.float32))


def test_who_was_shown_nothing_has_no_affinity() -> None:
    assert not embed_user(TOPICS, EXPECTED, Responses.empty()).any()


def test_one_watch_to_the_end_by_hand() -> None:
    user = embed_user(TOPICS, EXPECTED, responses((0, 1.0)))
    # minimise (.5 - a - b)^2 + 6 a^2 + 1 b^2: with a = b / 6, b = .5 / (2 + 1 / 6)
    assert user.tolist() == pytest.approx([0.5 / 13, 0.0, 3 / 13])
    assert affinities(TOPICS, user, ALL).tolist() == pytest.approx([0.5 / 13, 0, 0, 0])


def test_what_was_shown_and_left_counts_against_its_topic() -> None:
    user = embed_user(TOPICS, EXPECTED, responses((0, 1.0), (1, 0.0)))
    first, second, _, _ = affinities(TOPICS, user, ALL).tolist()
    assert first > 0 > second


def test_what_was_watched_as_much_as_expected_says_nothing() -> None:
    assert not embed_user(TOPICS, EXPECTED, responses((0, 0.5), (1, 0.5))).any()


@given(st.integers(1, 60))
def test_more_of_the_same_moves_further_and_never_beyond_what_was_seen(n: int) -> None:
    features, expected = np.ones((n + 1, 1), np.float32), np.zeros(n + 1, np.float32)
    moved = [
        affinities(features, embed_user(features, expected, responses(*((item, 1.0) for item in range(many)))), ALL[:1])
        for many in (n, n + 1)
    ]
    assert 0 < float(moved[0][0]) < 1


def test_only_the_newest_responses_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "MAX_RESPONSES", 2)
    whole = embed_user(TOPICS, EXPECTED, responses((2, 1.0), (0, 1.0), (1, 0.0)))
    newest = embed_user(TOPICS, EXPECTED, responses((0, 1.0), (1, 0.0)))
    np.testing.assert_array_equal(whole, newest)
