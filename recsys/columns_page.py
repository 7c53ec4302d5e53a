"""The data contract in words, from `recsys.columns`: rows for `sanad columns`, and the tables of docs/data.md."""

from typing import Final

import msgspec

from recsys.columns import ID_PATTERN, MAX_ID_LENGTH, MAX_TEXT_LENGTH, TABLES, Column, Table

KINDS: Final = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "time": "instant",
    "list": "list of texts",
}
"""The dtypes of the contract in words."""


class ColumnRow(msgspec.Struct, frozen=True, kw_only=True):
    """One column for a reader: `values` says what it may hold, `if_missing` what null costs (empty when required)."""

    name: str
    kind: str
    required: bool
    values: str
    one_of: tuple[str, ...] | None
    pattern: str | None
    minimum: float | None
    maximum: float | None
    max_length: int | None
    max_items: int | None
    about: str
    if_missing: str


def rows_of(table: Table) -> list[ColumnRow]:
    """The columns of a table, in order."""
    return [
        ColumnRow(
            name=column.name,
            kind="id" if column.is_id else KINDS[column.dtype],
            required=column.required,
            values=_values(column),
            one_of=column.one_of,
            pattern=ID_PATTERN if column.is_id else column.pattern,
            minimum=column.minimum,
            maximum=column.maximum,
            max_length=column.max_length if column.dtype in ("str", "list") else None,
            max_items=column.max_items,
            about=column.about,
            if_missing=column.if_missing,
        )
        for column in table.columns
    ]


def markdown() -> str:
    """A heading and a table for each table of the contract."""
    return "\n\n".join(_markdown(table) for table in TABLES)


def _markdown(table: Table) -> str:
    head = [
        "",
        f"### {table.name}",
        "",
        "| column | kind | values | meaning | if it is missing |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(_line(row) for row in rows_of(table))])


def _line(row: ColumnRow) -> str:
    name = f"**`{row.name}`**" if row.required else f"`{row.name}`"
    missing = "**required**" if row.required else row.if_missing
    cells = (name, row.kind, row.values, row.about, missing)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(column: Column) -> str:
    """What a value may be: words, bounds with their unit, lengths."""
    if column.one_of:
        return ", ".join(column.one_of)
    parts = [column.unit] if column.unit else []
    if column.minimum is not None and column.maximum is not None:
        parts.append(f"{column.minimum:g} to {_plain(column.maximum)}")
    elif column.minimum is not None:
        parts.append(f"at least {column.minimum:g}")
    if column.max_length not in (MAX_ID_LENGTH, MAX_TEXT_LENGTH) and not column.unit:
        parts.append(f"at most {column.max_length:,} characters")
    if column.max_items is not None:
        parts.append(f"at most {column.max_items}")
    return "; ".join(parts)


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 1_000 else f"{number:g}"
