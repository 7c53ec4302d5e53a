"""
Nearest items of a space, by FAISS, with the rules applied inside the search.

The index is flat, so retrieval is exact: 100,000 items of 64 numbers take a few milliseconds on one core, and a
filter can never leave a page short because the nearest neighbours were all forbidden.
"""

from pathlib import Path
from typing import Any

import faiss as _typed_faiss
import numpy as np

from recsys.errors import StageError
from recsys.types import Floats, Mask, Rows, rank_order

faiss: Any = _typed_faiss  # the types it ships are those of its C++ layer, not of its Python calls


def build_index(vectors: Floats) -> Any:
    """A FAISS index over (n, d) vectors by inner product. Raises StageError when a vector is not finite."""
    if not np.all(np.isfinite(vectors)):
        raise StageError("found item vectors with numbers that are not finite, expected finite numbers; fit again")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return index


def write_index(path: Path, vectors: Floats) -> None:
    """Builds the index of (n, d) vectors and writes it to `path`."""
    faiss.write_index(build_index(vectors), str(path))


def open_index(path: Path) -> Any:
    """The index in `path`, its vectors mapped rather than read. Raises RuntimeError when it is no index."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def search(index: Any, vector: Floats, k: int, allowed: Mask | None = None) -> tuple[Rows, Floats]:
    """
    The k rows with the largest inner product, best first, equal ones by the smaller row; at most k are returned.

    Shapes: vector (d,); allowed (n,) True = may be returned; returns rows (m,) and scores (m,), m <= k.
    Empty:  a vector of zeros (a person about whom nothing is known) finds nothing, rather than anything.
    Raises: StageError when the vector is not finite or a shape does not fit the index.
    """
    if vector.shape != (index.d,) or not np.all(np.isfinite(vector)):
        raise StageError(f"found a query vector of shape {vector.shape} or not finite, expected ({index.d},) finite")
    if allowed is not None and allowed.shape != (index.ntotal,):
        raise StageError(f"found a mask of shape {allowed.shape}, expected ({index.ntotal},), one for each item")
    n_allowed = index.ntotal if allowed is None else int(np.count_nonzero(allowed))
    k = min(k, n_allowed)
    if k < 1 or not np.any(vector):
        return np.empty(0, np.intp), np.empty(0, np.float32)
    faiss.omp_set_num_threads(1)  # the setting is per thread; requests run side by side, so one core each
    bits = None if allowed is None else np.packbits(allowed, bitorder="little")  # must outlive the search
    selector = None if bits is None else faiss.IDSelectorBitmap(bits)
    parameters = None if selector is None else faiss.SearchParameters(sel=selector)
    scores, rows = index.search(np.ascontiguousarray(vector[None], np.float32), k, params=parameters)
    order = rank_order(scores[0], rows[0])
    return rows[0][order].astype(np.intp), scores[0][order]
