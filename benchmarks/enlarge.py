"""
An artifact with another number of items, made from a real one: for what serving costs as a catalogue grows.

    python benchmarks/enlarge.py ARTIFACT OUT --items 100000

A larger one holds every item several times, under new ids and creators. Vectors of copies are moved by noise of .3 of
their spread and keep their lengths; popularity, rates and other features are repeated. Histories are spread over the
copies at random, so people have as many interactions as before. A smaller one is a random part. `save_artifact` writes
it, so its indexes are built as training builds them. Such an artifact serves to measure cost; its pages mean nothing,
and approximate search finds it harder than real items.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from scipy import sparse

from recsys.errors import ArtifactError
from recsys.models.artifact import Artifact, ArtifactContents, load_artifact, save_artifact
from recsys.models.base import ItemItemModel, LinearSpace, PopularityModel, PreferenceModel
from recsys.models.histories import UserHistories
from recsys.models.ials import FactorSpace
from recsys.models.text import TextSpace
from recsys.types import Csr, Floats, History, Ids, Longs, Mask, Space

NOISE: Final = 0.3
_AT_ONCE: Final = 50_000  # vectors that are moved at once
_ODD: Final = 0x9E3779B97F4A7C15  # spreads small numbers over 64 bits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """
    Which item stands where. `sources` (n_new,) rows of the real artifact; `copies` (n_new,) which copy, 0 = the item
    itself; `n_sources` items of the real one.
    """

    sources: Ids
    copies: Ids
    n_sources: int

    @property
    def n_copies(self) -> int:
        return int(self.copies.max()) + 1

    def rows_of(self, copy: int) -> Ids:
        """(n_sources,) the new row of each item's copy; -1 where there is none."""
        rows = np.full(self.n_sources, -1, np.int32)
        at = np.flatnonzero(self.copies == copy)
        rows[self.sources[at]] = at
        return rows


