"""
The spectral model: a low-pass filter of the graph of users and items. It keeps what varies slowly along the graph.

The matrix is normalised by how much users and items are used, R~ = Du^-user_power R Di^-item_power; its leading right
singular vectors V vary slowly over items. A user's vector is the sum of the rows of V of their items, an item's is its
row of V; the first is divided and the second multiplied by how much the item is used. Sources: GF-CF (Shen et al. 2021:
all powers .5), BSPM (Choi et al. 2023) and ChebyCF (Kim et al. 2025), which shape the filter and the powers.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.models.base import LinearSpace
from recsys.models.interactions import clean_matrix, select_positive
from recsys.types import Csr, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralParams:
    """
    `embedding_size`: singular vectors that are kept. `user_power` and `item_power` normalise the matrix. A frequent
    item adds less to a user with a larger `in_power` and gains more from one with a larger `out_power`. A singular
    vector with half the value of the first is multiplied by .5 ** `tilt`.
    """

    embedding_size: int = 128
    user_power: float = 0.4
    item_power: float = 0.4
    in_power: float = 0.25
    out_power: float = 0.25
    tilt: float = 0.0
    negative_weight: float = 0.0


def fit(signed: Csr, params: SpectralParams, rng: np.random.Generator) -> LinearSpace:
    """
    The space of signed confidence, CSR (n_users, n_items).

    Empty: without a positive interaction every vector is zero.
    """
    positive = select_positive(clean_matrix(signed))
    n_items = positive.shape[1]
    d = max(1, min(params.embedding_size, min(positive.shape)))
    if not positive.nnz:
        return LinearSpace(np.zeros((n_items, d), np.float32), np.zeros(n_items, np.float32), params.negative_weight)
    decomposition = singular_vectors(normalise(positive, params.user_power, params.item_power), d, rng)
    return build_space(decomposition, sum_confidence(positive), params)


def build_space(decomposition: tuple[Floats, Floats], use: Floats, params: SpectralParams) -> LinearSpace:
    """
    The space from singular values (k,) and vectors (n_items, k), of which the first `embedding_size` are kept, and the
    summed confidence of each item, `use` (n_items,).
    """
    values, vectors = decomposition[0][: params.embedding_size], decomposition[1][:, : params.embedding_size]
    gains = (values / max(float(values[0]), 1e-12)) ** (params.tilt / 2)  # once for the user, once for the item
    weighted = np.ascontiguousarray(vectors * gains * power_or_zero(use, params.out_power)[:, None], np.float32)
    return LinearSpace(weighted, power_or_zero(use, -params.in_power - params.out_power), params.negative_weight)


def sum_confidence(positive: Csr, axis: int = 0) -> Floats:
    """The summed confidence of every item (axis 0) or user (axis 1)."""
    return np.asarray(positive.sum(axis=axis), np.float32).ravel()


def power_or_zero(use: Floats, power: float) -> Floats:
    """use ** power, and 0 where `use` is 0."""
    return np.where(use > 0, np.maximum(use, 1e-12) ** power, 0).astype(np.float32)


def normalise(positive: Csr, user_power: float, item_power: float) -> Csr:
    """Du^-user_power R Di^-item_power, CSR (n_users, n_items)."""
    by_user = sparse.diags(power_or_zero(sum_confidence(positive, 1), -user_power))
    by_item = sparse.diags(power_or_zero(sum_confidence(positive), -item_power))
    return sparse.csr_matrix(by_user @ positive @ by_item, dtype=np.float32)


def singular_vectors(matrix: Csr, k: int, rng: np.random.Generator, passes: int = 3) -> tuple[Floats, Floats]:
    """
    The k leading singular values (k,) and right singular vectors (n, k) of a sparse (m, n) matrix.

    Randomised subspace iteration (Halko, Martinsson and Tropp 2011): `passes` applications of the matrix and its
    transpose, orthonormal after each. Exact when k is the full rank.
    """
    n = min(k + 16, *matrix.shape)
    back = matrix.T.tocsr()
    basis = rng.standard_normal((matrix.shape[1], n), dtype=np.float32)
    for _ in range(passes + 1):
        basis = _orthonormalise(back @ (matrix @ basis))
    image = matrix @ basis
    squares, rotation = np.linalg.eigh((image.T @ image).astype(np.float64))
    first = np.argsort(-squares, kind="stable")[:k]
    return (
        np.sqrt(np.maximum(squares[first], 0)).astype(np.float32),
        np.ascontiguousarray(basis @ rotation[:, first].astype(np.float32)),
    )


def _orthonormalise(columns: Floats) -> Floats:
    """
    An orthonormal basis of what (n, k) columns span, by the eigenvectors of their k x k products. This costs a third of
    a QR decomposition; the next pass mends what rounding loses in the weakest directions.
    """
    squares, rotation = np.linalg.eigh((columns.T @ columns).astype(np.float64))
    scale = 1 / np.sqrt(np.maximum(squares, max(float(squares[-1]) * 1e-12, 1e-30)))
    return np.asarray(columns @ (rotation * scale).astype(np.float32))
