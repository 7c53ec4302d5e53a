"""`sanad audit`: who decided what, and when, from a state."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import Json, instant, isolated

if TYPE_CHECKING:
    from recsys.stores.audit import Audited, AuditLog

app = typer.Typer()
_ROWS_AT_ONCE: Final = 1_000


@app.command(rich_help_panel="Feeds", epilog="Example: sanad audit var/state.db --since 2026-11-20T00:00:00Z")
def audit(
    state: Annotated[
        str,
        typer.Argument(metavar="STATE", envvar="SANAD_STATE", help="The state of 'sanad serve': its file or address."),
    ],
    since: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Entries from this instant on, such as 2026-11-20T18:30:00Z.")
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Print who decided what, and when: labels set by a person, takedowns, activations, clock confirmations, erasures.

    One line an entry, oldest first; with --json each is an object. The service may be running.
    """
    import msgspec

    from recsys.services.audit import as_row
    from serving.stores.open import existing_state, open_store

    first = 0 if since is None else instant(since, "--since")
    store = open_store(existing_state(state))
    try:
        for audited in _entries(store.stores.audit, first):
            row = as_row(audited)
            if as_json:
                typer.echo(msgspec.json.encode(row).decode())
            else:
                typer.echo(f"{row['at']}  {row['who']}  {isolated(_words(audited.entry.what))}")
    finally:
        store.close()


def _words(what: str) -> str:
    """What was done as `takedown item_id=v1`; what is a list or an object stays JSON."""
    import msgspec

    fields = msgspec.json.decode(what, type=dict[str, object])
    pairs = ((k, v if isinstance(v, str) and v else msgspec.json.encode(v).decode()) for k, v in fields.items())
    return " ".join(value if name == "action" else f"{name}={value}" for name, value in pairs)


def _entries(log: "AuditLog", since: int) -> "Iterator[Audited]":
    after = 0
    while page := log.page(since, after, _ROWS_AT_ONCE):
        yield from page
        after = page[-1].seq
