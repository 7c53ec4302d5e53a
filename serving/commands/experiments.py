"""`sanad experiment`: check and list experiment files."""

from dataclasses import astuple
from pathlib import Path
from typing import Annotated, Final

import typer

from recsys.console import Json, console, print_json
from recsys.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True, help="Check and list experiment files.", epilog="Example: sanad experiment check"
)
_ROOT: Final = Path(__file__).resolve().parents[2]

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder with registry.yaml and experiments.", show_default="experiments")
]
Policy = Annotated[
    Path, typer.Option(metavar="FILE", help="The market's policy.", show_default="policies/morocco.yaml")
]


@app.command(epilog="Example: sanad experiment check experiments")
def check(
    folder: Folder = _ROOT / "experiments",
    policy: Policy = _ROOT / "policies" / "morocco.yaml",
    as_json: Json = False,
) -> None:
    """
    Say whether a folder of experiments may run, or everything that is wrong, by file, line and key.

    An experiment can only tighten what keeps people safe. Exit code 1 when a file is wrong.
    """
    from recsys.experiments.files import check as examine
    from recsys.policy.checks import load_market

    found = examine(folder, load_market(policy))
    if as_json:
        print_json({"ok": not found.problems, "experiments": found.rows, "problems": found.problems})
    elif found.problems:
        typer.echo("\n".join(found.problems))
    else:
        typer.echo(f"{folder}: fine, {len(found.rows)} experiments")
    raise typer.Exit(1 if found.problems else 0)


@app.command("list", epilog="Example: sanad experiment list --json")
def list_(
    folder: Folder = _ROOT / "experiments",
    policy: Policy = _ROOT / "policies" / "morocco.yaml",
    as_json: Json = False,
) -> None:
    """List the experiments of a folder: status, layer, slice, ramp, variants and what they change."""
    from rich.table import Table

    from recsys.experiments.files import check as examine
    from recsys.policy.checks import load_market

    found = examine(folder, load_market(policy))
    if found.problems:
        raise ConfigError(*found.problems)
    if as_json:
        print_json(found.rows)
        return
    table = Table("key", "status", "layer", "slice", "ramp", "variants", "changes", box=None, pad_edge=False)
    for row in found.rows:
        table.add_row(*astuple(row))
    console().print(table)
