"""A blend on given arrays: weights from a validation part, popularity where there is none, refusals with a sentence."""

import numpy as np
import pytest
from scipy import sparse

from recsys.errors import ConfigError
from recsys.models import recommend
from recsys.models.interactions import interactions_from_matrix
from recsys.types import Csr
from training.models import fit_matrix_blend
from training.models.splits import split_entries


def liked(seed: int = 0, n_users: int = 200, n_items: int = 60) -> Csr:
    """Two groups of users, each of which likes one half of the items."""
    rng = np.random.default_rng(seed)
    is_own = (np.arange(n_users)[:, None] % 2) == (np.arange(n_items) % 2)
    return sparse.csr_matrix((rng.random((n_users, n_items)) < np.where(is_own, 0.4, 0.02)).astype(np.float32))


def test_a_blend_of_groups_recommends_what_the_group_likes() -> None:
    blend, weights = fit_matrix_blend(liked(), k=10, rng=np.random.default_rng(0))
    assert set(blend.base_models) == set(weights.weights) and set(weights.weights) != {"popularity"}
    pages = recommend(blend, interactions_from_matrix(liked()), 5)
    assert np.mean(pages % 2 == (np.arange(200) % 2)[:, None]) > 0.9


def test_a_given_validation_part_chooses_the_weights() -> None:
    train, valid = split_entries(liked(), 0.2, np.random.default_rng(1))
    first, again = (fit_matrix_blend(train, valid, k=10, rng=np.random.default_rng(0))[1] for _ in range(2))
    assert first == again and first.ndcg_in_sample >= max(first.ndcg_by_model.values()) - 1e-9


def test_without_anything_to_validate_by_the_blend_is_popularity() -> None:
    rows = np.arange(50)
    train = sparse.csr_matrix((np.ones(50), (rows, rows % 5)), (50, 7), np.float32)  # one item each: none to hold out
    blend, _ = fit_matrix_blend(train, train.multiply(0).tocsr(), ("ials",), rng=np.random.default_rng(0))
    assert set(blend.base_models) == {"popularity"}
    assert recommend(blend, interactions_from_matrix(train)[:2], 3).shape == (2, 3)


def test_unknown_models_and_another_shape_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="found models svd, expected some of popularity"):
        fit_matrix_blend(liked(), names=("svd",), rng=rng)
    with pytest.raises(ConfigError, match="found models none"):
        fit_matrix_blend(liked(), names=(), rng=rng)
    with pytest.raises(ConfigError, match=r"shape \(3, 60\), expected \(200, 60\)"):
        fit_matrix_blend(liked(), liked()[:3], rng=rng)
