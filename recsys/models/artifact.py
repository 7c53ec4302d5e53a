"""
The artifact: what training hands to serving and evaluation, a folder of plain files.

    manifest.json                  what it is, how it was made, and the sha256 of every file, itself included
    items, creators, users .parquet the catalogue in the columns of the contract; items also have `text_id` and
    `n_words`: what each says
    space.<name>.<array>.npy       the arrays of every space;  index.<name>.faiss  its index
    blend.<model>.<array>.npy      the base models of the blend that are neither a space nor popularity
    blend.reranker.{txt,item_use.npy}  the trees of the re-ranker, if they help
    popularity.npy  histories.*.npy  seen.*.npy  user_ids.parquet
    labels.npz                     the label heads, if there were labels to learn from; items have `columns.PREDICTED`

Nothing is pickled. The folder is written beside its place and renamed at the end, so it exists whole or not at all.
Loading verifies every byte before it is used, and maps the arrays instead of reading them.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from recsys.errors import ArtifactError
from recsys.models import ranker
from recsys.models.blend import Blend
from recsys.models.histories import NOTHING_SEEN, SeenInLog, UserHistories, row_numbers
from recsys.models.index import VectorIndex, open_index, sample_user_vectors, write_index
from recsys.models.manifest import MANIFEST, Manifest, file_sha256, find_problems, read_manifest, sealed
from recsys.models.model_io import count_items, map_array, read_blend, read_space, save_array, write_blend, write_model
from recsys.models.popularity import Popularity
from recsys.models.ranker import RankerHeads
from recsys.types import Array, History, JsonObject, Space

_TABLES: Final = ("items", "creators", "users")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArtifactContents:
    """Everything an artifact holds beside its manifest. Rows of `items` are the rows of every item array."""

    items: pl.DataFrame
    creators: pl.DataFrame
    users: pl.DataFrame
    spaces: Mapping[str, Space]
    blend: Blend
    popularity: Popularity
    histories: UserHistories
    safe_feed: tuple[str, ...]
    seen: SeenInLog = field(default_factory=lambda: NOTHING_SEEN)
    labels: bytes | None = None  # the label heads; only training reads them
    ranker: RankerHeads | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Artifact:
    """A loaded, verified artifact. `version` is a hash of the manifest, and so of every byte of the folder."""

    manifest: Manifest
    version: str
    items: pl.DataFrame
    creators: pl.DataFrame
    users: pl.DataFrame
    spaces: Mapping[str, Space]
    blend: Blend
    indexes: Mapping[str, VectorIndex]
    popularity: Popularity
    histories: UserHistories
    safe_feed: tuple[str, ...]  # item ids, best first
    seen: SeenInLog
    ranker: RankerHeads | None = None


def save_artifact(folder: Path, contents: ArtifactContents, manifest: Manifest) -> Manifest:
    """
    Writes the folder, whole or not at all, and returns the manifest with settings and checksums filled in.

    An artifact that is there already is replaced; anything else is left alone.
    Raises: ArtifactError when `folder` exists and is no artifact.
    """
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise ArtifactError(
            f"found {folder}, which is no artifact (no {MANIFEST}), expected an artifact or nothing; "
            "choose another --out"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(folder)
    beside = folder.parent / f".{folder.name}.writing-{os.getpid()}"
    beside.mkdir()
    try:
        settings = _write_contents(beside, contents)
        files = {path.name: file_sha256(path) for path in sorted(beside.iterdir())}
        whole = msgspec.structs.replace(manifest, settings=settings, files=files, spaces=tuple(contents.spaces))
        written = sealed(whole)
        (beside / MANIFEST).write_bytes(written)
        for path in beside.iterdir():
            _flush(path)
        _flush(beside)
        _rename(beside, folder)
    finally:  # also on Ctrl-C
        shutil.rmtree(beside, ignore_errors=True)
    return msgspec.json.decode(written, type=Manifest)  # as a reader gets it: lists where tuples were


def load_artifact(folder: Path) -> Artifact:
    """
    The artifact in `folder`, after every file was compared with its checksum.

    Raises: ArtifactError with every problem found: no or another manifest, files missing, altered or unexpected.
    """
    manifest, version = read_manifest(folder)
    problems = find_problems(folder, manifest)
    if problems:
        raise ArtifactError(*problems)
    try:
        return _read_contents(folder, manifest, version)
    except Exception as error:  # whatever a reader raises about bytes that no version wrote
        raise ArtifactError(
            f"found {folder} with contents that do not fit together ({type(error).__name__}: {error}), expected an "
            "artifact of this version of Sanad; train again"
        ) from error


# --- writing ---


def _write_contents(folder: Path, contents: ArtifactContents) -> dict[str, JsonObject]:
    """Writes every file but the manifest; returns what the models hold beside arrays."""
    for name in _TABLES:
        getattr(contents, name).write_parquet(folder / f"{name}.parquet")
    settings: dict[str, JsonObject] = {}
    for name, space in contents.spaces.items():
        settings[f"space.{name}"] = write_model(folder, f"space.{name}", space)
        queries = sample_user_vectors(space, contents.histories)
        settings[f"index.{name}"] = write_index(folder / f"index.{name}.faiss", space.item_vectors, queries)
    save_array(folder / "popularity.npy", contents.popularity.scores)
    settings["popularity"] = {"markets": contents.popularity.markets}
    settings["blend"] = write_blend(folder, contents.blend, contents.spaces)
    if contents.labels is not None:
        (folder / "labels.npz").write_bytes(contents.labels)
    if contents.ranker is not None:
        settings["ranker"] = ranker.save(folder, contents.ranker)
    settings["safe_feed"] = {"item_ids": contents.safe_feed}
    histories = contents.histories
    pl.DataFrame({"user_id": list(histories)}, {"user_id": pl.String}).write_parquet(folder / "user_ids.parquet")
    save_array(folder / "histories.indptr.npy", histories.indptr)
    for name in ("items", "weights", "at"):
        save_array(folder / f"histories.{name}.npy", getattr(histories.flat, name))
    save_array(folder / "seen.indptr.npy", contents.seen.indptr)
    save_array(folder / "seen.items.npy", contents.seen.item_rows)
    settings["seen"] = {"until": contents.seen.until}
    return settings


def _rename(beside: Path, folder: Path) -> None:
    """Puts the finished folder in its place. A kill between the two steps leaves the old one under `.old`."""
    old = folder.parent / f".{folder.name}.old-{os.getpid()}"
    if folder.exists():
        folder.replace(old)
    try:
        beside.replace(folder)
    except OSError:
        if old.exists():
            old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
    _flush(folder.parent)


def _clear_leftovers(folder: Path) -> None:
    """Removes what killed runs left beside `folder`; a folder whose process still runs is not a leftover."""
    for path in folder.parent.glob(f".{folder.name}.*-*"):
        kind, _, process = path.name.removeprefix(f".{folder.name}.").partition("-")
        if kind not in ("writing", "old") or not process.isdigit() or _is_running(int(process)):
            continue
        if kind == "old" and not folder.exists():
            path.replace(folder)  # killed between its two renames: the old one is all there is
        else:
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- reading ---


def _read_contents(folder: Path, manifest: Manifest, version: str) -> Artifact:
    tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in _TABLES}
    n_items = len(tables["items"])
    spaces = {name: read_space(folder, f"space.{name}", manifest.settings[f"space.{name}"]) for name in manifest.spaces}
    indexes = {name: open_index(folder / f"index.{name}.faiss") for name in manifest.spaces}
    popularity = Popularity(tuple(manifest.settings["popularity"]["markets"]), _array(folder / "popularity.npy", 2))
    histories = UserHistories(
        rows=row_numbers(pl.read_parquet(folder / "user_ids.parquet")["user_id"].to_list()),
        indptr=_array(folder / "histories.indptr.npy", 1),
        flat=History(*(_array(folder / f"histories.{name}.npy", 1) for name in ("items", "weights", "at"))),
    )
    seen = SeenInLog(
        rows=histories.rows,
        indptr=_array(folder / "seen.indptr.npy", 1),
        item_rows=_array(folder / "seen.items.npy", 1),
        until=int(manifest.settings["seen"]["until"]),
    )
    blend = read_blend(folder, manifest.settings["blend"], spaces, popularity)
    ranker_settings = manifest.settings.get("ranker")
    heads = None if ranker_settings is None else ranker.load(folder, ranker_settings, manifest.spaces)
    _check_sizes(n_items, spaces, indexes, blend, popularity, histories, heads)
    _check_seen(seen, n_items)
    return Artifact(
        manifest=manifest,
        version=version,
        items=tables["items"],
        creators=tables["creators"],
        users=tables["users"],
        spaces=spaces,
        blend=blend,
        indexes=indexes,
        popularity=popularity,
        histories=histories,
        safe_feed=tuple(manifest.settings["safe_feed"]["item_ids"]),
        seen=seen if len(seen.indptr) > 1 else NOTHING_SEEN,
        ranker=heads,
    )


def _array(path: Path, n_dimensions: int) -> Array:
    array = map_array(path)
    if array.ndim != n_dimensions:
        raise ValueError(f"{path.name} has {array.ndim} dimensions, expected {n_dimensions}")
    return array


def _check_seen(seen: SeenInLog, n_items: int) -> None:
    """Raises ValueError when the lists of seen items belong to other tables."""
    rows = seen.item_rows
    is_whole = len(seen.indptr) in (1, len(seen) + 1) and seen.indptr[-1] == len(rows)
    if not is_whole or (len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < n_items):
        raise ValueError("the lists of seen items belong to other users or items")


def _check_sizes(
    n_items: int,
    spaces: Mapping[str, Space],
    indexes: Mapping[str, VectorIndex],
    blend: Blend,
    popularity: Popularity,
    histories: UserHistories,
    heads: RankerHeads | None,
) -> None:
    """Raises ValueError when an array has another number of items or users than the tables."""
    sizes = {f"space {name}": len(space.item_vectors) for name, space in spaces.items()}
    sizes |= {f"base model {name}": count_items(model) for name, model in blend.base_models.items()}
    sizes |= {f"index {name}": index.ntotal for name, index in indexes.items()}
    sizes["popularity"] = popularity.scores.shape[1]
    sizes |= {} if blend.reranker is None else {"re-ranker": len(blend.reranker.item_use)}
    if heads is not None:
        sizes |= {"rates of the ranker": len(heads.rates), "features of the ranker": len(heads.item_features)}
    wrong = [f"{name} has {size} items, the table {n_items}" for name, size in sizes.items() if size != n_items]
    if len(popularity.scores) != len(popularity.markets) + 1:
        wrong.append("popularity needs one row for each market and one for the world")
    if len(histories.indptr) != len(histories) + 1 or histories.indptr[-1] != len(histories.flat):
        wrong.append("histories do not end where their index says")
    if wrong:
        raise ValueError("; ".join(wrong))
