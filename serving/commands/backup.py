"""`sanad backup` and `sanad restore`: copies of a state file and of its keys, and the way back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import Json, print_json
from recsys.errors import ConfigError
from serving.commands.options import StateName

if TYPE_CHECKING:
    from serving.stores.open import State

app = typer.Typer()
_OF_REDIS: Final = "redis-cli BGSAVE and copies of its files"
_OF_POSTGRES: Final = "pg_basebackup and an archive of its write-ahead log"
TOOLS: Final = {
    "postgresql": _OF_POSTGRES,
    "postgres": _OF_POSTGRES,
    "redis": _OF_REDIS,
    "rediss": _OF_REDIS,
}
"""What copies a server, by the scheme of its address."""


@app.command(rich_help_panel="Feeds", epilog="Example: sanad backup --state var/state.db --out /backup/state.db")
def backup(
    state: StateName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The copy. Its folder is made.")],
    of_keys: Annotated[bool, typer.Option("--keys", help="Copy the keys of people instead, to another place.")] = False,
    as_json: Json = False,
) -> None:
    """
    Copy a state file as it is at one moment. The service may keep running.

    The copy holds what people did, sealed. The keys are a second copy, with --keys, in another place than the first.

    An erasure destroys the key, and with it what every copy of the state holds. An old copy of the keys would undo
    that: keep one copy of the keys, the newest.
    """
    from recsys.clock import to_text
    from serving.stores.open import existing_state
    from serving.stores.sqlite.backup import backup as copy
    from serving.stores.sqlite.backup import committed_at
    from serving.stores.sqlite.vault import vault_path

    source = _file(existing_state(state))
    copy(vault_path(source) if of_keys else source, out)
    said = {"out": str(out), "bytes": out.stat().st_size, "committed_at": to_text(committed_at(source))}
    if as_json:
        print_json(said)
    else:
        typer.echo(f"{out}: {said['bytes']:,} bytes, as of {said['committed_at']}")


@app.command(rich_help_panel="Feeds", epilog="Example: sanad restore /backup/state.db --state var/state.db")
def restore(
    copy: Annotated[Path, typer.Argument(metavar="COPY", help="A copy from 'sanad backup'.")],
    state: Annotated[str, typer.Option(metavar="STATE", help="The state file that the copy becomes.")],
    as_json: Json = False,
) -> None:
    """
    Put a copy in the place of a state file. The service must be stopped.

    Users who were erased after the copy was made are erased again. The file that was there stays as STATE.replaced.

    Pages that were delivered after the copy was made are in no ledger any more. So copy often.
    """
    from recsys.clock import to_text
    from serving.stores.open import state_of
    from serving.stores.sqlite.backup import committed_at
    from serving.stores.sqlite.backup import restore as put_back

    place = _file(state_of(state))
    if copy.resolve() == place.resolve():
        raise ConfigError(f"found {copy} as the copy and as the state file, expected two files")
    as_of = to_text(committed_at(copy))
    deleted = put_back(copy, place)
    if as_json:
        print_json({"state": str(state), "committed_at": as_of, "erased_again": dict(deleted)})
    else:
        rows = ", ".join(f"{n:,} {table}" for table, n in deleted.items())
        typer.echo(f"{state}: restored as of {as_of}; erased again: {rows}")


def _file(state: "State") -> Path:
    """The state file. Raises ConfigError for a server, which has tools of its own."""
    if isinstance(state, Path):
        return state
    raise ConfigError(
        f"found the state at {state}, expected a file: copy a server with {TOOLS[state.scheme]}; see docs/running.md"
    )
