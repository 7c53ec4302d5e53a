"""
The adapter for Darija in Latin letters (Arabizi), which no encoder at hand understands.

It maps a text to the vector of its English translation, from two inputs: the frequent character n-grams, each with a
small vector of its own, and the encoder's vector of the text as written. Its weights are a file of 1.5 MB beside this
module, trained by `training.text.fit_adapter` on the Darija Open Dataset. It fits one encoder and refuses others.

Use it only on texts that are known to be Arabizi: for any other language its n-grams are noise.
"""

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.errors import ArtifactError
from recsys.text.normalise import normalise
from recsys.types import Floats, Mask
from training.text import unpack_e5
from training.text.ngrams import ngram_weights

LANGUAGE: Final = "ary-Latn"
SHIPPED: Final = Path(__file__).parent / "data" / "adapter-ary-latn.npz"
ENCODER: Final = f"{unpack_e5.BINARY_SHA256}/{unpack_e5.LAYOUT}"
"""The encoder that the shipped weights belong to."""

_NOT_WORDS: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adapter:
    """
    v character n-grams with d numbers each, mapped into a space of e numbers.

    Shapes: `ngrams` v texts, sorted; `idf` (v,) inverse document frequencies; `table` (v, d) whole numbers times
    `scale` (v,); `spread` (d, e); `mix` (e, e) for the encoder's own vector less its mean `source_mean` (e,);
    `target_mean` (e,) of English vectors and `radius`, how far a text lies from it. `encoder` names whose vectors
    these are; `hash` is that of the weights.
    """

    ngrams: tuple[str, ...]
    idf: Floats
    table: NDArray[np.int8]
    scale: Floats
    spread: Floats
    mix: Floats
    source_mean: Floats
    target_mean: Floats
    radius: float
    encoder: str
    hash: str

    def fingerprint(self, encoder: str) -> str:
        """The fingerprint of vectors that this adapter was applied to; `encoder` is that of the plain ones."""
        return hashlib.sha256(f"{encoder}+{self.hash}".encode()).hexdigest()[:32]

    def apply(self, vectors: Floats, texts: Sequence[str], is_arabizi: Mask) -> Floats:
        """
        (n, e) vectors of length 1 in which the rows of Arabizi texts lie near their translations.

        Rows of other texts, and of empty texts (zeros), are the given ones.
        """
        rows = np.flatnonzero(is_arabizi & np.any(vectors, axis=1))
        adapted = np.array(vectors, np.float32)
        if len(rows):
            weights = ngram_weights([words_in(texts[row]) for row in rows.tolist()], self.ngrams, self.idf)
            centred = _unit(vectors[rows] - self.source_mean)
            table = self.table.astype(np.float32) * self.scale[:, None]
            direction = _unit(weights @ table @ self.spread + centred @ self.mix)
            adapted[rows] = _unit(self.target_mean + self.radius * direction)
        return adapted


def words_in(text: str) -> list[str]:
    """The words of a text whose n-grams are counted: folded, without punctuation."""
    return _NOT_WORDS.sub(" ", normalise(text)).split()


def save_adapter(adapter: Adapter, path: Path) -> None:
    """Writes the weights; `hash` follows from the rest when they are read."""
    whole = {name: getattr(adapter, name) for name in ("table", "scale", "spread", "mix")} | {"rarity": adapter.idf}
    halves = {name: array if array.dtype == np.int8 else array.astype(np.float16) for name, array in whole.items()}
    np.savez_compressed(
        path,
        allow_pickle=False,
        runs=np.frombuffer("\n".join(adapter.ngrams).encode(), np.uint8),
        source_mean=adapter.source_mean,
        target_mean=adapter.target_mean,
        radius=np.float32(adapter.radius),
        encoder=np.frombuffer(adapter.encoder.encode(), np.uint8),
        **halves,
    )


def load_adapter(path: Path = SHIPPED, *, encoder: str = ENCODER) -> Adapter:
    """
    The weights in `path`, for vectors of `encoder` (the identity of its weights).

    Raises: ArtifactError when the file is missing or damaged, or belongs to another encoder.
    """
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        belongs_to = held["encoder"].tobytes().decode()
        adapter = Adapter(
            ngrams=tuple(held["runs"].tobytes().decode().split("\n")),
            table=held["table"],
            radius=float(held["radius"]),
            encoder=belongs_to,
            idf=held["rarity"].astype(np.float32),
            hash=hashlib.sha256(content).hexdigest()[:16],
            **{name: held[name].astype(np.float32) for name in _NUMBERS},
        )
    except (OSError, KeyError, ValueError) as error:
        raise ArtifactError(
            f"found no readable adapter at {path} ({type(error).__name__}), expected the weights that "
            "'python -m training.text.fit_adapter' writes; install Sanad again, or fit them"
        ) from error
    if belongs_to != encoder:
        raise ArtifactError(
            f"found the adapter {path} of the encoder {belongs_to[:12]}, expected one of {encoder[:12]}: vectors of "
            "two encoders cannot be mixed; fit it again with 'python -m training.text.fit_adapter'"
        )
    return adapter


_NUMBERS: Final = ("scale", "spread", "mix", "source_mean", "target_mean")


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
