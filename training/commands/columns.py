"""The command `columns`: the data contract on a terminal, for a program, or as the tables of docs/data.md."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import Json, console, print_json
from recsys.errors import ConfigError

if TYPE_CHECKING:
    from recsys.columns_page import ColumnRow

app = typer.Typer()
_PANEL: Final = "Data and models"


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad columns events")
def columns(
    table: Annotated[
        str | None, typer.Argument(metavar="TABLE", help="creators, items, users or events. Default: all.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of docs/data.md.")] = False,
    as_json: Json = False,
) -> None:
    """
    Print every column of the data contract: its kind, its values, and what it costs when it is missing.
    """
    from recsys.columns import TABLES
    from recsys.columns_page import markdown, rows_of

    chosen = [t for t in TABLES if table in (None, t.name)]
    if not chosen:
        raise ConfigError(f"found table {table!r}, expected one of {', '.join(t.name for t in TABLES)}")
    if as_markdown:
        typer.echo(markdown())
        return
    if as_json:
        print_json({t.name: rows_of(t) for t in chosen})
        return
    for t in chosen:
        typer.echo(f"\n{t.name}: one row for each {t.key}")
        _show(rows_of(t))


def _show(rows: list["ColumnRow"]) -> None:
    from rich.table import Table

    shown = Table("column", "kind", "values and meaning", "if it is missing", box=None, pad_edge=False)
    for row in rows:
        meaning = "; ".join(part.rstrip(".") for part in (row.values, row.about) if part)
        shown.add_row(row.name, row.kind, meaning, "required" if row.required else row.if_missing)
    console().print(shown)
