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
from recsys.data.files import format_of
from recsys.data.text_files import read_plain
from recsys.errors import ArtifactError, DataError
from recsys.models.artifact import Artifact
from recsys.models.text import Centres, TextSpace
from recsys.progress import Progress, quiet
from recsys.text.detect import UNDETERMINED, Detected, detect_all
from recsys.types import Floats
from training.text.encoder import Encoder
from training.text.features import encode_texts, vectors_fingerprint

_LANGUAGE_TAG: Final = next(column.pattern for column in ITEMS.columns if column.name == "language") or ""
_MAX_PROBLEMS: Final = 20
_MAX_FIELD_CHARACTERS: Final = 10_000_000
"""Python's default of 131,072 would stop at a long transcript."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """`texts` in order; `languages` their declared ones, None where the file has none."""

    texts: Sequence[str]
    languages: Sequence[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextVectors:
    """`vectors` (n, d) of length 1, zeros where a text is empty; `centre` the language whose mean was subtracted."""

    vectors: Floats
    centre: Sequence[str]
    n_encoded: int
    n_reused: int


def read_texts(path: Path) -> TextFile:
    """
    The texts of a file, plain or compressed, `-` for standard input. `.csv` and `.tsv`: columns `text` and, if it is
    there, `language`. Otherwise one text a line, empty lines too, so that line n of the file is row n of the answer.

    Bytes that are no UTF-8 become U+FFFD, which every later step leaves out. Raises DataError with every row whose
    language is no language tag.
    """
    raw = sys.stdin.buffer.read() if str(path) == "-" else read_plain(path)
    content = raw.decode("utf-8-sig", "replace")
    separator = {"csv": ",", "tsv": "\t"}.get(format_of(path.name) or "")
    if separator is None:
        lines = content.replace("\r\n", "\n").removesuffix("\n").split("\n") if content else []
        return TextFile(lines, [None] * len(lines))
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    rows = csv.DictReader(io.StringIO(content, newline=""), delimiter=separator)
    if "text" not in (rows.fieldnames or ()):
        present = ", ".join(rows.fieldnames or ()) or "no columns"
        raise DataError(f"{path}: found {present}, expected a column 'text' and perhaps 'language'; rename it")
    try:
        texts = [(_whole(path, rows, row)["text"] or "", (row.get("language") or "").strip() or None) for row in rows]
    except csv.Error as error:
        raise DataError(
            f"{path}: line {rows.line_num + 1}: found no CSV ({error}), expected a table; correct it"
        ) from None
    problems = [
        f"{path}: row {n}, column language: found {language!r}, expected a BCP 47 tag such as ary-Latn; correct it"
        for n, (_, language) in enumerate(texts, start=1)
        if language and not re.match(_LANGUAGE_TAG, language)
    ]
    if problems:
        raise DataError(*problems[:_MAX_PROBLEMS])
    return TextFile([text for text, _ in texts], [language for _, language in texts])


def _whole(path: Path, rows: "csv.DictReader[str]", row: dict[str, str]) -> dict[str, str]:
    """The row. Raises DataError when it has more or fewer fields than the header."""
    if None in row or None in row.values():
        raise DataError(
            f"{path}: line {rows.line_num}: found {'more' if None in row else 'fewer'} fields than the "
            f"{len(rows.fieldnames or ())} of the first line, expected as many; put texts with a separator in quotes"
        )
    return row


def detect_languages(texts: TextFile, declared: Sequence[str] = ()) -> list[Detected]:
    """The language of every text; a row's own language is what its creator declared, else `declared`."""
    hints = [(language,) if language else tuple(declared) for language in texts.languages]
    return detect_all(texts.texts, hints)


def encode_file(
    texts: TextFile, encoder: Encoder, cache: Path, like: Artifact | None = None, on_progress: Progress = quiet
) -> TextVectors:
    """
    The engine's vectors of texts, from its cache where it has them. With `like` they are centred as in that artifact,
    by the language that the file gives or that is detected.

    Raises ArtifactError when the artifact has no text space, or one of another encoder.
    """
    centres = None if like is None else _centres(like, encoder)
    features = encode_texts(texts.texts, texts.languages, encoder, cache, on_progress)
    if centres is None:
        return TextVectors(
            vectors=features.vectors, centre=(), n_encoded=features.n_encoded, n_reused=features.n_reused
        )
    centre = [language or UNDETERMINED for language in features.languages]  # one without a mean takes that of all
    vectors = centres.apply(features.vectors, centre)
    return TextVectors(vectors=vectors, centre=centre, n_encoded=features.n_encoded, n_reused=features.n_reused)


def save_vectors(out: Path, encoded: TextVectors, encoder: Encoder, centred_like: str) -> None:
    """
    Writes an `.npz`, whole or not at all: `vectors`, `encoder` (fingerprint), `centred_like` (an artifact's version, or
    empty) and `centre` (languages). Vectors of different fingerprints or centrings must not be mixed.
    """
    beside = out.with_name(f".writing-{os.getpid()}-{out.name}")
    try:
        with beside.open("wb") as file:
            np.savez(
                file,
                vectors=encoded.vectors,
                encoder=np.array(vectors_fingerprint(encoder)),
                centred_like=np.array(centred_like),
                centre=np.array(encoded.centre, dtype=np.str_),
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
    if like.manifest.encoder != vectors_fingerprint(encoder):
        raise ArtifactError(
            f"found an artifact of encoder {like.manifest.encoder} and encoder '{encoder.name}' with fingerprint "
            f"{vectors_fingerprint(encoder)}, expected the same; name the artifact's encoder with --encoder"
        )
    return space.centres
