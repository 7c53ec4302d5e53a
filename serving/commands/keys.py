"""`sanad key`: service keys, of which a file keeps digests only."""

from pathlib import Path
from typing import Annotated, Final

import typer

from recsys.console import Json, console, print_json, say
from recsys.errors import ConfigError

app = typer.Typer(help="Service keys: make, list and revoke them. A running service follows within a second.")
KeyFile = Annotated[
    Path,
    typer.Option("--key-file", metavar="FILE", envvar="SANAD_KEY_FILE", help="The file of 'sanad serve --key-file'."),
]
_LISTED: Final = ("id", "name", "scopes", "per_second", "created_at")


@app.command(epilog="Example: sanad key new app --scope feed --scope events --key-file /etc/sanad/keys.json")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it. Two keys may have one name.")],
    key_file: KeyFile,
    scopes: Annotated[
        list[str], typer.Option("--scope", help="feed, events, catalogue, admin, export or audit. May be repeated.")
    ],
    per_second: Annotated[
        float | None, typer.Option(metavar="N", help="Most requests a second. Default: no bound.")
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Make a service key and print it, once. The file keeps its digest only.

    To change a key: make a second one of the same name, give it to its user, then revoke the first.
    """
    from recsys.clock import now
    from serving.auth.keys import change_keys, new_key
    from serving.auth.scopes import SCOPES

    known = [scope for scope in SCOPES if scope in scopes]
    if wrong := sorted(set(scopes) - set(known)):
        raise ConfigError(f"--scope: found {wrong[0]!r}, expected one of {', '.join(SCOPES)}")
    text, key = new_key(name, known, per_second, now())
    change_keys(key_file, lambda keys: (*keys, key))
    if as_json:
        print_json({"key": text, "id": key.id, "name": key.name, "scopes": key.scopes})
    else:
        typer.echo(text)
        say(f"key {key.id} of {key.name} for {', '.join(key.scopes)}; it is not shown again")


@app.command("list", epilog="Example: sanad key list --key-file /etc/sanad/keys.json")
def list_keys(key_file: KeyFile, as_json: Json = False) -> None:
    """Print the keys of a file: id, name, scopes, rate, and when each was made. None can be read back."""
    from rich.table import Table

    from serving.auth.keys import read_keys

    rows = [{name: getattr(key, name) for name in _LISTED} for key in read_keys(key_file)]
    if as_json:
        print_json(rows)
        return
    table = Table(*_LISTED, box=None, pad_edge=False)
    for row in rows:
        rate = row["per_second"]
        table.add_row(
            row["id"], row["name"], " ".join(row["scopes"]), "" if rate is None else f"{rate:g}", row["created_at"]
        )
    console().print(table)


@app.command(epilog="Example: sanad key revoke 1f3a9c02 --key-file /etc/sanad/keys.json")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id from 'sanad key list'.")],
    key_file: KeyFile,
    as_json: Json = False,
) -> None:
    """Take a key out of force. A running service refuses it within a second, and ends what it signed in."""
    from serving.auth.keys import ServiceKey, change_keys

    revoked: list[ServiceKey] = []

    def without(keys: tuple[ServiceKey, ...]) -> tuple[ServiceKey, ...]:
        revoked.extend(key for key in keys if key.id == key_id)
        if not revoked:
            raise ConfigError(f"{key_file}: found no key {key_id!a}, expected an id from 'sanad key list'")
        return tuple(key for key in keys if key.id != key_id)

    change_keys(key_file, without)
    if as_json:
        print_json({"id": key_id, "name": revoked[0].name})
    else:
        typer.echo(f"key {key_id} of {revoked[0].name} is revoked")
