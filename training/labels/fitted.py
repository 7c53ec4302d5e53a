"""
Fitted heads on disk, so that a training whose texts and labels are those of an earlier one does not fit them again.

A file is named by what the heads are made of: texts, vectors, languages, answers, settings, and the program. It
begins with the sha256 of its rest, so a damaged one is fitted again. It holds character n-grams that occur
in two texts or more, as the artifact does, and no text.
"""

import hashlib
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from inspect import getsource
from pathlib import Path
from typing import Final

import numpy as np

from recsys.progress import Progress, quiet
from recsys.text.normalise import normalise
from recsys.types import Floats
from training.labels.fit_heads import FittedHeads, HeadParams, fit
from training.labels.heads import pack_heads, unpack_heads
from training.labels.logistic import Answers, fit_logistic
from training.text.ngrams import select_ngrams

_MADE_BY: Final = (fit, pack_heads, fit_logistic, select_ngrams, normalise)
"""Where these stand, the heads of equal labels are decided: files that another program wrote are not taken."""

MAX_FILES: Final = 4
"""Files that are kept, those used last."""

_DIGEST_BYTES: Final = 32


def fit_or_reuse(
    texts: Sequence[str],
    vectors: Floats,
    languages: Sequence[str | None],
    answers: Answers,
    params: HeadParams,
    cache: Path,
    on_progress: Progress = quiet,
) -> FittedHeads | None:
    """What `fit` gives, from `cache` where it was fitted to the same before. Raises DataError as `fit` does."""
    path = cache / "labels" / f"{_key(texts, vectors, languages, answers, params)}.heads"
    earlier = _read(path)
    if earlier is not None:
        return earlier
    fitted = fit(texts, vectors, languages, answers, params, on_progress)
    if fitted is None:
        return None
    content = _pack(fitted)
    with suppress(OSError):  # without a cache the next training takes longer
        _write(path, content)
    return _unpack(content)  # what the next training reads, to the byte


def _key(
    texts: Sequence[str], vectors: Floats, languages: Sequence[str | None], answers: Answers, params: HeadParams
) -> str:
    digest = hashlib.sha256(_program())
    digest.update(repr((params, vectors.shape, str(vectors.dtype), list(answers))).encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    digest.update(repr(list(languages)).encode("utf-8", "surrogatepass"))
    for array in (vectors, *answers.values()):
        digest.update(str(array.dtype).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _pack(fitted: FittedHeads) -> bytes:
    buffer = io.BytesIO()
    heads = np.frombuffer(pack_heads(fitted.heads), np.uint8)
    n_items = np.int64(fitted.n_items)
    np.savez(buffer, allow_pickle=False, heads=heads, out_of_fold=fitted.out_of_fold, n_items=n_items)
    return buffer.getvalue()


def _unpack(content: bytes) -> FittedHeads:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return FittedHeads(
            heads=unpack_heads(file["heads"].tobytes()),
            out_of_fold=np.asarray(file["out_of_fold"], np.float64),
            n_items=int(file["n_items"]),
        )


def _read(path: Path) -> FittedHeads | None:
    """The fitted heads in a file; None when there is none, or when its bytes are not those that were written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        return None
    with suppress(OSError):
        path.touch()
    return _unpack(rest)


@cache
def _program() -> bytes:
    names = [__name__, *(made.__module__ for made in _MADE_BY)]
    return hashlib.sha256("\0".join(getsource(sys.modules[name]) for name in names).encode()).digest()


def _write(path: Path, content: bytes) -> None:
    """Writes the file whole or not at all, then deletes those that were used longest ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".writing-*"):  # of a training that was killed
        left.unlink(missing_ok=True)
    beside = path.parent / f".writing-{os.getpid()}"
    beside.write_bytes(hashlib.sha256(content).digest() + content)
    beside.replace(path)
    by_use = sorted(path.parent.glob("*.heads"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for old in by_use[MAX_FILES:]:
        old.unlink(missing_ok=True)
