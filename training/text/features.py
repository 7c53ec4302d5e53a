"""
What the engine hears in texts: their language, and their vectors as every model of an artifact uses them.

The default encoder does not understand Arabizi; texts that the detector takes for it go through the adapter, and the
name of the vectors says so. Vectors of different names must never meet.
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
class Heard:
    """
    Of n texts: `vectors` (n, d) of length 1, zeros where a text is empty; `languages`, the declared one (Arabizi is
    always `ary-Latn`), else the detected one, None when neither is known; `is_understood` (n,), whether a label may
    lean on them. `fingerprint` names encoder and adapter.
    """

    vectors: Floats
    languages: tuple[str | None, ...]
    is_understood: Mask
    fingerprint: str
    n_encoded: int
    n_reused: int


def hear(
    texts: Sequence[str],
    declared: Sequence[str | None],
    encoder: Encoder,
    cache: Path,
    on_progress: Progress = quiet,
) -> Heard:
    """The texts as the engine hears them; `declared` are the languages their creators gave."""
    found = detect_all(texts, [(language,) if language else () for language in declared])
    languages = tuple(_language(row, language) for row, language in zip(found, declared, strict=True))
    done = embed(texts, encoder, cache, on_progress=on_progress)
    is_arabizi = np.array([language == LANGUAGE for language in languages], np.bool_)
    return Heard(
        vectors=adapted(done.vectors, texts, is_arabizi, encoder),
        languages=languages,
        is_understood=np.array([row.is_understood for row in found], np.bool_),
        fingerprint=name_of_vectors(encoder),
        n_encoded=done.n_encoded,
        n_reused=done.n_reused,
    )


def _language(found: Detected, declared: str | None) -> str | None:
    """
    Arabizi where it is detected, else what was declared, else what was detected.

    Of two words the detector says nothing; where nobody else does either, its guess of Arabizi is taken: without the
    adapter such a text has a vector that means nothing (right for 99 % of short Arabizi, wrong for 0.5 % of English).
    """
    if found.language == LANGUAGE:
        return LANGUAGE
    if declared or found.language != UNDETERMINED:
        return declared or found.language
    guess = max(found.proportions, key=lambda name: found.proportions[name], default=None)
    return LANGUAGE if guess == LANGUAGE else None


def adapted(vectors: Floats, texts: Sequence[str], is_arabizi: Mask, encoder: Encoder) -> Floats:
    """The vectors with Arabizi beside its translations, where there is an adapter for the encoder."""
    return load_adapter().apply(vectors, texts, is_arabizi) if encoder.name == "e5" else vectors


def name_of_vectors(encoder: Encoder) -> str:
    """The fingerprint of an encoder's vectors as they stand in an artifact."""
    return load_adapter().fingerprint(encoder.fingerprint) if encoder.name == "e5" else encoder.fingerprint
