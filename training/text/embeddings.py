"""
A cache of text vectors on disk, by content: no text is encoded twice.

There is one folder for each encoder fingerprint. Its chunk files are written once and never changed, each named by the
sha256 of its bytes. So vectors of two encoders cannot be mixed, a killed run loses at most one chunk, and the texts of
a damaged chunk are encoded again.
"""

import hashlib
import io
import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.progress import Progress, quiet
from recsys.types import Floats
from training.text.encoder import Encoder

CHUNK_TEXTS: Final = 1_024
"""Texts in a chunk file; a kill loses at most one, about 20 s of work."""

MAX_BYTES: Final = 4 * 1024**3
"""Bytes in the folder of one encoder."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedTexts:
    """`vectors` (n, d) of length 1, zeros where the text is empty; how many texts were encoded now, and reused."""

    vectors: Floats
    n_encoded: int
    n_reused: int


def embed(
    texts: Sequence[str],
    encoder: Encoder,
    cache: Path,
    *,
    max_bytes: int = MAX_BYTES,
    on_progress: Progress = quiet,
) -> EmbeddedTexts:
    """
    The vectors of `texts`, from `cache` where it has them. Equal texts are encoded once; empty ones not at all.

    When an encoder's chunks exceed `max_bytes`, the oldest are deleted first.
    """
    folder = cache / "embeddings" / encoder.fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    keys = [_key(text) if text.strip() else b"" for text in texts]
    by_key = {key: text for key, text in zip(keys, texts, strict=True) if key}
    vectors_by_key = _read(folder, by_key.keys(), encoder.dim)
    n_reused = len(vectors_by_key)
    # texts of like length together: a batch costs what its longest text costs
    missing = sorted(by_key.keys() - vectors_by_key.keys(), key=lambda key: (len(by_key[key]), key))
    for start in range(0, len(missing), CHUNK_TEXTS):
        chunk = missing[start : start + CHUNK_TEXTS]

        def report(_: str, done: int, __: int | None, before: int = start) -> None:
            on_progress("encode", before + done, len(missing))

        vectors = encoder.encode([by_key[key] for key in chunk], report)
        _write(folder, chunk, vectors)
        vectors_by_key.update(zip(chunk, vectors, strict=True))
    _delete_oldest(folder, max_bytes)
    empty = np.zeros(encoder.dim, np.float32)
    vectors = np.stack([vectors_by_key[key] if key else empty for key in keys]) if keys else empty[None][:0]
    return EmbeddedTexts(vectors, len(missing), n_reused)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _layout(dim: int) -> np.dtype[np.void]:
    return np.dtype([("key", "u1", (32,)), ("vector", "<f4", (dim,))])


def _write(folder: Path, keys: Sequence[bytes], vectors: Floats) -> None:
    table = np.zeros(len(keys), _layout(vectors.shape[1]))
    table["key"] = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32)
    table["vector"] = vectors
    buffer = io.BytesIO()
    np.save(buffer, table, allow_pickle=False)
    content = buffer.getvalue()
    beside = folder / f".writing-{os.getpid()}"
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / f"{hashlib.sha256(content).hexdigest()}.npy")


def _read(folder: Path, wanted: Set[bytes], dim: int) -> dict[bytes, NDArray[np.float32]]:
    """The cached vectors of the wanted keys. A chunk whose bytes do not match its name is deleted."""
    vectors: dict[bytes, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("*.npy")):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != path.stem:
            path.unlink(missing_ok=True)
            continue
        table = np.load(io.BytesIO(content), allow_pickle=False)
        if table.dtype != _layout(dim):
            continue
        keys = [row.tobytes() for row in table["key"]]
        hits = [i for i, key in enumerate(keys) if key in wanted]
        rows = table["vector"][hits]  # a copy, so that the rest of the chunk is freed
        vectors.update((keys[i], rows[n]) for n, i in enumerate(hits))
    return vectors


def _delete_oldest(folder: Path, max_bytes: int) -> None:
    chunks = sorted(((path.stat().st_mtime_ns, path) for path in folder.glob("*.npy")), reverse=True)
    total = 0
    for _, path in chunks:
        total += path.stat().st_size
        if total > max_bytes:
            path.unlink(missing_ok=True)
