"""The mean and covariance of a space, whatever part of its vectors is read at once."""

from dataclasses import dataclass

import numpy as np
import pytest

from recsys.models import standardised_space
from recsys.models.standardised_space import standardise_space
from recsys.models.text import Centres, TextSpace


@dataclass
class Drawn:
    vectors: np.ndarray

    @property
    def space(self) -> TextSpace:
        centres = Centres(("en",), np.zeros((1, self.vectors.shape[1]), np.float32))
        return TextSpace(item_vectors=self.vectors, centres=centres, half_life_days=90.0, negative_weight=0.5)


@pytest.fixture
def drawn() -> Drawn:
    vectors = np.random.default_rng(3).normal(1, 2, (50, 6)).astype(np.float32)
    vectors[[0, 7, 49]] = 0  # nothing is known of these items
    return Drawn(vectors)


@pytest.mark.parametrize("n_at_once", [1, 7, 49, 50, 1_000])
def test_parts_have_the_moments_of_the_whole(drawn, n_at_once, monkeypatch):
    monkeypatch.setattr(standardised_space, "_ROWS_AT_ONCE", n_at_once)
    found = standardise_space(drawn.space)
    known = np.delete(drawn.vectors, [0, 7, 49], axis=0).astype(np.float64)
    assert np.flatnonzero(~found.is_known).tolist() == [0, 7, 49]
    np.testing.assert_allclose(found.mean, known.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(known.T, bias=True), atol=1e-5)


@pytest.mark.parametrize("n_known", [0, 1])
def test_a_space_that_knows_less_than_two_items_has_no_spread(drawn, n_known):
    drawn.vectors[n_known + 1 :] = 0
    drawn.vectors[0] = 0
    found = standardise_space(drawn.space)
    assert (found.is_known.sum(), found.mean.any(), found.covariance.any()) == (n_known, False, False)
    assert found.mean.shape == (6,) and found.covariance.shape == (6, 6)
