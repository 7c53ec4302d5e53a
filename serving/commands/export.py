"""`sanad export`: lists from a state file, for other jobs."""

from pathlib import Path
from typing import Annotated

import typer

from recsys.console import Json, print_json
from serving.commands.options import StateFile, existing_state

app = typer.Typer(no_args_is_help=True, help="Write lists from a state file, for other jobs.")


@app.callback()
def export() -> None:
    """Write lists from a state file, for other jobs."""


@app.command(epilog="Example: sanad export forgotten --state var/state.db --out var/forgotten.json")
def forgotten(
    state: StateFile,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The list to write. Only you can read it.")],
    as_json: Json = False,
) -> None:
    """
    Write the list of users whom the next training run must leave out, for 'sanad train --forget FILE'.

    The list holds keyed hashes, no ids. A state file keeps an entry for 8 days: write a list at least that often.

    Delete the lists after the training run. The service may keep running.
    """
    from recsys.data.forgotten import write_forgotten
    from serving.stores.sqlite.store import SqliteStore

    store = SqliteStore(existing_state(state))
    try:
        forgotten_users = store.cutoffs.forgotten()
    finally:
        store.close()
    write_forgotten(out, forgotten_users)
    if as_json:
        print_json({"out": str(out), "people": len(forgotten_users.before), "erased": len(forgotten_users.erased)})
    else:
        typer.echo(
            f"{out}: {len(forgotten_users.before):,} users to leave out, {len(forgotten_users.erased):,} of them erased"
        )
