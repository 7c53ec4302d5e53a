"""
How long the 100 nearest of a space take, and how many of the true ones are found, by size of the catalogue.

    python benchmarks/retrieval.py [--sizes 10000 100000 1000000] [--d 64]

Made-up vectors: items in clusters of several sizes, longer and shorter ones; people between twelve items of
three clusters each. Beside
each time stands the flat index's in the same run. Masks allow a random share of the items, or whole clusters (as a
language does). Times are of the processor. Nothing is asserted.
"""

import argparse
import os
import platform
from time import process_time

import faiss
import numpy as np
from numpy.typing import NDArray

from recsys.models.index import FLAT_BELOW, build_index, describe_index, search

Vectors = NDArray[np.float32]
PEOPLE = 200


def main() -> None:
    """One block per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--d", type=int, default=64)
    chosen = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, one used; faiss {faiss.__version__}; flat below {FLAT_BELOW:,}"
    )
    faiss.omp_set_num_threads(1)
    for n in chosen.sizes:
        measure(n, chosen.d)


def world(n: int, d: int, rng: np.random.Generator) -> tuple[Vectors, NDArray[np.int64], Vectors]:
    """Item vectors (n, d), the cluster of each, and people (2 * PEOPLE, d)."""
    centres = rng.standard_normal((max(50, int(n**0.5) // 2), d)).astype(np.float32)
    cluster = rng.integers(len(centres), size=n)
    items = centres[cluster] + 0.7 * rng.standard_normal((n, d), np.float32)
    items *= rng.lognormal(0, 0.5, (n, 1)).astype(np.float32)
    of_cluster = np.argsort(cluster, kind="stable")
    starts = np.searchsorted(cluster[of_cluster], rng.integers(len(centres), size=(2 * PEOPLE, 3)))
    liked = of_cluster[
        np.minimum(starts[:, :, None] + rng.integers(n // len(centres) // 2, size=(2 * PEOPLE, 3, 4)), n - 1)
    ]
    return items, cluster, items[liked.reshape(2 * PEOPLE, -1)].mean(axis=1)


def measure(n: int, d: int) -> None:
    """Print what is chosen and what it does under each mask."""
    rng = np.random.default_rng(0)
    items, cluster, people = world(n, d, rng)
    started = process_time()
    index = build_index(items, people[:PEOPLE])
    seconds = process_time() - started
    print(f"\n{n:,} items of {d}: built in {seconds:.1f} s; {describe_index(index, items, people[:PEOPLE])}")
    flat = faiss.IndexFlatIP(d)
    flat.add(items)
    masks = {"all": None, **{f"a random {share:.0%}": rng.random(n) < share for share in (0.5, 0.1, 0.01)}}
    for share in (0.5, 0.1):
        masks[f"{share:.0%} of the clusters"] = np.isin(cluster, np.flatnonzero(rng.random(cluster.max() + 1) < share))
    for name, allowed in masks.items():
        times: dict[str, list[float]] = {"index": [], "flat": []}
        hits = []
        for person in people[PEOPLE:]:
            rows_by_kind = {}
            for kind, candidate in (("index", index), ("flat", flat)):
                started = process_time()
                rows_by_kind[kind] = search(candidate, person, 100, allowed)[0]
                times[kind].append(process_time() - started)
            approximate, flat_rows = rows_by_kind["index"], rows_by_kind["flat"]
            hits.append(len(np.intersect1d(approximate, flat_rows)) / max(len(flat_rows), 1))
        indexed, exact = (np.median(times[kind]) * 1_000 for kind in ("index", "flat"))
        print(f"  {name:>22}: {indexed:8.3f} ms, {indexed / exact:5.2f} times flat; recall@100 {np.mean(hits):.4f}")


if __name__ == "__main__":
    main()
