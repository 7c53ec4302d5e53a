"""`sanad export`: what the service holds, for other jobs."""

from pathlib import Path
from typing import Annotated

import typer

from recsys.console import Json, print_json
from recsys.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Write what the service holds, for other jobs.")


@app.callback()
def export() -> None:
    """Write what the service holds, for other jobs."""


@app.command(epilog="Example: sanad export forgotten --state var/state.db --out var/forgotten.json")
def forgotten(
    state: Annotated[Path, typer.Option(metavar="FILE", help="The state file that 'sanad serve' uses.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The list to write, readable by you alone.")],
    as_json: Json = False,
) -> None:
    """
    Write the list of people whom the next training run must leave out, for 'sanad train --forget FILE'.

    It names nobody: ids are under a keyed hash. Entries are kept 8 days, so write a list at least that often, and
    delete the lists when the training run is over. The service may be running.
    """
    from recsys.data.forgotten import write_forgotten
    from serving.stores.sqlite.store import SqliteStore

    if not state.is_file():
        raise ConfigError(f"found no file {state}, expected the state file that 'sanad serve --state' uses")
    store = SqliteStore(state)
    try:
        found = store.users.forgotten()
    finally:
        store.close()
    write_forgotten(out, found)
    if as_json:
        print_json({"out": str(out), "people": len(found.before), "erased": len(found.erased)})
    else:
        typer.echo(f"{out}: {len(found.before):,} people to leave out, {len(found.erased):,} of them erased")
