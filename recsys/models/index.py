"""
The nearest items of a space, by FAISS, with the rules applied inside the search.

A small index is flat: exact, and as fast as anything. Above `FLAT_BELOW` numbers the vectors are divided into lists
around centres (IVF), and only the lists nearest to the user are searched. Their number is the smallest that finds
`RECALL` of the true 100 nearest for real users; where this is more than half of the lists, the index stays flat.
Their vectors stand in half precision: half of the bytes, which is half of the time of a search, for a recall that
differs by a ten-thousandth.
A mask is honoured inside the lists. The fewer items it allows, the more lists are searched, up to all of them, which is
exact. So a filter never leaves a page short because the nearest items were all forbidden.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

import faiss as _typed_faiss
import numpy as np
from numpy.typing import NDArray

from recsys.errors import StageError
from recsys.types import Floats, History, JsonObject, Mask, Rows, Space, rank_order

faiss: Any = _typed_faiss  # the types it ships are those of its C++ layer, not of its Python calls

FLAT_BELOW: Final = 2_000_000
"""Numbers: 31,250 items of 64, or 5,208 of 384."""

RECALL: Final = 0.98
_TARGET_RECALL: Final = 0.985
"""On the users it is measured with, so that others get `RECALL`."""

_RECALL_AT: Final = 100
MAX_QUERIES: Final = 200
"""Users with whose vectors recall is measured."""

_MIN_QUERIES: Final = 20
"""Users; with fewer, recall is a guess and the index stays flat."""

_SEED: Final = 1_234


class VectorIndex(Protocol):
    """A FAISS index, as far as Sanad uses it. `d` numbers in a vector, `ntotal` vectors."""

    d: int
    ntotal: int

    def search(self, x: Floats, k: int, *, params: object = None) -> tuple[Floats, NDArray[np.int64]]:
        """Scores and rows (q, k) of the nearest vectors; row -1 where there are fewer."""
        ...


class _InvertedLists(Protocol):
    """The sizes of an index with inverted lists: vectors, lists, and lists that a search probes."""

    ntotal: int
    nlist: int
    nprobe: int


def build_index(vectors: Floats, queries: Floats | None = None, *, flat_below: int = FLAT_BELOW) -> VectorIndex:
    """
    A FAISS index over (n, d) vectors by inner product: the one function that chooses which.

    `queries` (q, d) are vectors of users to measure recall with; without them the index is flat.
    Raises: StageError when a vector is not finite.
    """
    if not np.all(np.isfinite(vectors)):
        raise StageError("found item vectors with numbers that are not finite, expected finite numbers; fit again")
    vectors = np.ascontiguousarray(vectors, np.float32)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    if vectors.size < flat_below or queries is None or len(queries) < _MIN_QUERIES:
        return cast(VectorIndex, flat)
    return _build_lists(vectors, flat, np.ascontiguousarray(queries, np.float32)) or cast(VectorIndex, flat)


def _build_lists(vectors: Floats, flat: VectorIndex, queries: Floats) -> VectorIndex | None:
    """The index with as few probes as the recall needs; None when lists do not pay."""
    n, d = vectors.shape
    if np.abs(vectors).max() > np.finfo(np.float16).max:  # it would be infinite there, and never found
        return None
    half = faiss.ScalarQuantizer.QT_fp16  # of vectors as they are, not of what is left beside a centre
    centres = faiss.IndexFlatIP(d)
    index = faiss.IndexIVFScalarQuantizer(centres, d, int(2 * n**0.5), half, faiss.METRIC_INNER_PRODUCT, False)
    index.cp.niter, index.cp.max_points_per_centroid, index.cp.seed = 8, 64, _SEED
    index.train(vectors)
    index.add(vectors)
    index.nprobe = 4
    while index.nprobe <= index.nlist // 2:
        if measure_recall(index, flat, queries) >= _TARGET_RECALL:
            return cast(VectorIndex, index)
        index.nprobe *= 2
    return None


def measure_recall(index: VectorIndex, exact: VectorIndex, queries: Floats) -> float:
    """The share of the true 100 nearest that the index finds, over (q, d) queries; 1 for an exact one."""
    k = min(_RECALL_AT, index.ntotal)
    _, expected = exact.search(queries, k)
    _, retrieved = index.search(queries, k)
    hits = [len(np.intersect1d(a, b)) for a, b in zip(expected, retrieved, strict=True)]
    return float(np.mean(hits)) / max(k, 1) if len(queries) else 1.0


def sample_user_vectors(space: Space, histories: Mapping[str, History]) -> Floats:
    """(q, d) vectors of up to `MAX_QUERIES` users, evenly drawn, without those that the space does not know."""
    vectors = [space.fold_in(history) for history in sample_users(histories)]
    known = [vector for vector in vectors if np.any(vector)]
    return np.array(known, np.float32).reshape(-1, space.item_vectors.shape[1])


def sample_users(histories: Mapping[str, History]) -> list[History]:
    """Up to `MAX_QUERIES` histories, evenly drawn."""
    user_ids = list(histories)
    return [histories[user_id] for user_id in user_ids[:: max(1, len(user_ids) // MAX_QUERIES)][:MAX_QUERIES]]


def describe_index(index: VectorIndex, vectors: Floats, queries: Floats) -> JsonObject:
    """What the manifest says of an index: its kind, and recall@100 against exact search, measured for real users."""
    if not isinstance(index, faiss.IndexIVF):
        return {"kind": "flat", "recall_at_100": 1.0}
    lists = cast(_InvertedLists, index)
    exact = faiss.IndexFlatIP(index.d)
    exact.add(np.ascontiguousarray(vectors, np.float32))
    recall = measure_recall(index, exact, np.ascontiguousarray(queries, np.float32))
    return {"kind": "ivf", "lists": lists.nlist, "probes": lists.nprobe, "recall_at_100": round(recall, 4)}


def write_index(path: Path, vectors: Floats, queries: Floats | None = None) -> JsonObject:
    """Builds the index of (n, d) vectors, writes it to `path`, and returns its description."""
    index = build_index(vectors, queries)
    faiss.write_index(index, str(path))
    return describe_index(index, vectors, np.empty((0, vectors.shape[1]), np.float32) if queries is None else queries)


def open_index(path: Path) -> VectorIndex:
    """The index in `path`, its vectors mapped rather than read. Raises RuntimeError when it is no index."""
    return cast(VectorIndex, faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))


def search(index: VectorIndex, vector: Floats, k: int, allowed: Mask | None = None) -> tuple[Rows, Floats]:
    """
    The k rows with the largest inner product, best first, equal ones by the smaller row; at most k are returned, and
    k whenever so many are allowed.

    Shapes: vector (d,); allowed (n,) True = may be returned; returns rows (m,) and scores (m,), m <= k.
    Empty:  a vector of zeros (a user about whom nothing is known) retrieves nothing, rather than anything.
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
    rows, scores = _search_rows(index, vector, k, allowed, _count_probes(index, n_allowed))
    if len(rows) < k:  # the lists that were searched held too few: search all of them
        rows, scores = _search_rows(index, vector, k, allowed, cast(_InvertedLists, index).nlist)
    order = rank_order(scores, rows.astype(np.int32))
    return rows[order].astype(np.intp), scores[order]


