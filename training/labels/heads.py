"""
Label heads: questions about texts that are answered with a probability, such as "is this risky" or "is it about sleep".

All questions use one recipe of two readers. A linear model of character n-grams knows the words of insults. A kernel
machine over encoder vectors knows topics and carries over between languages. Their mean, in which the first counts
twice, was as good as or better than either reader on four sets of labels (docs/text.md). Then the probabilities of each
language are calibrated (Platt) on items that were left out when the readers were fitted.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

from recsys.errors import ArtifactError
from recsys.text.normalise import normalise
from recsys.types import Csr, Floats, Reals
from training.text.ngrams import ngram_weights

ANY_LANGUAGE: Final = ""
"""The calibration for a language that has none of its own."""

MIN_PROBABILITY: Final = 1e-6
"""Probabilities are clipped to this and its complement before they are calibrated."""

_CHUNK_TEXTS: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextReader:
    """
    How texts become features.

    Shapes: `ngrams` v character n-grams with their `idf` (v,). Encoder vectors of d numbers are standardised with
            `mean` and `scale` (d,) and compared with `landmarks` (m, d), which are standardised too; `whitening` (m, m)
            makes the similarities an approximation of the kernel.
    """

    ngrams: tuple[str, ...]
    idf: Floats
    mean: Floats
    scale: Floats
    landmarks: Floats
    whitening: Floats

    def ngram_matrix(self, texts: Sequence[str]) -> Csr:
        """CSR (n, v) weights of n-grams."""
        return ngram_weights([normalise(text).split() for text in texts], self.ngrams, self.idf)

    def kernel_matrix(self, vectors: Floats) -> Floats:
        """(n, m) Gaussian similarity to the landmarks; its width is the root of half the number of dimensions."""
        z = (vectors - self.mean) / self.scale
        distance = (z**2).sum(axis=1)[:, None] + (self.landmarks**2).sum(axis=1) - 2 * z @ self.landmarks.T
        return np.asarray(np.exp(-np.maximum(distance, 0) / z.shape[1]), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelHeads:
    """
    The answers to questions, in q columns: one for a yes-or-no question, one for each choice of another.

    Shapes: `ngram_weights` (v, q), `kernel_weights` (m, q), `biases` (2, q). `choices` says how many columns each
            question has, one after the other; before calibration the answers to a question of several choices add up to
            1. `scales`: language -> (q, 2), slope and intercept of the log odds; `ANY_LANGUAGE` for the rest. `version`
            is a hash of it all, empty before the heads were saved.
    """

    reader: TextReader
    questions: tuple[str, ...]
    choices: tuple[int, ...]
    ngram_weights: Floats
    kernel_weights: Floats
    biases: Floats
    scales: Mapping[str, Floats]
    ngram_share: float
    version: str = ""

    def predict_uncalibrated(self, texts: Sequence[str], vectors: Floats) -> Reals:
        """(n, q) probabilities before calibration."""
        chunks = [
            self.mix_readers(
                self.reader.ngram_matrix(texts[start : start + _CHUNK_TEXTS]) @ self.ngram_weights,
                self.reader.kernel_matrix(vectors[start : start + _CHUNK_TEXTS]) @ self.kernel_weights,
            )
            for start in range(0, len(texts), _CHUNK_TEXTS)
        ]
        return np.concatenate([np.empty((0, len(self.questions))), *chunks])

    def mix_readers(self, ngram_odds: Floats, kernel_odds: Floats) -> Reals:
        """(n, q) probabilities from the two readers' log odds before their biases."""
        by_ngrams = self._to_probabilities(ngram_odds + self.biases[0])
        by_kernel = self._to_probabilities(kernel_odds + self.biases[1])
        return self.ngram_share * by_ngrams + (1 - self.ngram_share) * by_kernel

    def _to_probabilities(self, log_odds: Floats) -> Reals:
        questions = np.split(np.asarray(log_odds, np.float64), np.cumsum(self.choices)[:-1], axis=1)
        return np.hstack([expit(odds) if odds.shape[1] == 1 else softmax(odds, axis=1) for odds in questions])

    def predict(self, texts: Sequence[str], vectors: Floats, languages: Sequence[str | None]) -> Reals:
        """(n, q) probabilities. `vectors` (n, d) of the encoders that the heads were fitted with."""
        return calibrate(self.predict_uncalibrated(texts, vectors), languages, self.scales)


