"""`sanad experiment`: check, list and kill experiments."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from recsys.clock import Millis
    from recsys.policy.schema import Market
    from recsys.services.audiences import AudienceCount
    from recsys.stores.protocols import Stores

from recsys.console import Json, print_json, say
from recsys.errors import ConfigError
from recsys.resources import DEFAULT_EXPERIMENTS, DEFAULT_POLICY, policy_file
from serving.commands.options import StateName

app = typer.Typer(
    no_args_is_help=True, help="Check, list and kill experiments.", epilog="Example: sanad experiment check"
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

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key of the experiment.")]
Users = Annotated[
    Path | None,
    typer.Option(
        "--users",
        metavar="FILE_OR_DATA",
        help="Count each audience in a users table: a file, or a dataset folder.",
    ),
]


@app.command(epilog="Example: sanad experiment check experiments --users var/data")
def check(
    folder: Folder = DEFAULT_EXPERIMENTS,
    policy: Policy = DEFAULT_POLICY,
    users: Users = None,
    as_json: Json = False,
) -> None:
    """
    Check whether the experiments of a folder may run, and list every problem by file, line and key.

    An experiment can only tighten a limit of safety, and somebody must be able to be in it. With --users, people are
    counted for each experiment by itself, at the last step of its ramp, as if all were calm.

    Exit code 0: they may run; 1: they may not.
    """
    from recsys.experiments.files import check_folder
    from recsys.policy.checks import load_market

    market = load_market(policy)
    report = check_folder(folder, market)
    counts = _count(folder, users, market) if users and not report.problems else ()
    problems = [*report.problems, *(count.problem for count in counts if count.problem)]
    if as_json:
        audiences = {} if users is None else {"audiences": counts}
        print_json(
            {"ok": not problems, "experiments": report.rows, "problems": problems, "not_read": report.unread}
            | audiences
        )
    else:
        typer.echo("\n".join(problems) if problems else f"{folder}: fine, {len(report.rows)} experiments")
        _print_counts(counts)
        if report.unread and not report.problems:
            say(f"note: not read: {', '.join(report.unread)}")
    raise typer.Exit(1 if problems else 0)


def _count(folder: Path, users: Path, market: "Market") -> "tuple[AudienceCount, ...]":
    from recsys.data.tables import read_table, reading
    from recsys.experiments.files import load_experiments
    from recsys.services.audiences import AUDIENCE_COLUMNS, count_audiences

    with reading("users"):
        rows = read_table(users, "users").select(AUDIENCE_COLUMNS).drop_nulls("user_id").collect(engine="streaming")
    return count_audiences(load_experiments(folder, market), rows.iter_rows(named=True), market)


def _print_counts(counts: "tuple[AudienceCount, ...]") -> None:
    for count in counts:
        variants = ", ".join(f"{key} {n:,}" for key, n in count.variants.items())
        typer.echo(f"{count.key}: {count.n_audience:,} of {count.n_people:,} people in the audience; {variants}")
    for note in (count.note for count in counts if not count.problem):
        if note:
            say(f"note: {note}")


@app.command("list", epilog="Example: sanad experiment list --json")
def list_(
    folder: Folder = DEFAULT_EXPERIMENTS,
    policy: Policy = DEFAULT_POLICY,
    as_json: Json = False,
) -> None:
    """List the experiments of a folder: status, layer, slice, ramp, variants, and what each variant changes."""
    from recsys.experiments.files import check_folder
    from recsys.policy.checks import load_market

    report = check_folder(folder, load_market(policy))
    if report.problems:
        raise ConfigError(*report.problems)
    if as_json:
        print_json(report.rows)
        return
    for row in report.rows:
        typer.echo(f"{row.key}: {row.status}")
        for name in ("layer", "slice", "ramp", "variants", "changes"):
            first, *others = re.split("[,;] ", getattr(row, name))
            typer.echo(f"  {name:<10}{first}")
            for other in others:
                typer.echo(f"{'':<12}{other}")


@app.command(epilog="Example: sanad experiment kill local-boost-ma-2026-11 --state var/state.db")
def kill(key: Key, state: StateName, as_json: Json = False) -> None:
    """
    Kill an experiment in every service on a state: within a second everybody gets the default, also after a restart.

    The services may keep running. Over HTTP it is POST /v1/experiments/KEY/kill.
    """
    from recsys.experiments.checks import KEY_PATTERN
    from serving.shared import kill as kill_in

    if not re.fullmatch(KEY_PATTERN, key):
        raise ConfigError(f"found the key {key!a}, expected that of an experiment, such as local-boost-ma-2026-11")
    done = _decide(kill_in, key, state)
    _tell(key, "killed" if done else "was killed already", is_changed=done, as_json=as_json)
    say("note: a state does not know which experiments run; GET /v1/experiments of a service shows that it is killed")


@app.command(epilog="Example: sanad experiment revive local-boost-ma-2026-11 --state var/state.db")
def revive(key: Key, state: StateName, as_json: Json = False) -> None:
    """
    Undo a kill, which is a person's decision: nothing else does. The status in the experiment's file counts again.

    Exit code 0: it was killed and is not any more; 1: nobody had killed it.
    """
    from serving.shared import revive as revive_in

    done = _decide(revive_in, key, state)
    _tell(key, "no longer killed" if done else "nobody killed it", is_changed=done, as_json=as_json)
    raise typer.Exit(0 if done else 1)


def _tell(key: str, what: str, *, is_changed: bool, as_json: bool) -> None:
    if as_json:
        print_json({"experiment": key, "is_changed": is_changed})
    else:
        typer.echo(f"{key}: {what}")


def _decide(decide: "Callable[[Stores, str, Millis, str], bool]", key: str, state: str) -> bool:
    from recsys.clock import now
    from recsys.stores.audit import LOCAL
    from serving.stores.open import existing_state, open_store

    store = open_store(existing_state(state))
    try:
        return decide(store.stores, key, now(), LOCAL)
    finally:
        store.close()
