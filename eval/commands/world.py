"""The command that makes the demo data: `world`. Heavy imports wait until it runs."""

from pathlib import Path
from typing import Annotated, Final

import typer

from recsys.console import Json, Quiet, format_counts, print_json, progress

app = typer.Typer()
_PANEL: Final = "Data and models"


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad world var/data --items 3000 --people 1000")
def world(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The folder to write. It must be new or empty.")],
    items: Annotated[int | None, typer.Option(help="Number of videos.", show_default="3000")] = None,
    people: Annotated[int | None, typer.Option(help="Number of people.", show_default="1000")] = None,
    events: Annotated[int | None, typer.Option(help="Number of events, within 2 %.", show_default="100000")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed; equal seeds give equal data.")] = None,
    local_affinity: Annotated[
        float | None, typer.Option(help="The mean weight of a creator's place in behaviour; 0 = none.")
    ] = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Make the demo data: a synthetic market with creators, videos, people and 28 days of logged events.

    All of it is generated from a seed. No person in it is real, and no number measured on it is a fact about people.
    """
    from eval.simulation.world.build import generate
    from eval.simulation.world.params import WorldParams
    from recsys.data.tables import check_unused, write_dataset

    given = {"n_items": items, "n_users": people, "n_events": events, "seed": seed, "local_affinity": local_affinity}
    params = WorldParams(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # each option has the type of its field
    check_unused(data)
    with progress(is_quiet=is_quiet) as report:
        made = generate(params, report)
        tables = {
            "creators": made.creators,
            "items": made.items_for_readers,
            "users": made.users,
            "events": made.events,
        }
        report("write", 0, None)
        write_dataset(data, **tables)
    counts = {name: len(table) for name, table in tables.items()}
    if as_json:
        print_json({"data": str(data), "seed": params.seed, "counts": counts})
    else:
        typer.echo(f"{data}: {format_counts(counts)} (synthetic, seed {params.seed})")
