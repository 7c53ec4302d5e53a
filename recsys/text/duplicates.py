"""
Near-duplicates of a whole catalogue: re-uploads with another ending, other hashtags or another crop are one cluster.

Two items are near-duplicates when they say the same; when both videos run for the same time and their titles, or
titles and captions together, share most of their short runs of letters (MinHash, found by locality-sensitive
hashing); or when the platform's perceptual hashes differ in at most six of 64 bits. Titles are often set phrases
("day 3", "day 4"), so without the same duration a like title proves nothing.

A cluster is named after its earliest item, its head, and every member is like the head itself, so a long chain of
small edits cannot tie unlike items together, and a new item never renames an old cluster.

Sources: Broder 1997 (resemblance), Indyk and Motwani 1998 (banding).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.progress import Progress, quiet
from recsys.text.clusters import cluster_id, words_of

Pairs = NDArray[np.int64]  # (n, 2) rows, the smaller first

SHINGLE: Final = 4  # letters
BANDS: Final = 16
ROWS_PER_BAND: Final = 4
N_HASHES: Final = BANDS * ROWS_PER_BAND
CHUNK: Final = 20_000  # rows; keeps the working memory at some tens of megabytes
IN_CACHE: Final = 1_000  # texts whose runs a processor's cache holds
BLANK_HASHES: Final = (0, 2**64 - 1)  # of a black or a white frame: says nothing
_SEED: Final = 20_261_120


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateParams:
    """
    `least_overlap`: the share of letter runs that two texts must have in common (Jaccard). Texts shorter than
    `least_length` letters must be equal: of so few letters, the overlap is chance. Videos run for the same time when
    they differ by at most half of `grid_s` seconds. `most_bits` (at most 7) by which two perceptual hashes may differ.
    """

    least_overlap: float = 0.65
    least_length: int = 20
    grid_s: float = 0.4
    most_bits: int = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Uploads:
    """
    What is compared, n items in any order. `published_at` (n,) decides who is the original (ties: the first row).

    `durations_s` (n,) seconds, NaN = unknown. `perceptual_hashes`: 16 hexadecimal digits, or None.
    """

    titles: Sequence[str]
    texts: Sequence[str | None]
    published_at: NDArray[np.int64]
    durations_s: NDArray[np.float64]
    perceptual_hashes: Sequence[str | None]


def heads(uploads: Uploads, params: DuplicateParams, on_progress: Progress = quiet) -> NDArray[np.int64]:
    """(n,) the head of every item's cluster, as a row; an item without a copy is its own head."""
    n = len(uploads.titles)
    by_age = np.lexsort((np.arange(n), uploads.published_at))
    rank = np.empty(n, np.int64)
    rank[by_age] = np.arange(n)
    titles = [words_of(title) for title in uploads.titles]
    whole = [f"{title} {words_of(text or '')}".strip() for title, text in zip(titles, uploads.texts, strict=True)]
    lasts, grid = uploads.durations_s, params.grid_s
    cells = np.column_stack([np.floor(lasts / grid), np.floor(lasts / grid + 0.5)])
    timed = by_age[np.isfinite(lasts[by_age])]
    alike = [
        timed[_alike([said[row] for row in timed.tolist()], lasts[timed], cells[timed], params, on_progress)]
        for said in (titles, whole)
    ]
    equal = by_age[_equal([whole[row] for row in by_age.tolist()])]
    same_picture, pictures = _alike_pictures(uploads.perceptual_hashes, rank, params.most_bits)
    found = _gathered(np.concatenate([*alike, equal, same_picture, pictures]), rank)
    return _kept_together(_kept_together(found, same_picture), equal)  # words last: the service goes by them


# --- texts ---