def layout_of(n_sources: int, n_items: int, rng: np.random.Generator) -> Layout:
    """As many whole copies as fit, then a random part, in the order of the real items."""
    n_whole, n_rest = divmod(n_items, n_sources)
    rest = np.sort(rng.permutation(n_sources)[:n_rest])
    sources = np.concatenate([np.tile(np.arange(n_sources), n_whole), rest]).astype(np.int32)
    return Layout(sources=sources, copies=(np.arange(n_items) // n_sources).astype(np.int32), n_sources=n_sources)


def enlarge(artifact: Artifact, n_items: int, rng: np.random.Generator) -> ArtifactContents:
    """The contents of an artifact of `n_items` items, without the models of labels, which serving does not read."""
    layout = layout_of(len(artifact.items), n_items, rng)
    spaces = {name: _of_space(space, layout, rng) for name, space in artifact.spaces.items()}
    shared = {id(artifact.spaces[name]): space for name, space in spaces.items()}
    scores = artifact.popularity.scores[:, layout.sources]
    models = {
        name: shared.get(id(model)) or _of_base_model(model, scores, layout, rng)
        for name, model in artifact.blend.base_models.items()
    }
    reranker, heads = artifact.blend.reranker, artifact.ranker
    items = _items(artifact.items, layout)
    known = set(items["item_id"].to_list())
    flat = artifact.histories.flat
    begins, rows, is_there = _spread_rows(artifact.histories.indptr, flat.items, layout, rng)
    seen_begins, seen_rows, _ = _spread_rows(artifact.seen.indptr, artifact.seen.item_rows, layout, rng)
    return ArtifactContents(
        items=items,
        creators=_creators(artifact.creators, layout.n_copies),
        users=artifact.users,
        spaces=spaces,
        blend=replace(
            artifact.blend,
            base_models=models,
            reranker=reranker and replace(reranker, item_use=np.asarray(reranker.item_use)[layout.sources]),
        ),
        popularity=replace(artifact.popularity, scores=scores),
        histories=UserHistories(
            rows=artifact.histories.rows,
            indptr=begins,
            flat=History(rows, np.asarray(flat.weights)[is_there], np.asarray(flat.at)[is_there]),
        ),
        safe_feed=tuple(item_id for item_id in artifact.safe_feed if item_id in known),
        seen=replace(artifact.seen, indptr=seen_begins, item_rows=seen_rows),
        ranker=heads
        and replace(
            heads,
            rates=np.asarray(heads.rates)[layout.sources],
            item_features=np.asarray(heads.item_features)[layout.sources],
        ),
    )


def _of_space(space: Space, layout: Layout, rng: np.random.Generator) -> Space:
    """The space over the new items. The products of its vectors grow with their number."""
    vectors = _moved(space.item_vectors, layout, rng)
    if isinstance(space, FactorSpace):
        growth = np.float32(len(layout.sources) / layout.n_sources)
        return replace(space, item_vectors=vectors, scales=space.scales * growth)
    if isinstance(space, LinearSpace):
        return replace(space, item_vectors=vectors, fold_in_weights=space.fold_in_weights[layout.sources])
    if isinstance(space, TextSpace):
        return replace(space, item_vectors=vectors)
    raise SystemExit(f"found a space of type {type(space).__name__}, expected one that enlarge.py knows")


def _of_base_model(
    model: PreferenceModel, popularity: Floats, layout: Layout, rng: np.random.Generator
) -> PreferenceModel:
    if isinstance(model, PopularityModel):
        return PopularityModel(popularity)
    if isinstance(model, ItemItemModel):
        return replace(model, weights=_within_copies(model.weights, layout))
    return _of_space(model, layout, rng)


def _within_copies(weights: Csr | Floats, layout: Layout) -> Csr:
    """Copies have the neighbours of the item among the copies of the same number: as many neighbours as before."""
    coo = sparse.coo_matrix(weights)
    blocks = []
    for copy in range(layout.n_copies):
        rows = layout.rows_of(copy)
        left, right = rows[coo.row], rows[coo.col]
        is_there = (left >= 0) & (right >= 0)
        blocks.append((coo.data[is_there], left[is_there], right[is_there]))
    data, left, right = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    n = len(layout.sources)
    return sparse.csr_matrix((data, (left, right)), shape=(n, n))


def _moved(vectors: Floats, layout: Layout, rng: np.random.Generator) -> Floats:
    """(n_new, d) the vectors of the sources. Those of copies are moved and keep their lengths; zeros stay zeros."""
    real = np.asarray(vectors, np.float32)
    moved = np.empty((len(layout.sources), real.shape[1]), np.float32)
    spread = NOISE * real.std(axis=0)
    for start in range(0, len(moved), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        taken = real[layout.sources[part]]
        noisy = taken + spread * rng.standard_normal(taken.shape, np.float32)
        length, noisy_length = (np.linalg.norm(block, axis=1, keepdims=True) for block in (taken, noisy))
        noisy *= length / np.maximum(noisy_length, np.float32(1e-12))
        moved[part] = np.where(layout.copies[part, None] > 0, noisy, taken)
    return moved


def _spread_rows(indptr: Longs, item_rows: Ids, layout: Layout, rng: np.random.Generator) -> tuple[Longs, Ids, Mask]:
    """Flat lists over the new items: where each begins, the rows, and which entries are still there."""
    flat = np.asarray(item_rows)
    new = np.full(len(flat), -1, np.int32)
    drawn = rng.integers(0, layout.n_copies, len(flat))
    first = layout.rows_of(0)
    for copy in range(layout.n_copies):
        at = np.flatnonzero(drawn == copy)
        rows = layout.rows_of(copy)[flat[at]]
        new[at] = np.where(rows >= 0, rows, first[flat[at]])
    is_there = new >= 0
    counts = np.concatenate([[0], np.cumsum(is_there)])
    return counts[np.asarray(indptr)].astype(np.int64), new[is_there], is_there


def _items(items: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """The catalogue: copies have ids, creators, words and hashes of their own, so that none is a copy to the engine."""
    copies = layout.copies.tolist()
    table = items[layout.sources]
    named = {name: _named(table[name].to_list(), copies) for name in ("item_id", "creator_id")}
    hashes = {name: _other_hashes(table[name].to_list(), copies) for name in ("text_id", "perceptual_hash")}
    return table.with_columns([pl.Series(name, values, pl.String) for name, values in {**named, **hashes}.items()])


def _creators(creators: pl.DataFrame, n_copies: int) -> pl.DataFrame:
    tables = []
    for copy in range(n_copies):
        ids = _named(creators["creator_id"].to_list(), [copy] * len(creators))
        tables.append(creators.with_columns(pl.Series("creator_id", ids, pl.String)))
    return pl.concat(tables)


def _named(ids: list[str], copies: list[int]) -> list[str]:
    return [f"{id_}-{copy}" if copy else id_ for id_, copy in zip(ids, copies, strict=True)]


def _other_hashes(hashes: list[str | None], copies: list[int]) -> list[str | None]:
    """Hashes of 16 hexadecimal digits, other ones for every copy."""
    return [
        text if text is None or not copy else f"{int(text, 16) ^ (copy * _ODD % 2**64):016x}"
        for text, copy in zip(hashes, copies, strict=True)
    ]


def write_enlarged(folder: Path, out: Path, n_items: int, seed: int = 0) -> None:
    """Writes an artifact of `n_items` items, made from the one in `folder`."""
    artifact = load_artifact(folder)
    contents = enlarge(artifact, n_items, np.random.default_rng(seed))
    counts = {**artifact.manifest.counts, "items": len(contents.items), "creators": len(contents.creators)}
    save_artifact(out, contents, msgspec.structs.replace(artifact.manifest, counts=counts))


def whole_number(text: str) -> int:
    """A number from 1 on, of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 1 on")
    return int(text)


def main() -> None:
    """Writes one artifact."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("artifact", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--items", type=whole_number, required=True)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    try:
        write_enlarged(asked.artifact, asked.out, asked.items, asked.seed)
    except ArtifactError as error:
        raise SystemExit(str(error)) from None
    print(f"{asked.out}: {asked.items:,} items")


if __name__ == "__main__":
    main()
