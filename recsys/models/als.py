"""
Implicit alternating least squares: taste as a point in a space that the catalogue shares.

Every pair of a person and an item has a preference (1 for what they acted on, 0 for the rest and for what they
refused) and a confidence in it: 1 + alpha * |weight| where there is an event, 1 elsewhere. Source: Hu, Koren and
Volinsky 2008. The factors are fitted by the library `implicit`; people are placed by solving their own least
squares exactly, so someone who arrived a minute ago is placed like everyone else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from recsys.errors import DataError
from recsys.progress import Progress, quiet
from recsys.types import Floats, History


@dataclass(frozen=True, slots=True, kw_only=True)
class ALSParams:
    """
    Size of the space, strength of regularisation, weight of an event against no event, passes, threads (0 = all).

    The defaults are a middle that beats popularity on two real logs (KuaiRand signed, LastFM by country); a dense log
    such as Gowalla likes alpha 40 and 128 numbers better, a small one 16.
    """

    embedding_size: int = 64
    reg: float = 100.0
    alpha: float = 10.0
    epochs: int = 15
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FactorSpace:
    """
    A fitted factor model. `item_vectors` (n_items, d); zeros for items without an event.

    `gram` (d, d) = item_vectors.T @ item_vectors + reg * I, computed once, so that placing a person costs only their
    own events.
    """

    item_vectors: Floats
    gram: Floats
    alpha: float

    def fold_in(self, history: History) -> Floats:
        """
        (d,) the person's exact least-squares vector given the items; zeros for an empty history.

        Several events on one item add up; a negative sum is confidence in preference 0.
        """
        rows, inverse = np.unique(history.items, return_inverse=True)
        weights = np.bincount(inverse, history.weights, len(rows)).astype(np.float32)
        if not np.any(weights > 0):  # refusals alone say what is not wanted: the least-squares answer is zero
            return np.zeros(self.item_vectors.shape[1], np.float32)
        vectors = np.asarray(self.item_vectors[rows])
        extra = self.alpha * np.abs(weights)  # confidence above the 1 that `gram` holds already
        left = self.gram + (vectors.T * extra) @ vectors
        right = vectors.T @ np.where(weights > 0, 1 + extra, 0).astype(np.float32)
        return np.linalg.solve(left, right).astype(np.float32)


def fit(
    positives: Any,
    params: ALSParams,
    rng: np.random.Generator,
    negatives: Any = None,
    on_progress: Progress = quiet,
) -> FactorSpace:
    """
    Factors from events. Equal inputs and generators give equal factors.

    Shapes: `positives` and `negatives` scipy CSR (n_users, n_items), entries >= 0: how sure an event makes us that
            the item is wanted, or refused. A pair in both counts by the difference.
    Empty:  without positives every vector is zero.
    Raises: DataError when an entry is negative or not finite.
    """
    signed = _signed(positives, negatives)
    n_items, d = signed.shape[1], params.embedding_size
    seed = int(rng.integers(2**31))
    if signed.nnz == 0 or signed.data.max() <= 0:
        return FactorSpace(
            item_vectors=np.zeros((n_items, d), np.float32),
            gram=(params.reg * np.eye(d)).astype(np.float32),
            alpha=params.alpha,
        )
    confidence = signed.copy()
    confidence.data = np.sign(signed.data) * (1 + params.alpha * np.abs(signed.data))
    item_vectors = _factorise(confidence, params, seed, on_progress)
    gram = item_vectors.T @ item_vectors + params.reg * np.eye(d, dtype=np.float32)
    return FactorSpace(item_vectors=item_vectors, gram=gram.astype(np.float32), alpha=params.alpha)


def _signed(positives: Any, negatives: Any) -> Any:
    """(n_users, n_items) CSR float32 without stored zeros: wanted above zero, refused below."""
    for name, matrix in (("positives", positives), ("negatives", negatives)):
        if matrix is not None and not (np.all(np.isfinite(matrix.data)) and np.all(matrix.data >= 0)):
            raise DataError(
                f"found {name} with entries below zero or not finite, expected confidences >= 0; "
                "correct the step that builds the matrices"
            )
    signed = (positives if negatives is None else positives - negatives).tocsr().astype(np.float32)
    signed.sum_duplicates()
    signed.eliminate_zeros()
    return signed


def _factorise(confidence: Any, params: ALSParams, seed: int, on_progress: Progress) -> Floats:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    def report(epoch: int, *_: Any) -> None:
        on_progress("als", epoch + 1, params.epochs)

    with threadpool_limits(1, "blas"):  # the library runs its own threads; a second set slows both
        model = AlternatingLeastSquares(
            factors=params.embedding_size,
            regularization=params.reg,
            alpha=1.0,  # the confidences hold it already, as 1 + alpha * weight; the library would leave out the 1
            iterations=params.epochs,
            num_threads=params.threads,
            random_state=seed,
        )
        model.fit(sparse.csr_matrix(confidence), show_progress=False, callback=report)
    factors = np.ascontiguousarray(model.item_factors, np.float32)
    if not np.all(np.isfinite(factors)):
        raise DataError("found item factors that are not finite, expected numbers; lower alpha or raise reg")
    return factors
