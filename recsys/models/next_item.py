"""
The next item: what users interacted with soon after something else.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.models.base import ItemItemModel
from recsys.models.interactions import empty_matrix
from recsys.models.item_knn import keep_strongest
from recsys.models.spectral import power_or_zero, sum_confidence
from recsys.types import Csr, Floats, Ids

_BLOCK_REACTIONS: Final = 4_000_000
"""Interactions whose pairs are counted at once; limits the memory to some 100 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextItemParams:
    """
    `out_power`: a larger one lowers frequent next items more. `max_steps`: how many interactions later an item still
    counts as next. `n_neighbours` are kept for each item.
    """

    out_power: float = 0.5
    max_steps: int = 3
    n_neighbours: int = 100


def fit(indptr: NDArray[np.int64], items: Ids, weights: Floats, n_items: int, params: NextItemParams) -> ItemItemModel:
    """
    Pairs of positive interactions up to `max_steps` apart in time count 1 / steps each. The model reads
    `UserInteractions.recent`.

    Shapes: flat histories as in `interactions_from_histories`: those of user u are `indptr[u]:indptr[u + 1]`.
    """
    total = empty_matrix(n_items)
    start = 0
    while start < len(indptr) - 1:
        end = max(start + 1, int(np.searchsorted(indptr, indptr[start] + _BLOCK_REACTIONS, "right")) - 1)
        total = _add_pairs(total, indptr[start : end + 1], items, weights, params.max_steps)
        start = end
    total.setdiag(0)
    total.eliminate_zeros()
    by_item = sparse.diags(power_or_zero(sum_confidence(total, 1), -1.0))
    by_next = sparse.diags(power_or_zero(sum_confidence(total), -params.out_power))
    return ItemItemModel(
        keep_strongest(sparse.csr_matrix(by_item @ total @ by_next), params.n_neighbours), 0.0, reads_recent=True
    )


def _add_pairs(total: Csr, indptr: NDArray[np.int64], items: Ids, weights: Floats, max_steps: int) -> Csr:
    """`total` (n_items, n_items) with the pairs of a block of users."""
    owner = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
    block = slice(indptr[0], indptr[-1])
    is_positive = weights[block] > 0
    owner, order = owner[is_positive], items[block][is_positive]
    for steps in range(1, max_steps + 1):
        is_same_user = owner[steps:] == owner[:-steps]
        pairs = (order[:-steps][is_same_user], order[steps:][is_same_user])
        counts = np.full(len(pairs[0]), 1 / steps, np.float32)
        total = total + sparse.csr_matrix((counts, pairs), shape=total.shape)
    return total
