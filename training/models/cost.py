"""
What it costs to fit a base model: multiplications and bytes, estimated from the sizes of a matrix before anything runs.

| model | multiplications |
|---|---|
| `popularity` | interactions |
| `graph_filter`, `bm25` | pairs of interactions of one user, sparse |
| `spectral` | interactions x factors x 10, sparse, and items x factors^2 x 5 |
| `ials` | passes x interactions x factors x the smaller of factors and a row's interactions, and a solve for each row |
| `ease` | items^3, and pairs of interactions of one user, sparse |
| `bpr` | passes x interactions x factors x 6, sparse |
| `next_item` | interactions x steps, sparse |

A sparse multiplication counts ten times: it waits for memory. The estimate orders candidates and limits a search; it
promises no seconds. It never falls when a matrix, an embedding or a number of passes grows.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from recsys.models.bpr import BPRParams
from recsys.models.ease import EASEParams
from recsys.models.graph_filter import GraphFilterParams
from recsys.models.ials import IALSParams
from recsys.models.item_knn import BM25Params
from recsys.models.next_item import NextItemParams
from recsys.models.spectral import SpectralParams
from recsys.types import Csr, Reals

SPARSE: Final = 10.0
_OVERSAMPLED: Final = 16  # singular vectors beyond those that are kept
_FLOAT, _ENTRY = 4, 12  # bytes of a number, and of a sparse entry with its column
_BLOCKS: Final = 64_000_000  # bytes of the blocks in which rows are solved and counted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatrixSize:
    """Shapes: `by_user` (n_users,) and `by_item` (n_items,) numbers of interactions."""

    by_user: Reals
    by_item: Reals

    @property
    def n_pairs(self) -> float:
        """Interactions."""
        return float(self.by_user.sum())

    @property
    def n_paths(self) -> float:
        """Pairs of interactions of one user, summed over users."""
        return float((self.by_user**2).sum())

    @property
    def n_rows(self) -> int:
        """Users and items."""
        return len(self.by_user) + len(self.by_item)

    def limit_factors(self, embedding_size: int) -> int:
        """The factors that a space of this size can have."""
        return max(1, min(embedding_size, len(self.by_user), len(self.by_item)))


def measure_matrix(signed: Csr) -> MatrixSize:
    """The size of a CSR matrix (n_users, n_items)."""
    by_user = np.diff(signed.indptr).astype(np.float64)
    by_item = np.bincount(signed.indices, minlength=signed.shape[1]).astype(np.float64)
    return MatrixSize(by_user=by_user, by_item=by_item)


@dataclass(frozen=True, slots=True)
class Cost:
    """Multiplications, and the most bytes that a fit holds beside the matrix."""

    work: float
    memory: float


def estimate_cost(size: MatrixSize, params: object) -> Cost:
    """The cost of one fit with these parameters. Parameters of an unknown kind only count interactions."""
    estimate = _ESTIMATES.get(type(params))
    return Cost(size.n_pairs, _FLOAT * size.n_pairs) if estimate is None else estimate(size, params)


def _neighbours(size: MatrixSize, params: "GraphFilterParams | BM25Params") -> Cost:
    n_items = len(size.by_item)
    memory = 3 * _ENTRY * n_items * min(params.n_neighbours + 1, n_items) + 2 * _ENTRY * size.n_pairs
    return Cost(SPARSE * (size.n_paths + size.n_pairs), memory)


def _spectral(size: MatrixSize, params: SpectralParams) -> Cost:
    d, n_items = size.limit_factors(params.embedding_size) + _OVERSAMPLED, len(size.by_item)
    memory = _FLOAT * d * (3 * n_items + len(size.by_user)) + 2 * _ENTRY * size.n_pairs
    return Cost(SPARSE * 10 * size.n_pairs * d + 5.0 * n_items * d * d, memory)


def _ials(size: MatrixSize, params: IALSParams) -> Cost:
    d = size.limit_factors(params.embedding_size)
    rows = np.concatenate([size.by_user, size.by_item])
    wide, narrow = rows * d**2 + d**3 / 3, rows**2 * d + rows**3 / 3  # see `recsys.models.solver`
    start = SPARSE * 6 * size.n_pairs * (d + _OVERSAMPLED)
    memory = _FLOAT * d * (size.n_rows + 2 * len(size.by_item)) + 3 * _ENTRY * size.n_pairs + _BLOCKS
    return Cost(start + params.epochs * float(np.minimum(wide, narrow).sum()), memory)


def _ease(size: MatrixSize, params: EASEParams) -> Cost:
    n_items = float(len(size.by_item))
    return Cost(n_items**3 + SPARSE * size.n_paths, 3 * _FLOAT * n_items**2)


def _bpr(size: MatrixSize, params: BPRParams) -> Cost:
    d = params.embedding_size + 1
    memory = _FLOAT * d * (size.n_rows + 2 * len(size.by_item)) + 2 * _ENTRY * size.n_pairs
    return Cost(SPARSE * 6 * params.epochs * size.n_pairs * d, memory)


def _next_item(size: MatrixSize, params: NextItemParams) -> Cost:
    memory = 3 * _ENTRY * size.n_pairs * params.max_steps + _BLOCKS
    return Cost(SPARSE * size.n_pairs * params.max_steps, memory)


_ESTIMATES: Final[Mapping[type, Callable[..., Cost]]] = {
    GraphFilterParams: _neighbours,
    BM25Params: _neighbours,
    SpectralParams: _spectral,
    IALSParams: _ials,
    EASEParams: _ease,
    BPRParams: _bpr,
    NextItemParams: _next_item,
}


def free_memory() -> float:
    """Bytes that this process may still take, by the system and by its control group; infinite where none says."""
    limits = [_free_of_system(Path("/proc/meminfo")), _free_of_group(Path("/sys/fs/cgroup"))]
    known = [limit for limit in limits if limit is not None]
    if known:
        return min(known)
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _free_of_system(path: Path) -> float | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _free_of_group(folder: Path) -> float | None:
    """What a container may take; what it holds of files is given back when it is needed, and counts as free."""
    try:
        most, used = (folder / "memory.max").read_text().strip(), float((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    files = next((float(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0.0)
    return None if most == "max" else float(most) - used + files
