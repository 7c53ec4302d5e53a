"""
Near-duplicates among made-up uploads: time and memory at a size, what is found of each kind of copy, and who is joined
by mistake.

    python benchmarks/duplicates.py [--items 100000] [--copies 0.03]

A share of the uploads are copies of earlier ones, by another creator or by the same one: the file with a caption of its
own, the same words at the same length, words with an ending of their own, and the words at another length. A twentieth
of all captions are set phrases. The platform knows the hash of half of the files. Nothing is asserted: machines differ.
"""

import argparse
import resource
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np
import polars as pl

from recsys.data.copies import copies_of, with_wordings
from recsys.text.duplicates import joins_of, through_hash, through_words
from recsys.types import Longs

KINDS: Final = ("file", "words and length", "words with an ending", "words alone", "own words alone")
PHRASES: Final = ("#fyp", "part 2", "good morning", "تصبحون على خير", "follow me for more")
_EDITS: Final = ("{} (repost)", "🔁 {} again", "{} #fyp", "{} part 2")
_LETTERS: Final = "abdefhiklmnorstuwy3579"
_ASKED: Final = 200  # copies whose joins are looked up one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUploads:
    """Uploads in contract columns; `original` (n,) the row of the original of each, `kind` (n,) of `KINDS`, -1 none."""

    items: pl.DataFrame
    original: Longs
    kind: Longs


def make(n: int, copies: float, seed: int) -> MadeUploads:
    """Made-up uploads, oldest first."""
    rng = np.random.default_rng(seed)
    vocabulary = ["".join(rng.choice(list(_LETTERS), rng.integers(2, 9))) for _ in range(20_000)]
    share = 1 / np.arange(1, len(vocabulary) + 1)
    words = rng.choice(len(vocabulary), (n, 16), p=share / share.sum())
    sizes = rng.integers(4, 17, n)
    titles = [
        " ".join(vocabulary[w] for w in row[:size]) for row, size in zip(words.tolist(), sizes.tolist(), strict=True)
    ]
    for row in np.flatnonzero(rng.random(n) < 0.05).tolist():
        titles[row] = PHRASES[int(rng.integers(len(PHRASES)))]
    durations = rng.lognormal(np.log(32), 0.5, n).round(1)
    creators, hashes = rng.integers(0, max(1, n // 12), n), rng.integers(1, 2**63, n, np.uint64)
    is_known = rng.random(n) < 0.5
    original, kind = np.arange(n), np.full(n, -1)
    for row in range(round(n * (1 - copies)), n):
        source = int(rng.integers(0, round(n * (1 - copies))))
        original[row], kind[row] = source, rng.integers(len(KINDS))
        name = KINDS[kind[row]]
        if name == "file":
            hashes[row], is_known[row] = hashes[source], is_known[source]
        else:
            edit = _EDITS[int(rng.integers(len(_EDITS)))] if name == "words with an ending" else "{}"
            titles[row] = edit.format(titles[source])
        if name != "words alone" and name != "own words alone":
            durations[row] = durations[source]
        if name == "own words alone":
            creators[row] = creators[source]
    items = pl.DataFrame(
        {
            "creator_id": [f"c{number}" for number in creators.tolist()],
            "published_at": np.arange(n),
            "title": titles,
            "text": pl.Series([None] * n, dtype=pl.String),
            "duration_s": durations,
            "perceptual_hash": [f"{h:016x}" if k else None for h, k in zip(hashes.tolist(), is_known, strict=True)],
        }
    )
    return MadeUploads(items=items, original=original, kind=kind)


def main() -> None:
    """Makes uploads, joins them, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--copies", type=float, default=0.03)
    arguments = parser.parse_args()
    made = make(arguments.items, arguments.copies, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    started = perf_counter()
    items = with_wordings(made.items)
    worded = perf_counter()
    copies = copies_of(items)
    joined = perf_counter()
    through_words(copies, np.ones(len(copies), np.int64))
    raised = perf_counter()
    print(f"{len(items):,} uploads: wordings {worded - started:.1f} s, joins {joined - worded:.1f} s, "
          f"one pass of tiers {raised - joined:.2f} s")  # fmt: skip
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2:.2f} GiB, data {before:.2f} GiB")
    rng = np.random.default_rng(1)
    for number, name in enumerate(KINDS):
        rows = np.flatnonzero(made.kind == number)
        asked = rng.permutation(rows)[:_ASKED].tolist()
        found = [any(join.item_no == made.original[row] for join in joins_of(copies, row)) for row in asked]
        print(f"{name}: {np.mean(found):.3f} of {len(rows):,} joined to their original")
    originals = items.filter(pl.Series(made.kind < 0))
    wrong, everybody = copies_of(originals), np.ones(len(originals), np.int64)
    n_wrong = np.count_nonzero(through_hash(wrong, everybody) | through_words(wrong, everybody))
    print(f"originals joined to what they are no copy of: {n_wrong:,} of {len(originals):,}")


if __name__ == "__main__":
    main()
