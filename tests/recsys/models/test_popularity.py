"""Laws of popularity by market."""

from math import log

import numpy as np
import pytest
from scipy import sparse

from recsys.models.popularity import PopularityParams, fit


def test_a_market_is_shrunk_to_the_world_by_the_stated_weight() -> None:
    # two items; Morocco 6 and 2, France 0 and 8: world 6 and 10, shares 3/8 and 5/8
    positives = sparse.csr_matrix(np.array([[0, 6], [8, 2]], np.float32))
    popular = fit(positives, ["FR", "MA"], PopularityParams(shrinkage=8))
    morocco = [log(1 + 2 * (6 + 8 * 3 / 8) / 16), log(1 + 2 * (2 + 8 * 5 / 8) / 16)]
    assert popular.of("MA") == pytest.approx(morocco)
    assert popular.of("FR") == pytest.approx([log(1 + 2 * 3 / 16), log(1 + 2 * 13 / 16)])
    assert popular.of("DE") == pytest.approx([log(1 + 2 * 3 / 8), log(1 + 2 * 5 / 8)])
    assert np.array_equal(popular.of(None), popular.of("DE"))


def test_people_of_unknown_country_count_for_the_world_alone() -> None:
    popular = fit(
        sparse.csr_matrix(np.array([[4, 0], [0, 1]], np.float32)), [None, "MA"], PopularityParams(shrinkage=1)
    )
    assert popular.markets == ("MA",)
    assert popular.of(None)[0] > popular.of(None)[1]


def test_only_the_largest_markets_get_a_list() -> None:
    positives = sparse.csr_matrix(np.array([[1, 5, 3]], np.float32))
    assert fit(positives, ["AA", "BB", "CC"], PopularityParams(max_markets=2)).markets == ("BB", "CC")


@pytest.mark.parametrize("shape", [(0, 0), (4, 0), (4, 2)])
def test_without_events_every_score_is_zero(shape: tuple[int, int]) -> None:
    popular = fit(sparse.csr_matrix(shape, dtype=np.float32), ["MA", "FR"][: shape[1]], PopularityParams())
    assert popular.markets == ()
    assert popular.scores.shape == (1, shape[0])
    assert not popular.scores.any()
