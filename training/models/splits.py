"""
Fixed splits from files of pairs: matrices of train and test over the same users and items.

    npz       scipy CSR, users x items, entries above 0 are positive
    lightgcn  a line for each user: their number, then the numbers of their items
    pairs     a line for each pair: user, item (ids of any kind; comma, tab, semicolon or blanks; a header is recognised
              by its names, or by having no digit where every other line has one; further columns are not read)
    signed    a line for each pair: user, item, label; above 0 is positive, otherwise negative

Text may be compressed by gzip or Zstandard. Repeated pairs count once (signed: by the sign of their sum; a sum of 0 is
negative).
"""

import csv
import gzip
import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import polars as pl
from scipy import sparse

from recsys.data.text_files import read_text
from recsys.errors import DataError
from recsys.types import Csr, Mask, Rows

MAX_EMPTY_ROWS: Final = 1_000_000
"""A matrix may have so many rows or columns whatever it holds, and more where at least a thousandth are used."""

_GZIP: Final = b"\x1f\x8b"
FORMATS: Final = ("npz", "lightgcn", "pairs", "signed")
_USER_NAMES: Final = re.compile(
    r"u|.*(user|uid|visitor|customer|member|person|reader|listener|reviewer|session).*", re.I
)
_ITEM_NAMES: Final = re.compile(
    r"i|.*(item|iid|movie|video|artist|book|business|product|track|song|news|article|asin|sku).*", re.I
)
_SEPARATORS: Final = ("\t", ",", ";", " ")  # an id may well hold a comma, hardly a tab


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """
    Shapes: `train` and `test` CSR (n_users, n_items): 1 positive, -1 negative; `valid` the same, or None.
    """

    train: Csr
    valid: Csr | None
    test: Csr


def read_split(form: str, train: Path, test: Path, valid: Path | None = None) -> Split:
    """
    The matrices of the files. Users and items are those of any of them.

    Raises: DataError for a file that is missing, empty or not of the form.
    """
    paths = [path for path in (train, test, valid) if path is not None]
    if form == "npz":
        matrices = [read_npz(path) for path in paths]
        shape = tuple(max(sizes) for sizes in zip(*(matrix.shape for matrix in matrices), strict=True))
        for matrix in matrices:
            cast(Any, matrix).resize(shape)  # its stub knows no new shape
    else:
        matrices = _matrices([_read_text(form, path) for path in paths], numbered=form == "lightgcn")
    if not np.any(matrices[0].data > 0):
        raise DataError(f"{train}: found no positive pair, expected at least one; give another --train")
    if not np.any(matrices[1].data > 0):
        raise DataError(f"{test}: found no positive pair, expected at least one; give another --test")
    return Split(matrices[0], matrices[2] if valid else None, matrices[1])


def split_entries(signed: Csr, share: float, rng: np.random.Generator) -> tuple[Csr, Csr]:
    """
    (train, held_out): a random share of every user's entries is held out, negative ones too, rounded at random. At
    least one positive entry of a user stays in train.
    """
    counts = np.diff(signed.indptr)
    rows = np.repeat(np.arange(signed.shape[0]), counts)
    order = np.lexsort((rng.random(signed.nnz), rows))
    rank = np.empty(signed.nnz, np.int64)
    rank[order] = np.arange(signed.nnz) - np.repeat(signed.indptr[:-1], counts)
    is_held_out = rank < np.floor(counts * share + rng.random(signed.shape[0]))[rows]
    is_positive = signed.data > 0
    left = np.bincount(rows[is_positive & ~is_held_out], minlength=signed.shape[0])
    is_held_out &= (left > 0)[rows] | ~is_positive
    return _select_entries(signed, rows, ~is_held_out), _select_entries(signed, rows, is_held_out)


def _select_entries(matrix: Csr, rows: Rows, is_used: Mask) -> Csr:
    entries = (matrix.data[is_used], (rows[is_used], matrix.indices[is_used]))
    return sparse.csr_matrix(entries, matrix.shape, dtype=np.float32)


def read_npz(path: Path) -> Csr:
    """
    A sparse matrix that SciPy saved, users x items, also gzipped: 1 for entries above 0, -1 for those below, and
    nothing for a stored 0.

    Raises: DataError for another file, entries that are not finite, and row numbers that are ids (see `check_numbers`).
    """
    try:
        with path.open("rb") as file:  # NumPy leaves a broken file open
            packed = file.read()
        raw = gzip.decompress(packed) if packed[:2] == _GZIP else packed
        loaded = sparse.load_npz(io.BytesIO(raw))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise DataError(
            f"{path}: found no sparse matrix{why}, expected one written by scipy's save_npz, users x items; give "
            "another file or --format"
        ) from error
    entries = sparse.coo_array(loaded)
    for what, size, numbers in zip(("users", "items"), entries.shape, entries.coords, strict=True):
        check_numbers(path, what, size, len(np.unique(numbers)))
    matrix = sparse.csr_matrix(entries, dtype=np.float32)
    if not np.all(np.isfinite(matrix.data)):
        raise DataError(f"{path}: found entries that are not finite, expected numbers; correct the file")
    matrix.sum_duplicates()
    matrix.data = np.where(matrix.data > 0, 1, -1).astype(np.float32) * (matrix.data != 0)
    matrix.eliminate_zeros()
    return matrix


