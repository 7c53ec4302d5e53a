"""
Item-item models: the linear graph filter, BM25 neighbours, EASE, and what people watched next.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from recsys.errors import ConfigError
from recsys.models.base import ItemItem
from recsys.models.interactions import cleaned, wanted, with_refusals
from recsys.models.spectral import normalised, occurrence, powers
from recsys.types import Floats, Ids

EASE_LIMIT: Final = 5_000
"""Most items for EASE: the dense matrix of 5,000 takes 100 MB, and ten times as much work for every doubling."""

_BLOCK: Final = 4_000_000  # reactions


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterParams:
    """
    Powers of the normalisation: of people, of the item that was reacted to, of the item that is scored; and how many
    neighbours an item keeps.
    """

    user_power: float = 0.4
    in_power: float = 0.5
    out_power: float = 0.3
    n_neighbours: int = 200
    refusal: float = 0.0


def fit_filter(signed: Any, params: FilterParams) -> ItemItem:
    """
    Two steps on the graph of people and items, item -> person -> item: Di^-in R' Du^-2user R Di^-out, without the
    way back to the same item, cut to the strongest neighbours. Powers 0, .5, .5 are the linear part of GF-CF; RP3beta
    (Paudel et al. 2017) is the same with its own powers.
    """
    positive = wanted(cleaned(signed))
    weighted = normalised(positive, params.user_power, params.out_power)
    near = _neighbours(weighted, params.n_neighbours)
    rows = sparse.diags(powers(occurrence(positive), params.out_power - params.in_power))
    return ItemItem(sparse.csr_matrix(rows @ near, dtype=np.float32), params.refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class BM25Params:
    """How soon more of the same stops counting (k1), how much busy people are discounted (b), neighbours kept."""

    k1: float = 1.2
    b: float = 0.2
    n_neighbours: int = 200
    refusal: float = 0.0


def fit_bm25(signed: Any, params: BM25Params) -> ItemItem:
    """Item neighbours by the inner product of BM25 weights, as in `implicit`'s BM25Recommender."""
    from implicit.nearest_neighbours import bm25_weight

    positive = wanted(cleaned(signed))
    if not positive.nnz:
        return ItemItem(sparse.csr_matrix((positive.shape[1],) * 2, dtype=np.float32), params.refusal)
    weighted = bm25_weight(positive.T.tocsr(), params.k1, params.b).T.tocsr()
    return ItemItem(_neighbours(weighted, params.n_neighbours), params.refusal)


def _neighbours(weighted: Any, n_neighbours: int) -> Any:
    """The strongest entries of each row of weighted.T @ weighted, CSR (n_items, n_items), diagonal left out."""
    n_items = weighted.shape[1]
    if not weighted.nnz:
        return sparse.csr_matrix((n_items, n_items), dtype=np.float32)
    from implicit.nearest_neighbours import ItemItemRecommender

    model = ItemItemRecommender(K=n_neighbours + 1, num_threads=1)
    model.fit(sparse.csr_matrix(weighted, dtype=np.float64), show_progress=False)
    near = sparse.csr_matrix(model.similarity, dtype=np.float32)
    near.setdiag(0)
    near.eliminate_zeros()
    return near


@dataclass(frozen=True, slots=True, kw_only=True)
class EASEParams:
    """Strength of regularisation, power of the normalisation of people, weight of a refusal in what is learned from."""

    reg: float = 300.0
    user_power: float = 0.0
    refusal: float = 0.0


def fit_ease(signed: Any, params: EASEParams) -> ItemItem:
    """
    The linear model that best rebuilds everyone's items from their other items (Steck 2019): dense, in closed form.

    Raises: ConfigError for a catalogue above `EASE_LIMIT`.
    """
    given = with_refusals(cleaned(signed), params.refusal)
    n_items = given.shape[1]
    if n_items > EASE_LIMIT:
        raise ConfigError(
            f"found {n_items:,} items, expected at most {EASE_LIMIT:,} for EASE, whose matrix is dense; leave it out"
        )
    people = sparse.diags(powers(occurrence(abs(given), 1), -params.user_power))
    given = sparse.csr_matrix(people @ given, dtype=np.float32)
    gram = np.asarray((given.T @ given).toarray(), np.float32)
    steps = np.arange(n_items)
    gram[steps, steps] += np.float32(params.reg)
    weights = _inverse(gram)
    weights /= -np.diagonal(weights).copy()
    weights[steps, steps] = 0
    weights[:, occurrence(abs(given)) == 0] = 0
    return ItemItem(weights, params.refusal)


def _inverse(gram: Floats) -> Floats:
    """Of a positive definite matrix, in its own place: half the work and memory of a general inverse."""
    factor, failed = lapack.spotrf(gram.T, lower=1, overwrite_a=1)  # .T: LAPACK's order of columns, without a copy
    if failed:
        raise ConfigError("found a matrix of items that is not positive definite, expected reg above 0; raise reg")
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextParams:
    """How much a frequent next item is held back, how far ahead "next" reaches, neighbours kept."""

    out_power: float = 0.5
    reach: int = 3
    n_neighbours: int = 100


def fit_next(indptr: Any, items: Ids, weights: Floats, n_items: int, params: NextParams) -> ItemItem:
    """
    What people wanted soon after something: pairs up to `reach` steps apart in time, 1 / steps each.

    Shapes: flat histories as in `tastes.of_histories`. Reads `Tastes.recent`.
    """
    total: Any = sparse.csr_matrix(np.zeros((n_items, 0), np.float32))
    total.resize(n_items, n_items)
    start = 0
    while start < len(indptr) - 1:  # so many people at a time that the pairs of one block stay below some 100 MB
        end = max(start + 1, int(np.searchsorted(indptr, indptr[start] + _BLOCK, "right")) - 1)
        owner = np.repeat(np.arange(end - start, dtype=np.int32), np.diff(indptr[start : end + 1]))
        part = slice(indptr[start], indptr[end])
        is_wanted = weights[part] > 0
        owner, order = owner[is_wanted], items[part][is_wanted]
        for steps in range(1, params.reach + 1):
            same = owner[steps:] == owner[:-steps]
            pairs = (order[:-steps][same], order[steps:][same])
            counts = np.full(len(pairs[0]), 1 / steps, np.float32)
            total = total + sparse.csr_matrix((counts, pairs), shape=(n_items, n_items))
        start = end
    total.setdiag(0)
    total.eliminate_zeros()
    followed = sparse.diags(powers(occurrence(total, 1), -1.0))
    reached = sparse.diags(powers(occurrence(total), -params.out_power))
    return ItemItem(strongest(followed @ total @ reached, params.n_neighbours), 0.0, is_recent=True)


def strongest(matrix: Any, n_neighbours: int) -> Any:
    """The largest `n_neighbours` entries of every row, CSR float32; equal ones by the smaller column."""
    rows = sparse.csr_matrix(matrix, dtype=np.float32)
    owner = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    order = np.lexsort((rows.indices, -rows.data, owner))
    rank = np.arange(len(order)) - rows.indptr[owner[order]]
    kept = np.sort(order[rank < n_neighbours])
    return sparse.csr_matrix((rows.data[kept], (owner[kept], rows.indices[kept])), rows.shape)
