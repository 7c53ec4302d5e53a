"""Files of texts, for the commands that look at texts alone: one text a line, or CSV with a column `text`."""

import csv
import io
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from recsys.columns import ITEMS
from recsys.errors import ArtifactError, DataError
from recsys.models.artifact import Artifact
from recsys.models.text import Centres, TextSpace
from recsys.progress import Progress, quiet
from recsys.text.detect import UNDETERMINED, Detected, detect_all
from recsys.types import Floats
from training.text.encoder import Encoder
from training.text.features import hear, name_of_vectors

_LANGUAGE_TAG: Final = next(column.pattern for column in ITEMS.columns if column.name == "language") or ""
_MOST_PROBLEMS: Final = 20
_LONGEST_FIELD: Final = 10_000_000  # characters; Python's own limit is 131,072 and would stop at a long transcript


@dataclass(frozen=True, slots=True)
class Texts:
    """`texts` in order; `languages` their declared ones, None where the file says nothing."""

    texts: Sequence[str]
    languages: Sequence[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """`vectors` (n, d) of length 1, zeros where a text is empty; `centre` the language whose mean was subtracted."""

    vectors: Floats
    centre: Sequence[str]
    n_encoded: int
    n_reused: int


def read_texts(path: Path) -> Texts:
    """
    The texts of a file, `-` for standard input. `.csv`: columns `text` and, if it is there, `language`. Otherwise one
    text a line, empty lines too, so that line n of the file is row n of the answer.

    Bytes that are no UTF-8 become U+FFFD, which every later step leaves out. Raises DataError with every row whose
    language is no language tag.
    """
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected a file of texts") from None
    content = raw.decode("utf-8-sig", "replace")
    if path.suffix.lower() != ".csv":
        lines = content.replace("\r\n", "\n").removesuffix("\n").split("\n") if content else []
        return Texts(lines, [None] * len(lines))
    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.DictReader(io.StringIO(content, newline=""))
    if "text" not in (rows.fieldnames or ()):
        found = ", ".join(rows.fieldnames or ()) or "no columns"
        raise DataError(f"{path}: found {found}, expected a column 'text' and perhaps 'language'; rename it")
    try:
        kept = [(row["text"] or "", (row.get("language") or "").strip() or None) for row in rows]
    except csv.Error as error:
        raise DataError(
            f"{path}: line {rows.line_num + 1}: found no CSV ({error}), expected a table; correct it"
        ) from None
    problems = [
        f"{path}: row {n}, column language: found {language!r}, expected a BCP 47 tag such as ary-Latn; correct it"
        for n, (_, language) in enumerate(kept, start=1)
        if language and not re.match(_LANGUAGE_TAG, language)
    ]
    if problems:
        raise DataError(*problems[:_MOST_PROBLEMS])
    return Texts([text for text, _ in kept], [language for _, language in kept])


def detected(texts: Texts, declared: Sequence[str] = ()) -> list[Detected]:
    """The language of every text; a row's own language is what its creator declared, else `declared`."""
    hints = [(language,) if language else tuple(declared) for language in texts.languages]
    return detect_all(texts.texts, hints)


def vectors_of(
    texts: Texts, encoder: Encoder, cache: Path, like: Artifact | None = None, on_progress: Progress = quiet
) -> Vectors:
    """
    The engine's vectors of texts: its encoder, its cache (so a killed run goes on where it was), and with `like` the
    centring of that artifact, by the language that the file gives or that is detected.

    Raises ArtifactError when the artifact has no text space, or one of another encoder.
    """
    centres = None if like is None else _centres(like, encoder)
    heard = hear(texts.texts, texts.languages, encoder, cache, on_progress)
    if centres is None:
        return Vectors(vectors=heard.vectors, centre=(), n_encoded=heard.n_encoded, n_reused=heard.n_reused)
    centre = [language or UNDETERMINED for language in heard.languages]  # one without a mean takes that of all
    vectors = centres.apply(heard.vectors, centre)
    return Vectors(vectors=vectors, centre=centre, n_encoded=heard.n_encoded, n_reused=heard.n_reused)


def save_vectors(out: Path, found: Vectors, encoder: Encoder, centred_like: str) -> None:
    """
    Writes an `.npz`, whole or not at all: `vectors`, `encoder` (fingerprint), `centred_like` (an artifact's version, or
    empty) and `centre` (languages). Vectors of different fingerprints or centrings must never meet.
    """
    beside = out.with_name(f".writing-{os.getpid()}-{out.name}")
    try:
        with beside.open("wb") as file:
            np.savez(
                file,
                vectors=found.vectors,
                encoder=np.array(name_of_vectors(encoder)),
                centred_like=np.array(centred_like),
                centre=np.array(found.centre, dtype=np.str_),
            )
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)


def _centres(like: Artifact, encoder: Encoder) -> Centres:
    space = like.spaces.get("text")
    if not isinstance(space, TextSpace):
        raise ArtifactError(
            "found an artifact without a text space, expected one trained with an encoder; leave --like out"
        )
    if like.manifest.encoder != name_of_vectors(encoder):
        raise ArtifactError(
            f"found an artifact of encoder {like.manifest.encoder} and encoder '{encoder.name}' with fingerprint "
            f"{name_of_vectors(encoder)}, expected the same; name the artifact's encoder with --encoder"
        )
    return space.centres