def check_numbers(path: Path, what: str, size: int, n_used: int) -> None:
    """Raises DataError for numbers of rows or columns that are ids: memory would grow with the largest."""
    if size > MAX_EMPTY_ROWS and size > MAX_EMPTY_ROWS // 1_000 * max(n_used, 1):
        raise DataError(
            f"{path}: found {what} numbered up to {size - 1:,}, of which {n_used:,} are used, expected row numbers; "
            "these are ids: number them from 0, or give pairs of ids"
        )


def _read_text(form: str, path: Path) -> pl.DataFrame:
    """user, item, label as text, text and number."""
    try:
        text = read_text(path)
    except DataError as error:
        raise DataError(f"{error}; expected a table of pairs as text: give another file or --format") from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: found an empty file, expected a table of pairs; give another")
    return _adjacency(path, lines) if form == "lightgcn" else _pairs(path, lines, is_signed=form == "signed")


def _adjacency(path: Path, lines: list[tuple[int, str]]) -> pl.DataFrame:
    users: list[str] = []
    items: list[str | None] = []
    for number, line in lines:
        first, *rest = line.split()
        for word in (first, *rest):
            if not word.isdecimal() or len(word) > 18:
                raise DataError(f"{path} line {number}: found {word[:40]!r}, expected numbers only; see --format")
        users.extend([str(int(first))] * max(len(rest), 1))
        items.extend([str(int(word)) for word in rest] or [None])  # a user without items is a user
    return pl.DataFrame({"user": users, "item": items}, {"user": pl.String, "item": pl.String}).with_columns(
        label=pl.lit(1.0)
    )


def _pairs(path: Path, lines: list[tuple[int, str]], *, is_signed: bool) -> pl.DataFrame:
    separator = next((mark for mark in _SEPARATORS if mark in lines[0][1]), None)
    n_expected = 3 if is_signed else 2
    split = [(number, _fields(line, separator)) for number, line in lines]
    if _is_header(path, split):
        split = split[1:]
    for number, fields in split:
        if len(fields) < n_expected or not all(fields[:n_expected]):
            raise DataError(
                f"{path} line {number}: found {len([f for f in fields if f])} values, expected {n_expected} "
                f"({'user, item, label' if is_signed else 'user, item'}); see --format"
            )
    labels = [_number(path, number, fields[2]) for number, fields in split] if is_signed else [1.0] * len(split)
    columns = {"user": [fields[0] for _, fields in split], "item": [fields[1] for _, fields in split]}
    return pl.DataFrame(columns, {"user": pl.String, "item": pl.String}).with_columns(
        label=pl.Series(labels, dtype=pl.Float64)
    )


def _is_header(path: Path, lines: list[tuple[int, list[str]]]) -> bool:
    """Whether the first line names columns. Raises DataError when it names the item before the user."""
    (number, first), rest = lines[0], lines[1:]
    user, item = (*first, "", "")[:2]
    if any(character.isdigit() for character in user + item):
        return False
    if _ITEM_NAMES.fullmatch(user) and _USER_NAMES.fullmatch(item):
        raise DataError(f"{path} line {number}: found {user!r} before {item!r}, expected user, item; swap the columns")
    is_named = _USER_NAMES.fullmatch(user) is not None and _ITEM_NAMES.fullmatch(item) is not None
    return is_named or any(_is_name_of_numbers(column, first, rest) for column in (0, 1))


def _is_name_of_numbers(column: int, first: list[str], rest: list[tuple[int, list[str]]]) -> bool:
    """Whether every other line has a digit in a column."""
    words = [fields[column] for _, fields in rest if len(fields) > column]
    return bool(words) and all(any(character.isdigit() for character in word) for word in words)


def _fields(line: str, separator: str | None) -> list[str]:
    if separator in (None, " "):
        parts = line.split()
    else:
        parts = next(csv.reader([line], delimiter=separator)) if '"' in line else line.split(separator)
    return [part.strip().strip('"') for part in parts]


def _number(path: Path, line: int, word: str) -> float:
    try:
        label = float(word)
    except ValueError:
        label = float("nan")
    if not np.isfinite(label):
        raise DataError(f"{path} line {line}: found label {word!r}, expected a number; correct the file")
    return 1.0 if label > 0 else -1.0


def _matrices(tables: list[pl.DataFrame], *, numbered: bool) -> list[Csr]:
    """Matrices over the users and items of all tables; numbers in their order, ids in that of text."""
    codes = {name: _codes(pl.concat([table[name] for table in tables]), numbered=numbered) for name in ("user", "item")}
    shape = (codes["user"].height, codes["item"].height)
    matrices = []
    for table in (table.drop_nulls("item") for table in tables):
        rows = table.join(codes["user"], left_on="user", right_on="id", maintain_order="left")["code"].to_numpy()
        columns = table.join(codes["item"], left_on="item", right_on="id", maintain_order="left")["code"].to_numpy()
        matrix = sparse.csr_matrix((table["label"].to_numpy(), (rows, columns)), shape, dtype=np.float32)
        matrix.sum_duplicates()
        matrix.data = np.where(matrix.data > 0, 1, -1).astype(np.float32)
        matrices.append(matrix)
    return matrices


def _codes(ids: pl.Series, *, numbered: bool) -> pl.DataFrame:
    """id and its code, by number or by the order of ids as text."""
    different = ids.drop_nulls().unique()
    order = different.cast(pl.Int64).sort().cast(pl.String) if numbered else different.sort()
    return pl.DataFrame({"id": order}).with_row_index("code")
