"""Laws of the calibration to languages: a preference that moves with the person, and no quota."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.feed import calibration
from recsys.feed.calibration import (
    PRIOR_EVENTS,
    bonus_compiled,
    bonus_in_numpy,
    language_bonus,
    wanted_languages,
)

MIX = {"fr": {"fr": 0.6, "ary": 0.4}, "ary": {"ary": 0.9, "fr": 0.1}}


def page(scores: list[float], languages: list[int], wanted: list[float], weight: float, size: int) -> list[int]:
    bonus = language_bonus(
        np.array(scores, np.float32), np.array(languages), np.array(wanted, np.float64), weight, size
    )
    return np.argsort(-(np.array(scores) + weight * bonus), kind="stable")[:size].tolist()


def test_the_mix_of_the_first_language_is_expected_of_a_newcomer() -> None:
    assert wanted_languages(MIX, {}, ("fr", "ary"), {}) == pytest.approx({"fr": 0.6, "ary": 0.4})
    assert wanted_languages(MIX, {}, ("fr", "ary", "fr"), {}) == pytest.approx({"fr": 0.6, "ary": 0.4})
    assert wanted_languages(MIX, {}, ("fr",), {}) == {"fr": 1.0}  # of the others nothing is understood


def test_it_moves_to_what_the_person_watches() -> None:
    moved = wanted_languages(MIX, {}, ("fr", "ary"), {"ary": PRIOR_EVENTS, "en": 50.0})
    assert moved == pytest.approx({"fr": 0.3, "ary": 0.7})  # half expected, half their own; English is not understood


def test_what_they_watch_counts_by_how_little_of_it_the_feed_showed() -> None:
    usual = {"fr": {"fr": 0.3, "ary": 0.7}}  # of the best pages .6 and .4 would be
    as_usual = wanted_languages(MIX, usual, ("fr", "ary"), {"fr": 0.3 * 40, "ary": 0.7 * 40})
    assert as_usual == pytest.approx({"fr": 0.6, "ary": 0.4})  # who watches as all do wants what they do
    more = wanted_languages(MIX, usual, ("fr", "ary"), {"fr": 0.5 * 40, "ary": 0.5 * 40})
    assert more["fr"] > 0.6
    assert wanted_languages(MIX, {"fr": {"ary": 1.0}}, ("fr", "ary"), {"fr": 10.0}) == pytest.approx(
        {"fr": 0.8, "ary": 0.2}
    )  # of French nothing is usual


def test_without_any_knowledge_a_page_is_not_calibrated() -> None:
    assert wanted_languages({}, {}, ("fr", "ary"), {}) == {} and wanted_languages(MIX, {}, ("xx",), {}) == {}
    assert wanted_languages(MIX, {}, (), {"fr": 3.0}) == {}
    assert wanted_languages({}, {}, ("fr", "ary"), {"ary": 1.0}) == {"fr": 0.0, "ary": 1.0}


def test_a_person_with_twenty_languages_has_shares_that_add_up() -> None:
    many = tuple(f"l{n}" for n in range(20))
    assert sum(wanted_languages({"l0": dict.fromkeys(many, 0.05)}, {}, many, {"l3": 2.0}).values()) == pytest.approx(1)


def test_a_bonus_by_hand() -> None:
    # Two languages, half each wanted. The first place: 4 + 10 * .5 against 1 + 10 * .5. Then the first language has all
    # of the page: 3 - 5 against 1 + 5. Then both are even, and 3 is best.
    bonus = language_bonus(np.array([4, 3, 2, 1.0], np.float32), np.array([0, 0, 0, 1]), np.array([0.5, 0.5]), 10.0, 3)
    assert bonus.tolist() == pytest.approx([0.5, 0.0, 0.0, 0.5], abs=1e-4)


def test_a_video_of_r1_is_not_on_a_page_for_its_language() -> None:
    # As above, where the last item is of R1 and its language is behind: it counts as one of the language that is ahead.
    scores, languages, wanted = np.array([4, 3, 2, 1.0], np.float32), np.array([0, 0, 0, 1]), np.array([0.5, 0.5])
    plain = language_bonus(scores, languages, wanted, 10.0, 4)
    bonus = language_bonus(scores, languages, wanted, 10.0, 4, np.array([False, False, False, True]))
    assert bonus[:3].tolist() == plain[:3].tolist()
    assert bonus[3] == pytest.approx(0.5 - 2 / 3, abs=1e-4) and bonus[3] < 0 < plain[3]


def test_with_alike_scores_the_page_has_the_wanted_shares() -> None:
    languages = [0] * 30 + [1] * 30
    chosen = page([0.001 * n for n in range(60)][::-1], languages, [0.7, 0.3], 5.0, 20)
    assert sum(languages[row] == 0 for row in chosen) == pytest.approx(14, abs=1)


def test_much_better_items_are_not_held_back_by_a_share() -> None:
    chosen = page([10.0] * 20 + [0.0] * 20, [0] * 20 + [1] * 20, [0.5, 0.5], 2.0, 20)
    assert chosen == list(range(20))


@given(st.lists(st.tuples(st.floats(-3, 3, width=32), st.integers(0, 2)), max_size=40), st.integers(1, 30))
def test_within_a_language_the_order_stays(pairs, size) -> None:
    scores = np.array([score for score, _ in pairs], np.float32)
    languages = np.array([language for _, language in pairs], np.int64)
    bonus = language_bonus(scores, languages, np.array([0.5, 0.3, 0.2]), 0.5, size)
    assert bonus.shape == scores.shape and np.isfinite(bonus).all()
    adjusted = scores + 0.5 * bonus
    for language in range(3):
        mine = np.flatnonzero(languages == language)
        order = mine[np.argsort(-scores[mine], kind="stable")]
        assert (np.diff(adjusted[order]) <= 1e-5).all()


@given(st.integers(1, 20))
def test_a_language_without_supply_gets_nothing_and_takes_nothing(size) -> None:
    scores = np.linspace(1, 0, 20, dtype=np.float32)
    chosen = page(scores.tolist(), [0] * 20, [0.1, 0.9], 3.0, size)
    assert chosen == list(range(size))


@settings(max_examples=150, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.floats(-3, 3, width=32), st.integers(0, 3)), max_size=60),
    wanted=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    weight=st.floats(0.01, 20),
    depth=st.integers(0, 70),
)
def test_the_compiled_loop_gives_the_bits_of_the_reference(native, pairs, wanted, weight, depth) -> None:
    scores = np.array([score for score, _ in pairs], np.float32)
    languages = np.array([language for _, language in pairs], np.int64)
    shares = np.array(wanted) / max(sum(wanted), 1.0)
    expected = bonus_in_numpy(scores, languages, shares, weight, depth)
    found = bonus_compiled(native, scores, languages, shares, weight, depth)
    assert [part.tobytes() for part in found] == [part.tobytes() for part in expected]


def test_scores_that_are_no_numbers_are_left_to_the_reference(native, monkeypatch) -> None:
    """The compiled loop knows no such scores; called all the same, it writes nowhere else."""
    monkeypatch.setattr(calibration, "library", lambda: native)
    scores, languages, wanted = np.full(5, np.nan, np.float32), np.zeros(5, np.int64), np.array([1.0])
    expected = bonus_in_numpy(scores, languages, wanted, 1.0, 3)[0]
    np.testing.assert_array_equal(language_bonus(scores, languages, wanted, 1.0, 3), expected)
    assert len(bonus_compiled(native, scores, languages, wanted, 1.0, 3)[0]) == 5
