"""`sanad export`: lists from a state file, for other jobs."""

from pathlib import Path
from typing import Annotated

import typer

from recsys.console import Json, Quiet, print_json
from serving.commands.options import StateName

app = typer.Typer(no_args_is_help=True, help="Write lists from a state, for other jobs.")


@app.callback()
def export() -> None:
    """Write lists from a state, for other jobs."""


@app.command(epilog="Example: sanad export dataset --state var/state.db --base var/data --out var/data-new")
def dataset(
    state: StateName,
    out: Annotated[Path, typer.Option(metavar="DATA", help="A new or empty folder.")],
    base: Annotated[
        Path | None, typer.Option(metavar="DATA", help="An earlier dataset that the new rows are added to.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Events received and pages served since. Default: all.")
    ] = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Write what a service knows as a dataset: catalogue, users, events, and each page with its propensities.

    'sanad train' learns from it. Users who were erased are left out, and so is what others did before a reset.

    The service may keep running. Repeat this at least every 8 days, each time with the last dataset as --base.
    """
    from recsys.console import instant, progress
    from recsys.data.tables import check_unused, read_dataset
    from recsys.services.dataset import served_tables, with_base, write_tables
    from serving.stores.open import existing_state, open_store

    check_unused(out)
    start = 0 if since is None else instant(since, "--since")
    earlier = None if base is None else read_dataset(base)
    store = open_store(existing_state(state))
    try:
        with progress(is_quiet=is_quiet) as report:
            report("read the state", 0, None)
            tables = served_tables(store.stores, start)
            if earlier is not None:
                report("add the base", 0, None)
                tables = with_base(tables, earlier, store.stores)
            report("write", 0, None)
            write_tables(out, tables)
    finally:
        store.close()
    rows = {name: len(getattr(tables, name)) for name in ("creators", "items", "users", "events")}
    if as_json:
        print_json({"out": str(out), "rows": rows})
    else:
        typer.echo(f"{out}: " + ", ".join(f"{n:,} {name}" for name, n in rows.items()))


@app.command(epilog="Example: sanad export forgotten --state var/state.db --out var/forgotten.json")
def forgotten(
    state: StateName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The list to write. Only you can read it.")],
    as_json: Json = False,
) -> None:
    """
    Write the list of users whom the next training run must leave out, for 'sanad train --forget FILE'.

    The list holds keyed hashes, no ids. A state file keeps an entry for 8 days: write a list at least that often.

    Delete the lists after the training run. The service may keep running.
    """
    from recsys.data.forgotten import write_forgotten
    from serving.stores.open import existing_state, open_store

    store = open_store(existing_state(state))
    try:
        forgotten_users = store.stores.cutoffs.forgotten()
    finally:
        store.close()
    write_forgotten(out, forgotten_users)
    if as_json:
        print_json({"out": str(out), "people": len(forgotten_users.before), "erased": len(forgotten_users.erased)})
    else:
        typer.echo(
            f"{out}: {len(forgotten_users.before):,} users to leave out, {len(forgotten_users.erased):,} of them erased"
        )
