"""Laws of letter runs; expected weights worked by hand."""

import numpy as np
import pytest

from training.text.ngrams import choose, runs_of, weigh


def test_a_word_gives_its_runs_of_two_to_five_letters_with_the_spaces_around_it() -> None:
    assert runs_of(["ab"]) == [" a", "ab", "b ", " ab", "ab ", " ab "]
    assert runs_of([]) == []


def test_a_weight_is_the_logarithm_of_the_count_times_the_rarity_and_rows_have_length_one() -> None:
    weights = weigh([["a", "a"], ["b"], []], (" a", " b"), np.array([1.0, 2.0], np.float32))
    assert weights.toarray() == pytest.approx(np.array([[1, 0], [0, 1], [0, 0]]))
    both = weigh([["a", "a", "b"]], (" a", " b"), np.array([1.0, 2.0], np.float32)).toarray()[0]
    assert both[0] / both[1] == pytest.approx((1 + np.log(2)) / 2)
    assert np.linalg.norm(both) == pytest.approx(1)


def test_rare_runs_are_left_out_and_the_rest_stand_in_order() -> None:
    runs, rarity = choose([["a"], ["a"], ["b"]], least_texts=2, most=2)
    assert runs == (" a", " a ")
    assert rarity == pytest.approx([1 + np.log(4 / 3)] * 2)
