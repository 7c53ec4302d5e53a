"""Laws of character n-grams; expected weights worked by hand."""

import numpy as np
import pytest

from training.text.ngrams import ngram_weights, ngrams_of, select_ngrams


def test_a_word_gives_its_ngrams_of_two_to_five_letters_with_the_spaces_around_it() -> None:
    assert ngrams_of(["ab"]) == [" a", "ab", "b ", " ab", "ab ", " ab "]
    assert ngrams_of([]) == []


def test_a_weight_is_the_logarithm_of_the_count_times_the_idf_and_rows_have_length_one() -> None:
    weights = ngram_weights([["a", "a"], ["b"], []], (" a", " b"), np.array([1.0, 2.0], np.float32))
    assert weights.toarray() == pytest.approx(np.array([[1, 0], [0, 1], [0, 0]]))
    both = ngram_weights([["a", "a", "b"]], (" a", " b"), np.array([1.0, 2.0], np.float32)).toarray()[0]
    assert both[0] / both[1] == pytest.approx((1 + np.log(2)) / 2)
    assert np.linalg.norm(both) == pytest.approx(1)


def test_rare_ngrams_are_left_out_and_the_rest_stand_in_order() -> None:
    ngrams, idf = select_ngrams([["a"], ["a"], ["b"]], min_texts=2, max_ngrams=2)
    assert ngrams == (" a", " a ")
    assert idf == pytest.approx([1 + np.log(4 / 3)] * 2)