def predict_by_reader(heads: LabelHeads, texts: Sequence[str], vectors: Floats) -> dict[str, Reals]:
    """(n, q) probabilities before calibration: of each reader alone (`ngrams`, `kernel`), and of their `mean`."""
    shares = {"ngrams": 1.0, "kernel": 0.0, "mean": heads.ngram_share}
    return {
        name: replace(heads, ngram_share=share).predict_uncalibrated(texts, vectors) for name, share in shares.items()
    }


def calibrate(raw: Reals, languages: Sequence[str | None], scales: Mapping[str, Floats]) -> Reals:
    """(n, q) probabilities by the slope and intercept of each row's language."""
    names = list(scales)
    number = {name: n for n, name in enumerate(names)}
    rows = np.array([number.get(language or ANY_LANGUAGE, number[ANY_LANGUAGE]) for language in languages], np.intp)
    table = np.stack([scales[name] for name in names])[rows]
    odds = logit(np.clip(raw, MIN_PROBABILITY, 1 - MIN_PROBABILITY))
    return np.asarray(expit(odds * table[:, :, 0] + table[:, :, 1]))


# --- files ---


_READER_ARRAYS: Final = ("idf", "mean", "scale", "landmarks")
_TEXT_LISTS: Final = ("ngrams", "questions", "languages")


def pack_heads(heads: LabelHeads) -> bytes:
    """The heads as one `.npz` file of arrays. Its `heads_version` is the version they are read with."""
    buffer = io.BytesIO()
    lists = zip(_TEXT_LISTS, (heads.reader.ngrams, heads.questions, tuple(heads.scales)), strict=True)
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        ngram_weights=heads.ngram_weights,
        kernel_weights=heads.kernel_weights,
        biases=heads.biases,
        scales=np.stack(list(heads.scales.values())),
        choices=np.array(heads.choices, np.int64),
        ngram_share=np.float64(heads.ngram_share),
        **{name: getattr(heads.reader, name) for name in _READER_ARRAYS},
        **{name: np.frombuffer("\n".join(texts).encode("utf-8", "surrogatepass"), np.uint8) for name, texts in lists},
    )
    return buffer.getvalue()


def heads_version(content: bytes) -> str:
    """The version of a file of heads."""
    return hashlib.sha256(content).hexdigest()[:16]


def unpack_heads(content: bytes) -> LabelHeads:
    """The heads in the bytes of a file. Raises KeyError or ValueError for other bytes."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays: dict[str, NDArray[np.generic]] = {name: file[name] for name in file.files}
    return _from_arrays(arrays, heads_version(content))


def load_heads(path: Path) -> LabelHeads:
    """The heads in a file. Raises ArtifactError when it cannot be read."""
    try:
        return unpack_heads(path.read_bytes())
    except (OSError, KeyError, ValueError) as error:
        raise ArtifactError(
            f"found no readable label heads at {path} ({type(error).__name__}), expected those that 'sanad train' "
            "writes; train again"
        ) from error


def _from_arrays(arrays: Mapping[str, NDArray[np.generic]], version: str) -> LabelHeads:
    lists = {name: tuple(arrays[name].tobytes().decode("utf-8", "surrogatepass").split("\n")) for name in _TEXT_LISTS}
    floats = {name: np.asarray(array, np.float32) for name, array in arrays.items() if name not in _TEXT_LISTS}
    reader = TextReader(
        ngrams=lists["ngrams"],
        whitening=np.empty((0, 0), np.float32),
        **{name: floats[name] for name in _READER_ARRAYS},
    )
    return LabelHeads(
        reader=reader,
        questions=lists["questions"],
        choices=tuple(np.asarray(arrays["choices"], np.int64).tolist()),
        ngram_weights=floats["ngram_weights"],
        kernel_weights=floats["kernel_weights"],
        biases=floats["biases"],
        scales=dict(zip(lists["languages"], floats["scales"], strict=True)),
        ngram_share=float(np.asarray(arrays["ngram_share"], np.float64)),
        version=version,
    )
