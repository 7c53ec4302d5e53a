"""Ids that no other table has, and the spelling that it may have for them: `1.0` for `1`, `007`, case, blanks, NFD."""

from typing import Final

import polars as pl

MOST: Final = 0.5
"""The share of rows with an id that matches nothing, above which the two tables cannot belong together."""

_EXAMPLES: Final = 3


def unmatched(
    table: str, column: str, frame: pl.LazyFrame, unknown: pl.Series, target: str, known: pl.LazyFrame
) -> tuple[str | None, str | None]:
    """
    (failure, notice) about the ids of a column that are no ids of the table `target`.

    `frame` are the rows with the column, `unknown` its distinct ids without a match, `known` the ids there are. A
    failure when most rows match nothing; a notice when fewer do and some are another spelling of a known id.
    """
    if not len(unknown):
        return None, None
    ids = known.select(pl.first().alias("id")).drop_nulls().collect(engine="streaming").to_series()
    unknown = unknown.filter(~unknown.is_in(ids.implode()))  # a row that is there and unusable has an id all the same
    is_unknown = pl.col(column).is_in(unknown.implode())
    filled = frame.select(pl.col(column)).drop_nulls()
    n_unknown, n_filled = filled.select(is_unknown.sum().alias("n"), pl.len()).collect(engine="streaming").row(0)
    pairs = twins(unknown, ids)
    shown = "; ".join(f"{wrong!a} stands for {right!a}" for wrong, right in pairs)
    if len(ids) and n_unknown > MOST * n_filled:
        examples = shown or (f"ids here look like {_quoted(unknown)}, those of the table {target} like {_quoted(ids)}")
        return (
            f"table {table}: {n_unknown:,} of {n_filled:,} values of column {column!r} match no id of the table "
            f"{target}: {examples}; write the ids the same way in both"
        ), None
    if not pairs:
        return None, None
    return None, f"table {table}: ids in column {column!r} are spelled unlike those of the table {target}: {shown}"


def twins(unknown: pl.Series, known: pl.Series) -> list[tuple[str, str]]:
    """Up to three pairs of an unknown id and a known one that are the same but for their spelling."""
    left = pl.DataFrame({"wrong": unknown}).with_columns(plain=_plain(pl.col("wrong")))
    right = pl.DataFrame({"right": known}).with_columns(plain=_plain(pl.col("right")))
    pairs = left.join(right.unique("plain", keep="first", maintain_order=True), on="plain").sort("wrong")
    return pairs.select("wrong", "right").head(_EXAMPLES).rows()


def _plain(text: pl.Expr) -> pl.Expr:
    """What is left of an id without its spelling."""
    bare = text.str.normalize("NFKC").str.to_lowercase().str.replace_all(r"\s", "")
    return bare.str.replace(r"^(\d+)\.0+$", "${1}").str.replace(r"^0+(\d)", "${1}").str.strip_chars("\"'")


def _quoted(ids: pl.Series) -> str:
    return ", ".join(f"{text!a}" for text in ids.head(_EXAMPLES))
