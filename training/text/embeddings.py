"""
Vectors of texts, kept on disk by content: what was encoded once is not encoded again.

One folder per encoder fingerprint; in it, chunk files that are written once and never changed, each named by the
sha256 of its bytes. So vectors of two encoders cannot mix, a killed run keeps every finished chunk, and a damaged
chunk is noticed and its texts are encoded again.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.progress import Progress, quiet
from recsys.types import Floats
from training.text.encoder import Encoder

CHUNK = 1_024  # texts; about 20 s of work lost at most by a kill
MAX_BYTES = 4 * 1024**3


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
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
) -> Embedded:
    """
    The vectors of `texts`, from `cache` where it has them. Equal texts are encoded once; empty ones not at all.

    When an encoder's chunks exceed `max_bytes`, the oldest are deleted first.
    """
    folder = cache / "embeddings" / encoder.fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    keys = [_key(text) if text.strip() else b"" for text in texts]
    wanted = {key: text for key, text in zip(keys, texts, strict=True) if key}
    found = _read(folder, wanted.keys(), encoder.dim)
    n_reused = len(found)
    # texts of like length together: a batch costs what its longest text costs
    missing = sorted(wanted.keys() - found.keys(), key=lambda key: (len(wanted[key]), key))
    for start in range(0, len(missing), CHUNK):
        chunk = missing[start : start + CHUNK]

        def report(_: str, done: int, __: int | None, before: int = start) -> None:
            on_progress("encode", before + done, len(missing))

        vectors = encoder.encode([wanted[key] for key in chunk], report)
        _write(folder, chunk, vectors)
        found.update(zip(chunk, vectors, strict=True))
    _forget_oldest(folder, max_bytes)
    nothing = np.zeros(encoder.dim, np.float32)
    vectors = np.stack([found[key] if key else nothing for key in keys]) if keys else nothing[None][:0]
    return Embedded(vectors, len(missing), n_reused)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _layout(dim: int) -> np.dtype[Any]:
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


def _read(folder: Path, wanted: "set[bytes] | Any", dim: int) -> dict[bytes, NDArray[np.float32]]:
    """The wanted vectors that are there. A chunk whose bytes are not those of its name is deleted."""
    found: dict[bytes, NDArray[np.float32]] = {}
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
        rows = table["vector"][hits]  # a copy: the rest of the chunk is let go
        found.update((keys[i], rows[n]) for n, i in enumerate(hits))
    return found


def _forget_oldest(folder: Path, max_bytes: int) -> None:
    chunks = sorted(((path.stat().st_mtime_ns, path) for path in folder.glob("*.npy")), reverse=True)
    total = 0
    for _, path in chunks:
        total += path.stat().st_size
        if total > max_bytes:
            path.unlink(missing_ok=True)
