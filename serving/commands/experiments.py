"""`sanad experiment`: check and list experiment files."""

from dataclasses import astuple
from pathlib import Path
from typing import Annotated

import typer

from recsys.console import Json, console, print_json, say
from recsys.errors import ConfigError
from recsys.resources import DEFAULT_EXPERIMENTS, DEFAULT_POLICY, policy_file

app = typer.Typer(
    no_args_is_help=True, help="Check and list experiment files.", epilog="Example: sanad experiment check"
)

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="A folder with registry.yaml and a file per experiment.", show_default="the shipped one"
    ),
]
Policy = Annotated[
    Path, typer.Option(metavar="FILE", parser=policy_file, show_default="morocco", help="The policy of the market.")
]


@app.command(epilog="Example: sanad experiment check experiments")
def check(
    folder: Folder = DEFAULT_EXPERIMENTS,
    policy: Policy = DEFAULT_POLICY,
    as_json: Json = False,
) -> None:
    """
    Check whether the experiments of a folder may run, and list every problem by file, line and key.

    An experiment can only tighten a limit of safety, and somebody must be able to be in it.

    Exit code 0: they may run; 1: they may not.
    """
    from recsys.experiments.files import check_folder
    from recsys.policy.checks import load_market

    report = check_folder(folder, load_market(policy))
    if as_json:
        print_json(
            {
                "ok": not report.problems,
                "experiments": report.rows,
                "problems": report.problems,
                "not_read": report.unread,
            }
        )
    elif report.problems:
        typer.echo("\n".join(report.problems))
    else:
        typer.echo(f"{folder}: fine, {len(report.rows)} experiments")
        if report.unread:
            say(f"note: not read: {', '.join(report.unread)}")
    raise typer.Exit(1 if report.problems else 0)


@app.command("list", epilog="Example: sanad experiment list --json")
def list_(
    folder: Folder = DEFAULT_EXPERIMENTS,
    policy: Policy = DEFAULT_POLICY,
    as_json: Json = False,
) -> None:
    """List the experiments of a folder: status, layer, slice, ramp, variants, and what each variant changes."""
    from rich.table import Table

    from recsys.experiments.files import check_folder
    from recsys.policy.checks import load_market

    report = check_folder(folder, load_market(policy))
    if report.problems:
        raise ConfigError(*report.problems)
    if as_json:
        print_json(report.rows)
        return
    table = Table("key", "status", "layer", "slice", "ramp", "variants", "changes", box=None, pad_edge=False)
    for row in report.rows:
        table.add_row(*astuple(row))
    console().print(table)