def _count_probes(index: VectorIndex, n_allowed: int) -> int:
    """
    How many lists to search, 0 for an exact index. The fewer rows are allowed, the further apart they are: the square
    root of how much fewer was measured to be enough.
    """
    if not isinstance(index, faiss.IndexIVF):
        return 0
    lists = cast(_InvertedLists, index)
    probes = int(np.ceil(lists.nprobe * (lists.ntotal / n_allowed) ** 0.5))
    return lists.nlist if probes > lists.nlist // 2 else probes


def _search_rows(
    index: VectorIndex, vector: Floats, k: int, allowed: Mask | None, probes: int
) -> tuple[NDArray[np.int64], Floats]:
    """Rows and scores as FAISS returns them, without its -1 where nothing is left."""
    faiss.omp_set_num_threads(1)  # the setting is per thread; requests run side by side, so one core each
    bits = None if allowed is None else np.packbits(allowed, bitorder="little")  # must outlive the search
    selector = None if bits is None else faiss.IDSelectorBitmap(bits)
    if probes:
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=probes)
    else:
        parameters = None if selector is None else faiss.SearchParameters(sel=selector)
    scores, rows = index.search(np.ascontiguousarray(vector[None], np.float32), k, params=parameters)
    is_row = rows[0] >= 0
    return rows[0][is_row], scores[0][is_row]
