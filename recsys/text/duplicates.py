"""
Near-duplicates of a whole catalogue: re-uploads with another ending, other hashtags or another crop are one cluster.

Two items are near-duplicates in three cases. Their texts are equal. Or both videos have the same duration, and their
titles, or titles and captions together, share most of their character n-grams (MinHash, found by locality-sensitive
hashing). Or the platform's perceptual hashes differ in at most six of 64 bits. Titles are often set phrases ("day 3",
"day 4"), so without the same duration a similar title proves nothing.

A cluster is named after its earliest item, its head, and every member is similar to the head itself. So a long chain of
small edits cannot merge unlike items, and a new item never renames an old cluster.

Sources: Broder 1997 (resemblance), Indyk and Motwani 1998 (banding).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.progress import Progress, quiet
from recsys.text.clusters import bare_words, cluster_id
from recsys.types import Longs, Reals

Pairs = Longs  # (n, 2) rows, the smaller first

NGRAM_LENGTH: Final = 4  # characters
BANDS: Final = 16
ROWS_PER_BAND: Final = 4
N_HASHES: Final = BANDS * ROWS_PER_BAND
PAIRS_PER_CHUNK: Final = 20_000  # rows; keeps the working memory at some tens of megabytes
TEXTS_PER_BLOCK: Final = 1_000  # whose n-grams fit into a processor's cache
BLANK_HASHES: Final = (0, 2**64 - 1)  # of a black or a white frame, which many videos have
_SEED: Final = 20_261_120


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateParams:
    """
    `min_overlap`: the share of n-grams that two texts must have in common (Jaccard). Texts shorter than `min_length`
    characters must be equal: with so few, an overlap is chance. Durations are equal when they differ by at most half of
    `grid_s` seconds. `max_bits` (at most 7) by which two perceptual hashes may differ.
    """

    min_overlap: float = 0.65
    min_length: int = 20
    grid_s: float = 0.4
    max_bits: int = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Uploads:
    """
    The n items to compare, in any order. `published_at` (n,) decides who is the original (ties: the first row).

    `durations_s` (n,) seconds, NaN = unknown. `perceptual_hashes`: 16 hexadecimal digits, or None.
    """

    titles: Sequence[str]
    texts: Sequence[str | None]
    published_at: Longs
    durations_s: Reals
    perceptual_hashes: Sequence[str | None]


def cluster_heads(uploads: Uploads, params: DuplicateParams, on_progress: Progress = quiet) -> Longs:
    """(n,) the head of every item's cluster, as a row; an item without a copy is its own head."""
    n = len(uploads.titles)
    by_age = np.lexsort((np.arange(n), uploads.published_at))
    rank = np.empty(n, np.int64)
    rank[by_age] = np.arange(n)
    titles = [bare_words(title) for title in uploads.titles]
    whole = [f"{title} {bare_words(text or '')}".strip() for title, text in zip(titles, uploads.texts, strict=True)]
    durations, grid = uploads.durations_s, params.grid_s
    cells = np.column_stack([np.floor(durations / grid), np.floor(durations / grid + 0.5)])
    timed = by_age[np.isfinite(durations[by_age])]
    similar = [
        timed[
            _similar_texts([texts[row] for row in timed.tolist()], durations[timed], cells[timed], params, on_progress)
        ]
        for texts in (titles, whole)
    ]
    equal = by_age[_equal_texts([whole[row] for row in by_age.tolist()])]
    equal_pictures, similar_pictures = _similar_pictures(uploads.perceptual_hashes, rank, params.max_bits)
    head = _heads_of_pairs(np.concatenate([*similar, equal, equal_pictures, similar_pictures]), rank)
    return _merge_equal(_merge_equal(head, equal_pictures), equal)  # texts last: the service goes by them


# --- texts ---


