"""
Many small least squares against one matrix of vectors, exactly, in NumPy.

For every row u:  x_u = argmin  sum_i c_ui (p_ui - x . y_i)^2 + sum_k (scales_k + reg_u) x_k^2,  i over u's own entries.

The quadratic part is diagonal because the vectors were turned into the axes of their own products (`turned`), which
changes no score. With m entries in d dimensions there are two ways to the same answer, and each row takes the cheaper
one. The wide way (m >= d) solves d equations. The narrow way solves m:  x = D^-1 Y' e,  (C^-1 + Y D^-1 Y') e = p.  Most
people have a few dozen reactions, so the narrow way makes an exact solve as cheap as a few steps of conjugate gradient;
rows of like length are solved together.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recsys.types import Floats

_BLOCK: Final = 2_000_000
"""Numbers in the largest array of one block: bounds the memory to some tens of MB."""


def turned(vectors: Floats) -> tuple[Floats, Floats]:
    """(n, d) vectors in the axes of their products, and the products: vectors.T @ vectors is diagonal, (d,)."""
    scales, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    return vectors @ axes.astype(np.float32), np.maximum(scales, 0).astype(np.float32)


def solve_rows(vectors: Floats, scales: Floats, confidence: Any, targets: Floats, reg: Floats) -> Floats:
    """
    (n_rows, d) the vector of each row; zeros for a row without entries.

    Shapes: vectors (n, d); scales (d,) not negative; confidence CSR (n_rows, n) with entries above 0;
            targets (nnz,) the p of each entry in the order of the matrix; reg (n_rows,) above 0.
    """
    found = np.zeros((confidence.shape[0], vectors.shape[1]), np.float32)
    for rows, places, is_real in _blocks(confidence.indptr, vectors.shape[1]):
        y = vectors[confidence.indices[places]] * is_real[:, :, None]
        c = np.where(is_real, confidence.data[places], 1).astype(np.float32)
        p = np.where(is_real, targets[places], 0).astype(np.float32)
        diagonal = scales + reg[rows][:, None].astype(np.float32)
        found[rows] = _narrow(y, c, p, diagonal) if y.shape[1] < y.shape[2] else _wide(y, c, p, diagonal)
    return found


def _narrow(y: Floats, c: Floats, p: Floats, diagonal: Floats) -> Floats:
    root = np.sqrt(diagonal)
    scaled = y / root[:, None, :]
    kernel = scaled @ scaled.transpose(0, 2, 1)
    steps = np.arange(y.shape[1])
    kernel[:, steps, steps] += 1 / c
    e = np.linalg.solve(kernel, p[:, :, None])
    return np.asarray((scaled.transpose(0, 2, 1) @ e)[:, :, 0] / root)


def _wide(y: Floats, c: Floats, p: Floats, diagonal: Floats) -> Floats:
    left = (y * c[:, :, None]).transpose(0, 2, 1) @ y
    steps = np.arange(y.shape[2])
    left[:, steps, steps] += diagonal
    return np.asarray(np.linalg.solve(left, y.transpose(0, 2, 1) @ (c * p)[:, :, None])[:, :, 0])


def _blocks(indptr: NDArray[Any], d: int) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]]:
    """
    Rows of like length: their numbers (b,), where their entries are (b, m), and which of those are theirs (b, m).
    """
    counts = np.diff(indptr)
    order = np.argsort(counts, kind="stable")
    ordered = counts[order]
    start = int(np.searchsorted(ordered, 1))
    while start < len(order):
        most = max(int(ordered[start] * 1.15), 8)
        fits = max(1, _BLOCK // (most * max(d, most)))
        end = min(int(np.searchsorted(ordered, most, side="right")), start + fits)
        rows = order[start:end]
        steps = np.arange(int(ordered[end - 1]))
        is_real = steps < counts[rows][:, None]
        yield rows, np.where(is_real, indptr[rows][:, None] + steps, indptr[rows][:, None]), is_real
        start = end