def _equal(said: Sequence[str]) -> Pairs:
    """Pairs of items that say the same, each with the first."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(text, row), row) for row, text in enumerate(said) if text]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def _alike(
    said: Sequence[str],
    durations_s: NDArray[np.float64],
    cells: NDArray[np.float64],
    params: DuplicateParams,
    on_progress: Progress,
) -> Pairs:
    """
    Pairs of items, oldest first, that say almost the same and run for the same time.

    `cells` (n, 2): the durations on two grids, half a cell apart; durations that are near share a cell of one.
    """
    rows = np.array([row for row, text in enumerate(said) if len(text) >= params.least_length], np.int64)
    if not len(rows):
        return np.empty((0, 2), np.int64)
    signatures = minhash([said[row] for row in rows.tolist()], on_progress)
    lasts = durations_s[rows]

    def verified(pairs: Pairs) -> Pairs:
        is_near = np.abs(lasts[pairs[:, 0]] - lasts[pairs[:, 1]]) <= params.grid_s / 2
        return _verified(pairs[is_near], signatures, params.least_overlap)

    near = verified(candidates(signatures, cells[rows]))
    head = _gathered(near, np.arange(len(rows)))
    # a copy of a copy was perhaps never compared with the original
    proposed = np.column_stack([head[near[:, 0]], near[:, 1]])
    near = np.concatenate([near, verified(proposed[proposed[:, 0] != near[:, 0]])])
    return np.asarray(rows[near], np.int64)


def _verified(pairs: Pairs, signatures: NDArray[np.uint32], least_overlap: float) -> Pairs:
    """The pairs whose signatures agree often enough."""
    kept = [
        part[np.mean(signatures[part[:, 0]] == signatures[part[:, 1]], axis=1) >= least_overlap]
        for part in (pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK))
    ]
    return np.concatenate([np.empty((0, 2), np.int64), *kept])


def minhash(said: Sequence[str], on_progress: Progress = quiet) -> NDArray[np.uint32]:
    """
    (n, N_HASHES) signatures: the share of equal columns of two rows estimates the overlap of their letter runs.

    The standard error is 0.06 at an overlap of one half. Texts shorter than a run count as one run.
    """
    rng = np.random.default_rng(_SEED)
    factors = rng.integers(1, 2**63, N_HASHES, np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = rng.integers(0, 2**63, N_HASHES, np.uint64)
    signatures = np.empty((len(said), N_HASHES), np.uint32)
    for start in range(0, len(said), IN_CACHE):
        runs, begins = _shingles(said[start : start + IN_CACHE])
        mixed = np.empty_like(runs)
        for column in range(N_HASHES):
            np.multiply(runs, factors[column], out=mixed)
            np.add(mixed, shifts[column], out=mixed)
            signatures[start : start + len(begins), column] = np.minimum.reduceat(mixed, begins) >> np.uint64(32)
        on_progress("near-duplicates", start + len(begins), len(said))
    return signatures


def _shingles(said: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hashed letter runs of all texts one after the other, and where each text's runs begin."""
    padded = [text if len(text) >= SHINGLE else text.ljust(SHINGLE) for text in said]
    lengths = np.array([len(text) for text in padded], np.int64)
    letters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    mixed = np.zeros(len(letters) - SHINGLE + 1, np.uint64)
    for offset in range(SHINGLE):
        mixed = (mixed ^ letters[offset : len(letters) - SHINGLE + 1 + offset]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    ends = np.cumsum(lengths)
    is_inside = np.ones(len(letters), np.bool_)
    for back in range(1, SHINGLE):
        is_inside[ends - back] = False  # a run must not reach into the next text
    runs = mixed[is_inside[: len(mixed)]]
    counts = lengths - SHINGLE + 1
    return runs, np.cumsum(counts) - counts


def candidates(signatures: NDArray[np.uint32], cells: NDArray[np.float64]) -> Pairs:
    """
    Pairs that agree in all columns of one band and in their cell: every row with the first of its bucket, and with
    the one before it.

    So a bucket of n rows costs 2n comparisons, not n squared. Of two texts with an overlap of 0.65 this finds 95 %.
    `cells` (n, 2): the first counts in even bands, the second in odd ones.
    """
    found: list[Pairs] = []
    for band in range(BANDS):
        of_band = signatures[:, band * ROWS_PER_BAND : (band + 1) * ROWS_PER_BAND]
        mixed = _mixed(np.column_stack([of_band.astype(np.uint64), cells[:, band % 2].astype(np.uint64)]))
        order = np.argsort(mixed, kind="stable")
        is_new = np.concatenate([[True], mixed[order][1:] != mixed[order][:-1]])
        begins = np.flatnonzero(is_new)
        leader = np.repeat(order[begins], np.diff(np.concatenate([begins, [len(order)]])))
        found.append(np.column_stack([leader, order])[~is_new])
        found.append(np.column_stack([order[:-1], order[1:]])[~is_new[1:]])
    pairs = np.concatenate(found)
    joined = np.unique(pairs[:, 0] * len(signatures) + pairs[:, 1])  # rows of a bucket stand in their order
    return np.column_stack([joined // len(signatures), joined % len(signatures)])


def _mixed(part: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(n,) one hash of each row."""
    mixed = np.zeros(len(part), np.uint64)
    for column in range(part.shape[1]):
        mixed = (mixed ^ part[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


# --- pictures ---


def _alike_pictures(hashes: Sequence[str | None], rank: NDArray[np.int64], most_bits: int) -> tuple[Pairs, Pairs]:
    """
    Pairs of items with equal perceptual hashes, and with near ones. Of equal hashes only the oldest item's is
    compared with others; blank frames not at all.

    Of 64 bits in four parts, two hashes at a distance of at most 7 differ by at most one bit in some part: so each
    part is looked up as it is and with each of its 16 bits turned.
    """
    by_rank = np.argsort(rank)
    known = np.array([row for row in by_rank.tolist() if hashes[row] is not None], np.int64)
    if not len(known):
        return np.empty((0, 2), np.int64), np.empty((0, 2), np.int64)
    bits = np.array([int(hashes[row] or "0", 16) for row in known.tolist()], np.uint64)
    says = ~np.isin(bits, np.array(BLANK_HASHES, np.uint64))
    known, bits = known[says], bits[says]
    unique, first, inverse = np.unique(bits, return_index=True, return_inverse=True)
    same = np.column_stack([known[first[inverse]], known])
    near = known[first[_near_hashes(unique, most_bits)]]
    is_backwards = rank[near[:, 0]] > rank[near[:, 1]]
    near[is_backwards] = near[is_backwards][:, ::-1]
    return same[same[:, 0] != same[:, 1]], near


def _near_hashes(unique: NDArray[np.uint64], most_bits: int) -> Pairs:
    """Pairs of positions whose hashes differ in at most `most_bits` (at most 7) bits."""
    found = [np.empty((0, 2), np.int64)]
    for part in range(4):
        keys = ((unique >> np.uint64(16 * part)) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        begins = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=2**16))])
        for start in range(0, len(unique), CHUNK):
            some = order[start : start + CHUNK]  # neighbours ask for the same buckets
            for flip in (0, *(1 << bit for bit in range(16))):
                wanted = keys[some] ^ flip
                left, right = _bucket_pairs(some, order, begins[wanted], begins[wanted + 1])
                is_near = (left < right) & (np.bitwise_count(unique[left] ^ unique[right]) <= most_bits)
                found.append(np.column_stack([left[is_near], right[is_near]]))
    joined = np.unique(np.concatenate(found) @ np.array([len(unique), 1]))
    return np.column_stack([joined // len(unique), joined % len(unique)])


def _bucket_pairs(
    some: NDArray[np.int64], order: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each position of `some` beside every position of its bucket `order[begin:end]`."""
    counts = ends - begins
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(some, counts), order[np.repeat(begins, counts) + within]


# --- clusters ---


def _gathered(pairs: Pairs, rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """
    The head of every row: the earliest row it is paired with that is a head itself, else the row.

    Pairs hold the earlier row first.
    """
    head = np.arange(len(rank))
    for first, second in pairs[np.lexsort((rank[pairs[:, 0]], rank[pairs[:, 1]]))].tolist():
        if head[second] == second and head[first] == first:
            head[second] = first
    return head


def _kept_together(head: NDArray[np.int64], equal: Pairs) -> NDArray[np.int64]:
    """The heads in which equal items share one, whichever cluster the first of them is in."""
    head = head.copy()
    head[equal[:, 1]] = head[equal[:, 0]]
    while np.any(head[head] != head):
        head = head[head]
    return head


def with_clusters(items: pl.DataFrame, params: DuplicateParams, on_progress: Progress = quiet) -> pl.DataFrame:
    """
    The items with `said_id`, the hash of what each says, and `cluster_id`, that of its cluster's head.

    So the service finds the cluster of a new item that says what a known one says, and a cluster keeps its id as long
    as its head is in the data.
    """
    duration = items["duration_s"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    uploads = Uploads(
        titles=items["title"].to_list(),
        texts=items["text"].to_list(),
        published_at=items["published_at"].to_numpy(),
        durations_s=duration,
        perceptual_hashes=items["perceptual_hash"].to_list(),
    )
    said = [cluster_id(*row) for row in items.select("item_id", "title", "text").iter_rows()]
    head = heads(uploads, params, on_progress)
    return items.with_columns(
        pl.Series("said_id", said, pl.String), pl.Series("cluster_id", [said[row] for row in head.tolist()], pl.String)
    )
