"""`sanad creators`: what a service delivered of each creator, read from its state file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.console import At, Json, Quiet, console, present, print_json
from recsys.errors import ConfigError
from serving.commands.options import Policy, StateName

if TYPE_CHECKING:
    from recsys.services.creator_report import CreatorReport, Part

app = typer.Typer(no_args_is_help=True, help="Report what was delivered of creators.")


@app.callback()
def creators() -> None:
    """Report what was delivered of creators."""


@app.command(epilog="Example: sanad creators report var/artifact --state var/state.db --days 7")
def report(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="The folder that the service serves.")],
    state: StateName,
    creator: Annotated[str | None, typer.Option(metavar="ID", help="Report this creator only.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=90, help="Report the last days only. Default: all days.")
    ] = None,
    policy: Policy = None,
    at: At = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Report what creators received: impressions by size and kind, how slots were won, and who is new.

    The report names no viewer. The service may keep running.
    """
    from recsys.services.creator_report import report_of
    from recsys.services.creators import exposure
    from serving.commands.engines import command_engine
    from serving.stores.open import existing_state

    now, found = present(at), existing_state(state)
    with command_engine(artifact, now, policy=policy, experiments=None, state=found, is_quiet=is_quiet) as (engine, _):
        if creator is not None:
            record = exposure(engine, creator, now)
            if record is None:
                raise ConfigError(f"found no creator {creator!r}, expected the id of one")
            print_json(record)
            return
        cache = engine.resources.catalogue_cache
        whole_market = report_of(
            engine.stores.exposure.counts(), cache.creators, cache.items, cache.market, now, days=days
        )
    if as_json:
        print_json(whole_market)
    else:
        _show(whole_market)


@app.command(epilog="Example: sanad creators audit --state var/state.db --last 1000")
def audit(
    state: StateName,
    last: Annotated[
        int, typer.Option(min=1, max=100_000, help="How many of the newest decision records to check.")
    ] = 1_000,
    as_json: Json = False,
) -> None:
    """
    Check the local floor on logged pages: every run of 20 deliveries, and every page on its own.

    Exit code 0: each complete run meets the floor as far as supply allowed; 1: some do not.

    The service may keep running.
    """
    from recsys.feed.record import unpack
    from recsys.services.floor_audit import as_sentence, audit_all
    from serving.stores.open import existing_state, open_store

    store = open_store(existing_state(state))
    try:
        result = audit_all(unpack(stored.decision) for stored in store.stores.decisions.newest(last))
    finally:
        store.close()
    if as_json:
        print_json(result)
    else:
        typer.echo(as_sentence(result))
    if result.below_supply:
        raise typer.Exit(1)


def _show(report: "CreatorReport") -> None:
    out = console()
    out.print(
        f"{report.market}: {report.impressions:,} impressions until {report.until}, {_share(report.local_share)} local"
    )
    for title, parts in (("By size", report.by_size), ("By kind", report.by_kind), ("Most shown", report.top)):
        out.print()
        out.print(_table(title, parts))
    local, new = report.local, report.new_creators
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
        by_attribution = (f"{part.slots[attribution]:,}" for attribution in ATTRIBUTIONS)
        counts = (f"{part.n_creators:,}", f"{part.n_items:,}", f"{part.impressions:,}", f"{part.share:.1%}")
        table.add_row(isolated(part.name, 40), *counts, *by_attribution)
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
