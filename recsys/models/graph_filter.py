"""
The linear graph filter: two steps on the graph of users and items, item -> user -> item.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.models.base import ItemItemModel
from recsys.models.interactions import clean_matrix, select_positive
from recsys.models.item_knn import nearest_items
from recsys.models.spectral import normalise, power_or_zero, sum_confidence
from recsys.types import Csr


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFilterParams:
    """
    Powers of the normalisation: of users, of the item that a user interacted with (`in_power`), and of the item that is
    scored (`out_power`). `n_neighbours` are kept for each item.
    """

    user_power: float = 0.4
    in_power: float = 0.5
    out_power: float = 0.3
    n_neighbours: int = 200
    negative_weight: float = 0.0


def fit(signed: Csr, params: GraphFilterParams) -> ItemItemModel:
    """
    Di^-in R' Du^-2user R Di^-out without its diagonal, cut to the strongest neighbours.

    Powers 0, .5, .5 are the linear part of GF-CF (Shen et al. 2021); RP3beta (Paudel et al. 2017) is the same with
    other powers. Shapes: signed CSR (n_users, n_items), signed confidence.
    """
    positive = select_positive(clean_matrix(signed))
    weighted = normalise(positive, params.user_power, params.out_power)
    near = nearest_items(weighted, params.n_neighbours)
    rows = sparse.diags(power_or_zero(sum_confidence(positive), params.out_power - params.in_power))
    return ItemItemModel(sparse.csr_matrix(rows @ near, dtype=np.float32), params.negative_weight)
