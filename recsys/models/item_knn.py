"""
Item neighbours: the items that the same users interact with, by BM25 weights. And how matrices are cut to the strongest
entries of each row.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.models.base import ItemItemModel
from recsys.models.interactions import clean_matrix, empty_matrix, row_numbers, select_positive
from recsys.types import Csr


@dataclass(frozen=True, slots=True, kw_only=True)
class BM25Params:
    """
    `k1`: a larger one lets repeated interactions count longer. `b`: a larger one discounts active users more.
    `n_neighbours` are kept for each item.
    """

    k1: float = 1.2
    b: float = 0.2
    n_neighbours: int = 200
    negative_weight: float = 0.0


def fit(signed: Csr, params: BM25Params) -> ItemItemModel:
    """
    Item neighbours by the inner product of BM25 weights, as in `implicit`'s BM25Recommender.

    Shapes: signed CSR (n_users, n_items), signed confidence.
    """
    from implicit.nearest_neighbours import bm25_weight

    positive = select_positive(clean_matrix(signed))
    if not positive.nnz:
        return ItemItemModel(empty_matrix(positive.shape[1]), params.negative_weight)
    weighted = bm25_weight(positive.T.tocsr(), params.k1, params.b).T.tocsr()
    return ItemItemModel(nearest_items(weighted, params.n_neighbours), params.negative_weight)


def nearest_items(weighted: Csr, n_neighbours: int) -> Csr:
    """The largest entries of each row of weighted.T @ weighted, CSR (n_items, n_items), without the diagonal."""
    if not weighted.nnz:
        return empty_matrix(weighted.shape[1])
    from implicit.nearest_neighbours import ItemItemRecommender

    model = ItemItemRecommender(K=n_neighbours + 1, num_threads=1)
    model.fit(weighted.astype(np.float64), show_progress=False)
    similarity: Csr = model.similarity
    near = similarity.astype(np.float32)
    near.setdiag(0)
    near.eliminate_zeros()
    return near


def keep_strongest(matrix: Csr, n_neighbours: int) -> Csr:
    """The largest `n_neighbours` entries of every row, CSR float32; equal ones by the smaller column."""
    rows = sparse.csr_matrix(matrix, dtype=np.float32)
    owner = row_numbers(rows)
    order = np.lexsort((rows.indices, -rows.data, owner))
    rank = np.arange(len(order)) - rows.indptr[owner[order]]
    strongest = np.sort(order[rank < n_neighbours])
    return sparse.csr_matrix((rows.data[strongest], (owner[strongest], rows.indices[strongest])), rows.shape)