def _equal_texts(texts: Sequence[str]) -> Pairs:
    """Pairs of items with equal texts, each with the first."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(text, row), row) for row, text in enumerate(texts) if text]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def _similar_texts(
    texts: Sequence[str],
    durations_s: Reals,
    cells: Reals,
    params: DuplicateParams,
    on_progress: Progress,
) -> Pairs:
    """
    Pairs of items, oldest first, with similar texts and the same duration.

    `cells` (n, 2): the durations on two grids, half a cell apart; durations that are near share a cell of one.
    """
    rows = np.array([row for row, text in enumerate(texts) if len(text) >= params.min_length], np.int64)
    if not len(rows):
        return np.empty((0, 2), np.int64)
    signatures = minhash([texts[row] for row in rows.tolist()], on_progress)
    durations = durations_s[rows]

    def verify(pairs: Pairs) -> Pairs:
        is_near = np.abs(durations[pairs[:, 0]] - durations[pairs[:, 1]]) <= params.grid_s / 2
        return _verify(pairs[is_near], signatures, params.min_overlap)

    near = verify(candidate_pairs(signatures, cells[rows]))
    head = _heads_of_pairs(near, np.arange(len(rows)))
    # a copy of a copy was perhaps never compared with the original
    proposed = np.column_stack([head[near[:, 0]], near[:, 1]])
    near = np.concatenate([near, verify(proposed[proposed[:, 0] != near[:, 0]])])
    return np.asarray(rows[near], np.int64)


def _verify(pairs: Pairs, signatures: NDArray[np.uint32], min_overlap: float) -> Pairs:
    """The pairs whose signatures agree often enough."""
    verified = [
        part[np.mean(signatures[part[:, 0]] == signatures[part[:, 1]], axis=1) >= min_overlap]
        for part in (pairs[start : start + PAIRS_PER_CHUNK] for start in range(0, len(pairs), PAIRS_PER_CHUNK))
    ]
    return np.concatenate([np.empty((0, 2), np.int64), *verified])


def minhash(texts: Sequence[str], on_progress: Progress = quiet) -> NDArray[np.uint32]:
    """
    (n, N_HASHES) signatures: the share of equal columns of two rows estimates the overlap of their n-grams.

    The standard error is 0.06 at an overlap of one half. Texts shorter than an n-gram count as one.
    """
    rng = np.random.default_rng(_SEED)
    factors = rng.integers(1, 2**63, N_HASHES, np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = rng.integers(0, 2**63, N_HASHES, np.uint64)
    signatures = np.empty((len(texts), N_HASHES), np.uint32)
    for start in range(0, len(texts), TEXTS_PER_BLOCK):
        ngrams, begins = _hashed_ngrams(texts[start : start + TEXTS_PER_BLOCK])
        mixed = np.empty_like(ngrams)
        for column in range(N_HASHES):
            np.multiply(ngrams, factors[column], out=mixed)
            np.add(mixed, shifts[column], out=mixed)
            signatures[start : start + len(begins), column] = np.minimum.reduceat(mixed, begins) >> np.uint64(32)
        on_progress("near-duplicates", start + len(begins), len(texts))
    return signatures


def _hashed_ngrams(texts: Sequence[str]) -> tuple[NDArray[np.uint64], Longs]:
    """The hashed n-grams of all texts one after the other, and where those of each text begin."""
    padded = [text if len(text) >= NGRAM_LENGTH else text.ljust(NGRAM_LENGTH) for text in texts]
    lengths = np.array([len(text) for text in padded], np.int64)
    letters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    mixed = np.zeros(len(letters) - NGRAM_LENGTH + 1, np.uint64)
    for offset in range(NGRAM_LENGTH):
        mixed = (mixed ^ letters[offset : len(letters) - NGRAM_LENGTH + 1 + offset]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    ends = np.cumsum(lengths)
    is_inside = np.ones(len(letters), np.bool_)
    for back in range(1, NGRAM_LENGTH):
        is_inside[ends - back] = False  # an n-gram must not reach into the next text
    ngrams = mixed[is_inside[: len(mixed)]]
    counts = lengths - NGRAM_LENGTH + 1
    return ngrams, np.cumsum(counts) - counts


def candidate_pairs(signatures: NDArray[np.uint32], cells: Reals) -> Pairs:
    """
    Pairs that agree in all columns of one band and in their cell: every row with the first of its bucket, and with
    the row before it.

    So a bucket of n rows costs 2n comparisons, not n squared. Of two texts with an overlap of 0.65 this finds 95 %.
    `cells` (n, 2): the first counts in even bands, the second in odd ones.
    """
    pairs_by_band: list[Pairs] = []
    for band in range(BANDS):
        of_band = signatures[:, band * ROWS_PER_BAND : (band + 1) * ROWS_PER_BAND]
        mixed = _hash_rows(np.column_stack([of_band.astype(np.uint64), cells[:, band % 2].astype(np.uint64)]))
        order = np.argsort(mixed, kind="stable")
        is_new = np.concatenate([[True], mixed[order][1:] != mixed[order][:-1]])
        begins = np.flatnonzero(is_new)
        leader = np.repeat(order[begins], np.diff(np.concatenate([begins, [len(order)]])))
        pairs_by_band.append(np.column_stack([leader, order])[~is_new])
        pairs_by_band.append(np.column_stack([order[:-1], order[1:]])[~is_new[1:]])
    pairs = np.concatenate(pairs_by_band)
    joined = np.unique(pairs[:, 0] * len(signatures) + pairs[:, 1])  # rows of a bucket stand in their order
    return np.column_stack([joined // len(signatures), joined % len(signatures)])


def _hash_rows(part: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(n,) one hash of each row."""
    mixed = np.zeros(len(part), np.uint64)
    for column in range(part.shape[1]):
        mixed = (mixed ^ part[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


# --- pictures ---


def _similar_pictures(hashes: Sequence[str | None], rank: Longs, max_bits: int) -> tuple[Pairs, Pairs]:
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
    is_informative = ~np.isin(bits, np.array(BLANK_HASHES, np.uint64))
    known, bits = known[is_informative], bits[is_informative]
    unique, first, inverse = np.unique(bits, return_index=True, return_inverse=True)
    equal = np.column_stack([known[first[inverse]], known])
    near = known[first[_near_hashes(unique, max_bits)]]
    is_backwards = rank[near[:, 0]] > rank[near[:, 1]]
    near[is_backwards] = near[is_backwards][:, ::-1]
    return equal[equal[:, 0] != equal[:, 1]], near


def _near_hashes(unique: NDArray[np.uint64], max_bits: int) -> Pairs:
    """Pairs of positions whose hashes differ in at most `most_bits` (at most 7) bits."""
    pairs = [np.empty((0, 2), np.int64)]
    for part in range(4):
        keys = ((unique >> np.uint64(16 * part)) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        begins = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=2**16))])
        for start in range(0, len(unique), PAIRS_PER_CHUNK):
            block = order[start : start + PAIRS_PER_CHUNK]  # neighbours look up the same buckets
            for flip in (0, *(1 << bit for bit in range(16))):
                wanted = keys[block] ^ flip
                left, right = _bucket_pairs(block, order, begins[wanted], begins[wanted + 1])
                is_near = (left < right) & (np.bitwise_count(unique[left] ^ unique[right]) <= max_bits)
                pairs.append(np.column_stack([left[is_near], right[is_near]]))
    joined = np.unique(np.concatenate(pairs) @ np.array([len(unique), 1]))
    return np.column_stack([joined // len(unique), joined % len(unique)])


def _bucket_pairs(block: Longs, order: Longs, begins: Longs, ends: Longs) -> tuple[Longs, Longs]:
    """Each position of `block` beside every position of its bucket `order[begin:end]`."""
    counts = ends - begins
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(block, counts), order[np.repeat(begins, counts) + within]


# --- clusters ---


def _heads_of_pairs(pairs: Pairs, rank: Longs) -> Longs:
    """
    The head of every row: the earliest row it is paired with that is a head itself, else the row.

    Pairs hold the earlier row first.
    """
    head = np.arange(len(rank))
    for first, second in pairs[np.lexsort((rank[pairs[:, 0]], rank[pairs[:, 1]]))].tolist():
        if head[second] == second and head[first] == first:
            head[second] = first
    return head


def _merge_equal(head: Longs, equal: Pairs) -> Longs:
    """The heads in which equal items share one, whichever cluster the first of them is in."""
    head = head.copy()
    head[equal[:, 1]] = head[equal[:, 0]]
    while np.any(head[head] != head):
        head = head[head]
    return head


def with_clusters(items: pl.DataFrame, params: DuplicateParams, on_progress: Progress = quiet) -> pl.DataFrame:
    """
    The items with `text_cluster_id`, the hash of its text, and `cluster_id`, that of its cluster's head.

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
    text_ids = [cluster_id(*row) for row in items.select("item_id", "title", "text").iter_rows()]
    head = cluster_heads(uploads, params, on_progress)
    return items.with_columns(
        pl.Series("text_cluster_id", text_ids, pl.String),
        pl.Series("cluster_id", [text_ids[row] for row in head.tolist()], pl.String),
    )
