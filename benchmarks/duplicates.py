"""
Clusters of near-duplicates among made-up captions: time, memory and recall at a size.

    python benchmarks/duplicates.py [--items 100000] [--copies 0.03]

A share of the captions are copies of earlier ones with an ending, a beginning or a hashtag of their own, at the same
duration; half of them have a perceptual hash three bits away from the original's. Nothing is asserted: machines differ.
"""

import argparse
import resource
from time import perf_counter

import numpy as np

from recsys.text.duplicates import DuplicateParams, Uploads, cluster_heads

_EDITS = ("{} (repost)", "🔁 {}", "{} #fyp", "« {} »", "{} 🔥🔥", "{} part 2")
_LETTERS = "abdefhiklmnorstuwy3579"


def make(n: int, copies: float, seed: int) -> tuple[Uploads, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Uploads and the row of the original of each."""
    rng = np.random.default_rng(seed)
    vocabulary = ["".join(rng.choice(list(_LETTERS), rng.integers(2, 9))) for _ in range(20_000)]
    share = 1 / np.arange(1, len(vocabulary) + 1)
    words = rng.choice(len(vocabulary), (n, 16), p=share / share.sum())
    sizes = rng.integers(4, 17, n)
    titles = [
        " ".join(vocabulary[w] for w in row[:size]) for row, size in zip(words.tolist(), sizes.tolist(), strict=True)
    ]
    durations = rng.lognormal(np.log(32), 0.5, n).round(1)
    hashes = rng.integers(1, 2**63, n, np.uint64)
    original = np.arange(n)
    for row in range(round(n * (1 - copies)), n):
        source = int(rng.integers(0, round(n * (1 - copies))))
        original[row] = source
        titles[row] = _EDITS[int(rng.integers(len(_EDITS)))].format(titles[source])
        durations[row] = durations[source]
        hashes[row] = hashes[source] ^ np.uint64(0b1000010000001)
    seen = rng.random(n) < 0.5
    return Uploads(
        titles=titles,
        texts=[None] * n,
        published_at=np.arange(n),
        durations_s=durations,
        perceptual_hashes=[f"{int(h):016x}" if known else None for h, known in zip(hashes, seen, strict=True)],
    ), original


def main() -> None:
    """Makes, clusters, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--copies", type=float, default=0.03)
    options = parser.parse_args()
    uploads, original = make(options.items, options.copies, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    started = perf_counter()
    heads = cluster_heads(uploads, DuplicateParams())
    seconds = perf_counter() - started
    is_copy, is_detected = original != np.arange(options.items), heads != np.arange(options.items)
    right = is_copy & (heads == original)
    print(f"{options.items:,} items: {seconds:.1f} s, {options.items / seconds:,.0f} items/s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2:.2f} GiB, data {before:.2f} GiB")
    print(
        f"copies {is_copy.sum():,}: found {right.sum() / is_copy.sum():.3f}; of those named copies, right "
        f"{right.sum() / max(1, is_detected.sum()):.3f}"
    )


if __name__ == "__main__":
    main()
