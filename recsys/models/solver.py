"""
Many small least-squares problems against one matrix of vectors, solved exactly in NumPy.

For every row u:  x_u = argmin  sum_i c_ui (p_ui - x . y_i)^2 + sum_k (scales_k + reg_u) x_k^2,  i over the entries of
u.

The quadratic part is diagonal because `diagonalise` turned the vectors to the axes of their products, which changes no
score. With m entries in d dimensions there are two ways to the same answer, and each row takes the cheaper one. The
wide way (m >= d) solves d equations. The narrow way solves m:  x = D^-1 Y' e,  (C^-1 + Y D^-1 Y') e = p.  Most users
have a few dozen interactions, so the narrow way makes an exact solve as cheap as a few steps of conjugate gradient.
Rows of like length are solved together.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.types import Csr, Floats, Mask

_BLOCK_NUMBERS: Final = 2_000_000
"""Numbers in the largest array of one block: limits the memory to some tens of MB."""


def diagonalise(vectors: Floats) -> tuple[Floats, Floats]:
    """The vectors (n, d) in axes in which `vectors.T @ vectors` is diagonal, and that diagonal (d,)."""
    scales, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    return vectors @ axes.astype(np.float32), np.maximum(scales, 0).astype(np.float32)


def solve_rows(vectors: Floats, scales: Floats, confidence: Csr, targets: Floats, reg: Floats) -> Floats:
    """
    (n_rows, d) the vector of each row; zeros for a row without entries.

    Shapes: vectors (n, d); scales (d,) not negative; confidence CSR (n_rows, n) with entries above 0;
            targets (nnz,) the p of each entry in the order of the matrix; reg (n_rows,) above 0.
    """
    solved = np.zeros((confidence.shape[0], vectors.shape[1]), np.float32)
    for rows, entries, is_real in _blocks(confidence.indptr, vectors.shape[1]):
        y = vectors[confidence.indices[entries]] * is_real[:, :, None]
        c = np.where(is_real, confidence.data[entries], 1).astype(np.float32)
        p = np.where(is_real, targets[entries], 0).astype(np.float32)
        diagonal = scales + reg[rows][:, None].astype(np.float32)
        solved[rows] = _solve_narrow(y, c, p, diagonal) if y.shape[1] < y.shape[2] else _solve_wide(y, c, p, diagonal)
    return solved


def solve_row(vectors: Floats, scales: Floats, confidence: Floats, targets: Floats, reg: Floats) -> Floats:
    """(d,) the vector of one row from the vectors (m, d) of its entries; otherwise as `solve_rows`."""
    solve = _solve_narrow if len(vectors) < vectors.shape[1] else _solve_wide
    return np.asarray(solve(vectors[None], confidence[None], targets[None], (scales + reg)[None])[0], np.float32)


def _solve_narrow(y: Floats, c: Floats, p: Floats, diagonal: Floats) -> Floats:
    """(b, d) by m equations. Shapes: y (b, m, d); c and p (b, m); diagonal (b, d)."""
    root = np.sqrt(diagonal)
    scaled = y / root[:, None, :]
    kernel = scaled @ scaled.transpose(0, 2, 1)
    steps = np.arange(y.shape[1])
    kernel[:, steps, steps] += 1 / c
    e = np.linalg.solve(kernel, p[:, :, None])
    return np.asarray((scaled.transpose(0, 2, 1) @ e)[:, :, 0] / root)


def _solve_wide(y: Floats, c: Floats, p: Floats, diagonal: Floats) -> Floats:
    """(b, d) by d equations. Shapes as in `_solve_narrow`."""
    left = (y * c[:, :, None]).transpose(0, 2, 1) @ y
    steps = np.arange(y.shape[2])
    left[:, steps, steps] += diagonal
    return np.asarray(np.linalg.solve(left, y.transpose(0, 2, 1) @ (c * p)[:, :, None])[:, :, 0])


def _blocks(indptr: NDArray[np.integer], d: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.integer], Mask]]:
    """Rows of like length: their numbers (b,), where their entries are (b, m), and which of those are theirs (b, m)."""
    counts = np.diff(indptr)
    order = np.argsort(counts, kind="stable")
    ordered = counts[order]
    start = int(np.searchsorted(ordered, 1))
    while start < len(order):
        longest = max(int(ordered[start] * 1.15), 8)
        n_fitting = max(1, _BLOCK_NUMBERS // (longest * max(d, longest)))
        end = min(int(np.searchsorted(ordered, longest, side="right")), start + n_fitting)
        rows = order[start:end]
        steps = np.arange(int(ordered[end - 1]))
        is_real = steps < counts[rows][:, None]
        yield rows, np.where(is_real, indptr[rows][:, None] + steps, indptr[rows][:, None]), is_real
        start = end
