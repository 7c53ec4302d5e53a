"""
The features of texts: their language, and their vectors as every model of an artifact uses them.

The default encoder does not understand Arabizi. Texts that are detected as Arabizi go through the adapter, which is
part of the vectors' fingerprint. Vectors of different fingerprints must not be mixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.progress import Progress, quiet
from recsys.text.detect import UNDETERMINED, Detected, detect_all
from recsys.types import Floats, Mask
from training.text.adapter import LANGUAGE, load_adapter
from training.text.embeddings import embed
from training.text.encoder import Encoder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextFeatures:
    """
    Features of n texts: `vectors` (n, d) of length 1, zeros where a text is empty; `languages`, the declared one
    (Arabizi is always `ary-Latn`), else the detected one, None when neither is known; `is_understood` (n,), whether
    labels may be predicted from them. `fingerprint` identifies encoder and adapter.
    """

    vectors: Floats
    languages: tuple[str | None, ...]
    is_understood: Mask
    fingerprint: str
    n_encoded: int
    n_reused: int


def encode_texts(
    texts: Sequence[str],
    declared: Sequence[str | None],
    encoder: Encoder,
    cache: Path,
    on_progress: Progress = quiet,
) -> TextFeatures:
    """Features of texts; `declared` are the languages that their creators gave."""
    detected = detect_all(texts, [(language,) if language else () for language in declared])
    languages = tuple(_choose_language(row, language) for row, language in zip(detected, declared, strict=True))
    embedded = embed(texts, encoder, cache, on_progress=on_progress)
    is_arabizi = np.array([language == LANGUAGE for language in languages], np.bool_)
    return TextFeatures(
        vectors=apply_adapter(embedded.vectors, texts, is_arabizi, encoder),
        languages=languages,
        is_understood=np.array([row.is_understood for row in detected], np.bool_),
        fingerprint=vectors_fingerprint(encoder),
        n_encoded=embedded.n_encoded,
        n_reused=embedded.n_reused,
    )


def _choose_language(detected: Detected, declared: str | None) -> str | None:
    """
    Arabizi where it is detected, else the declared language, else the detected one.

    The detector is undecided about texts of two words. Where no language is declared, its best guess counts if it is
    Arabizi, whose vectors without the adapter mean nothing (right for 99 % of short Arabizi, wrong for 0.5 % of
    English).
    """
    if detected.language == LANGUAGE:
        return LANGUAGE
    if declared or detected.language != UNDETERMINED:
        return declared or detected.language
    guess = max(detected.proportions, key=lambda name: detected.proportions[name], default=None)
    return LANGUAGE if guess == LANGUAGE else None


def apply_adapter(vectors: Floats, texts: Sequence[str], is_arabizi: Mask, encoder: Encoder) -> Floats:
    """The vectors, those of Arabizi adapted where there is an adapter for the encoder."""
    return load_adapter().apply(vectors, texts, is_arabizi) if encoder.name == "e5" else vectors


def vectors_fingerprint(encoder: Encoder) -> str:
    """The fingerprint of an encoder's vectors after the adapter, as an artifact holds it."""
    return load_adapter().fingerprint(encoder.fingerprint) if encoder.name == "e5" else encoder.fingerprint
