"""`sanad creators`: what was delivered of creators, from a state file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.console import At, Json, Quiet, console, present, print_json
from recsys.errors import ConfigError

if TYPE_CHECKING:
    from recsys.services.creator_report import CreatorReport, Part

app = typer.Typer(no_args_is_help=True, help="What was delivered of creators.")


@app.callback()
def creators() -> None:
    """What was delivered of creators."""


@app.command(epilog="Example: sanad creators report var/artifact --state var/state.db --days 7")
def report(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="The folder that the service serves.")],
    state: Annotated[Path, typer.Option(metavar="FILE", help="The state file that 'sanad serve' uses.")],
    creator: Annotated[str | None, typer.Option(metavar="ID", help="One creator's own report.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=90, help="The last days only. Default: everything.")] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The market's policy. Default: policies/morocco.yaml.")
    ] = None,
    at: At = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Show how the market's feeds treat its creators: reach by size and kind, how slots were won, who is new.

    Counts deliveries, without any viewer's name. The service may be running.
    """
    from recsys.services.creator_report import report_of
    from recsys.services.creators import exposure
    from serving.commands.feeds import _engine

    if not state.is_file():
        raise ConfigError(f"found no file {state}, expected the state file that 'sanad serve --state' uses")
    when = present(at)
    with _engine(artifact, policy, None, state, when, is_quiet) as (engine, _):
        if creator is not None:
            found = exposure(engine, creator, when)
            if found is None:
                raise ConfigError(f"found no creator {creator!r}, expected the id of one")
            print_json(found)
            return
        view = engine.resources.catalogue_cache
        made = report_of(engine.users.tallies(), view.creators, view.items, view.market, when, days=days)
    if as_json:
        print_json(made)
    else:
        _show(made)


@app.command(epilog="Example: sanad creators audit --state var/state.db --last 1000")
def audit(
    state: Annotated[Path, typer.Option(metavar="FILE", help="The state file that 'sanad serve' uses.")],
    last: Annotated[int, typer.Option(min=1, max=100_000, help="The newest records to look at.")] = 1_000,
    as_json: Json = False,
) -> None:
    """
    Count the local floor again over logged pages: every run of 20 exactly, and a prefix test of each page.

    Exit code 0: every complete run holds the floor as far as supply allowed; 1: some do not. The service may run.
    """
    from recsys.feed.record import unpack
    from recsys.services.floor_audit import as_sentence, audit_all
    from serving.stores.sqlite.store import SqliteStore

    if not state.is_file():
        raise ConfigError(f"found no file {state}, expected the state file that 'sanad serve --state' uses")
    store = SqliteStore(state)
    try:
        found = audit_all(unpack(stored.decision) for stored in store.users.latest(last))
    finally:
        store.close()
    if as_json:
        print_json(found)
    else:
        typer.echo(as_sentence(found))
    if found.below_supply:
        raise typer.Exit(1)


def _show(found: "CreatorReport") -> None:
    out = console()
    out.print(
        f"{found.market}: {found.impressions:,} impressions until {found.until}, {_share(found.local_share)} local"
    )
    for title, parts in (("By size", found.by_size), ("By kind", found.by_kind), ("Most shown", found.top)):
        out.print()
        out.print(_table(title, parts))
    local, new = found.local, found.newcomers
    out.print()
    out.print(
        f"{local.n_creators:,} local creators with items: Gini {_number(local.gini)}, HHI {_number(local.hhi)}, "
        f"the first ten get {_share(local.top_10_share)}."
    )
    days = "" if new.median_days is None else f"; the others took {new.median_days:g} days in the median"
    out.print(f"{new.n_new:,} of them are new and get {_share(new.share_of_local_slots)} of the local slots{days}.")


def _table(title: str, parts: "list[Part]") -> object:
    from rich.table import Table

    from recsys.console import isolated
    from recsys.feed.attribution import ATTRIBUTIONS

    table = Table(box=None, title=title, title_justify="left", header_style="bold", pad_edge=False)
    for heading in ("", "creators", "items", "impressions", "share", *ATTRIBUTIONS):
        table.add_column(heading, justify="right" if heading else "left")
    for part in parts:
        ways = (f"{part.slots[way]:,}" for way in ATTRIBUTIONS)
        counts = (f"{part.n_creators:,}", f"{part.n_items:,}", f"{part.impressions:,}", f"{part.share:.1%}")
        table.add_row(isolated(part.name, 40), *counts, *ways)
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
