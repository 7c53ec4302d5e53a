"""
Questions about texts that are answered with a probability: is this risky, is it about sleep.

One recipe for all of them. Two readers answer: a linear model of letter runs, which knows the words of insults, and a
kernel machine over encoder vectors, which knows topics and carries over between languages. The mean of the two, the
first counting twice, was at or above the best single reader on four sets of labels (docs/text.md). Then every
language has its answers put to scale (Platt), on items that were left out when the readers learned.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

from recsys.errors import ArtifactError
from recsys.text.normalise import normalise
from recsys.types import Floats
from training.text.ngrams import weigh

ANY: Final = ""
"""The scale for a language that has none of its own."""

CLIP: Final = 1e-6
"""No answer is surer than this before it is put to scale."""
_CHUNK: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reader:
    """
    How texts become numbers. `runs` v letter runs with their `rarity` (v,); encoder vectors of d numbers are
    standardised with `mean` and `scale` (d,) and compared with `landmarks` (m, d), which are standardised too;
    `whitening` (m, m) makes the likenesses an approximation of the kernel.
    """

    runs: tuple[str, ...]
    rarity: Floats
    mean: Floats
    scale: Floats
    landmarks: Floats
    whitening: Floats

    def letters(self, texts: Sequence[str]) -> Any:
        """(n, v) sparse."""
        return weigh([normalise(text).split() for text in texts], self.runs, self.rarity)

    def likeness(self, vectors: Floats) -> Floats:
        """(n, m) Gaussian likeness to the landmarks, of a width that is the root of half the number of dimensions."""
        placed = (vectors - self.mean) / self.scale
        distance = (placed**2).sum(axis=1)[:, None] + (self.landmarks**2).sum(axis=1) - 2 * placed @ self.landmarks.T
        return np.asarray(np.exp(-np.maximum(distance, 0) / placed.shape[1]), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """
    The answers to questions, q columns in all: one for a question of yes or no, one for each choice of another.

    Shapes: `letter_weights` (v, q), `kernel_weights` (m, q), `biases` (2, q). `choices` says how many columns the
    questions have, one after the other; answers to one question of several choices add up to 1 before they are put to
    scale. `scales`: language -> (q, 2), the slope and shift of the log-odds; `ANY` for the rest. `version` is a hash
    of it all, empty before it was saved.
    """

    reader: Reader
    questions: tuple[str, ...]
    choices: tuple[int, ...]
    letter_weights: Floats
    kernel_weights: Floats
    biases: Floats
    scales: Mapping[str, Floats]
    letters_share: float
    version: str = ""

    def raw(self, texts: Sequence[str], vectors: Floats) -> NDArray[np.float64]:
        """(n, q) answers before they are put to scale."""
        parts = [
            self.mixed(
                self.reader.letters(texts[start : start + _CHUNK]) @ self.letter_weights,
                self.reader.likeness(vectors[start : start + _CHUNK]) @ self.kernel_weights,
            )
            for start in range(0, len(texts), _CHUNK)
        ]
        return np.concatenate([np.empty((0, len(self.questions))), *parts])

    def mixed(self, letters: Any, kernel: Any) -> NDArray[np.float64]:
        """(n, q) answers from the two readers' log-odds before their biases."""
        told = (self._told(letters + self.biases[0]), self._told(kernel + self.biases[1]))
        return self.letters_share * told[0] + (1 - self.letters_share) * told[1]

    def _told(self, odds: NDArray[Any]) -> NDArray[np.float64]:
        parts = np.split(np.asarray(odds, np.float64), np.cumsum(self.choices)[:-1], axis=1)
        return np.hstack([expit(part) if part.shape[1] == 1 else softmax(part, axis=1) for part in parts])

    def answer(self, texts: Sequence[str], vectors: Floats, languages: Sequence[str | None]) -> NDArray[np.float64]:
        """(n, q) probabilities. `vectors` (n, d) of the encoders that the heads were fitted with."""
        return to_scale(self.raw(texts, vectors), languages, self.scales)


def answers_of(heads: Heads, texts: Sequence[str], vectors: Floats) -> dict[str, NDArray[np.float64]]:
    """(n, q) answers before they are put to scale: of each reader alone (`letters`, `kernel`), and their `mean`."""
    shares = {"letters": 1.0, "kernel": 0.0, "mean": heads.letters_share}
    return {name: replace(heads, letters_share=share).raw(texts, vectors) for name, share in shares.items()}


def to_scale(
    raw: NDArray[np.float64], languages: Sequence[str | None], scales: Mapping[str, Floats]
) -> NDArray[np.float64]:
    """(n, q) probabilities from the scale of each row's language."""
    known = list(scales)
    number = {name: n for n, name in enumerate(known)}
    rows = np.array([number.get(language or ANY, number[ANY]) for language in languages], np.intp)
    table = np.stack([scales[name] for name in known])[rows]
    odds = logit(np.clip(raw, CLIP, 1 - CLIP))
    return np.asarray(expit(odds * table[:, :, 0] + table[:, :, 1]))


# --- files ---


_ARRAYS: Final = ("rarity", "mean", "scale", "landmarks")


def packed(heads: Heads) -> bytes:
    """The heads as one `.npz` file of arrays. The version that they are read with is `version_of` it."""
    buffer = io.BytesIO()
    texts = {
        "runs": "\n".join(heads.reader.runs),
        "questions": "\n".join(heads.questions),
        "languages": "\n".join(heads.scales),
    }
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        letter_weights=heads.letter_weights,
        kernel_weights=heads.kernel_weights,
        biases=heads.biases,
        scales=np.stack(list(heads.scales.values())),
        choices=np.array(heads.choices, np.int64),
        letters_share=np.float64(heads.letters_share),
        **{name: getattr(heads.reader, name) for name in _ARRAYS},
        **{name: np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8) for name, text in texts.items()},
    )
    return buffer.getvalue()


def version_of(content: bytes) -> str:
    """The version of a file of heads."""
    return hashlib.sha256(content).hexdigest()[:16]


def load_heads(path: Path) -> Heads:
    """The heads in a file. Raises ArtifactError when it cannot be read."""
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        texts = {
            name: tuple(held[name].tobytes().decode("utf-8", "surrogatepass").split("\n"))
            for name in ("runs", "questions", "languages")
        }
        reader = Reader(
            runs=texts["runs"], whitening=np.empty((0, 0), np.float32), **{name: held[name] for name in _ARRAYS}
        )
        return Heads(
            reader=reader,
            questions=texts["questions"],
            choices=tuple(held["choices"].tolist()),
            letter_weights=held["letter_weights"],
            kernel_weights=held["kernel_weights"],
            biases=held["biases"],
            scales=dict(zip(texts["languages"], held["scales"], strict=True)),
            letters_share=float(held["letters_share"]),
            version=version_of(content),
        )
    except (OSError, KeyError, ValueError) as error:
        raise ArtifactError(
            f"found no readable label heads at {path} ({type(error).__name__}), expected those that 'sanad train' "
            "writes; train again"
        ) from error
