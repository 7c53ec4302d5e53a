"""`sanad policy`: check, show, explain, compare and publish policy files, for everybody who sets limits."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import Json, console, print_json
from recsys.errors import ConfigError
from recsys.resources import DEFAULT_POLICY, policy_file
from recsys.vocabulary import EFFECTIVE_BANDS, EffectiveBand
from serving.commands.options import ExperimentFolder, PolicyFile, StateName

if TYPE_CHECKING:
    from recsys.policy.compiled import CompiledPolicy
    from recsys.policy.limits import LimitValue
    from recsys.policy.schema import Market
    from serving.commands.policy_diff import Change

app = typer.Typer(
    no_args_is_help=True,
    help="Check, show, explain, compare and publish policies.",
    epilog="Example: sanad policy explain --age 13-15 --night",
)
_BANDS: Final = EFFECTIVE_BANDS[::-1]


@app.command(epilog="Example: sanad policy check policies/morocco.yaml")
def check(policy: PolicyFile = DEFAULT_POLICY, as_json: Json = False) -> None:
    """
    Check whether a policy file can be used, and list every problem in it.

    Exit code 0: it can be used; 1: it cannot.
    """
    from recsys.policy.checks import load_market

    problems: tuple[str, ...] = ()
    try:
        market = load_market(policy)
    except ConfigError as error:
        problems = error.problems
    if as_json:
        print_json({"file": str(policy), "ok": not problems, "problems": problems})
    elif problems:
        typer.echo("\n".join(problems))
    else:
        signed = "" if market.signed_off else "; nobody has signed it off, so do not launch with it"
        typer.echo(f"{policy}: fine, version {market.version}{signed}")
    raise typer.Exit(1 if problems else 0)


@app.command(epilog="Example: sanad policy show")
def show(policy: PolicyFile = DEFAULT_POLICY, as_json: Json = False) -> None:
    """Show the limits of each age band: caps per window, gaps, floors and night hours."""
    from recsys.policy.checks import load_market
    from recsys.policy.compiled import CompiledPolicy
    from recsys.policy.limits import plain_limits

    market = load_market(policy)
    compiled = CompiledPolicy(market)
    if as_json:
        print_json({band: plain_limits(compiled.limits[band, 0, False]) for band in _BANDS})
        return
    signed = f"signed off by {market.signed_off.name}" if market.signed_off else "not signed off"
    typer.echo(f"{market.market}, version {market.version}, {signed}; {market.time_zone}\n")
    _show_caps(market)
    typer.echo("\nCaps of 2/3/6/21 admit 2 in any 20 videos, 3 in a session, 6 in 24 h and 21 in 7 days.")
    typer.echo("A gap is the number of other videos between two. 'sanad policy explain' shows nights and loop levels.")


@app.command(epilog="Example: sanad policy explain --age 13-15 --level 1 --night")
def explain(
    policy: PolicyFile = DEFAULT_POLICY,
    age: Annotated[EffectiveBand, typer.Option(help="The age band.")] = "18+",
    level: Annotated[int, typer.Option(min=0, max=2, help="The loop level.")] = 0,
    night: Annotated[bool, typer.Option("--night", help="The limits of the night hours.")] = False,
    at: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Take the limits of this instant, by the market's clock.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show every limit for an age band, a loop level and a time of day, and which layer of the policy sets it."""
    from recsys.policy.checks import load_market
    from recsys.policy.compiled import CompiledPolicy
    from recsys.policy.compiled import explain_limits as rows_of
    from recsys.policy.limits import plain_value

    compiled = CompiledPolicy(load_market(policy))
    rows = rows_of(compiled.layers(age, level, night or (at is not None and _is_night(compiled, age, level, at))))
    if as_json:
        print_json([{"path": path, "value": plain_value(path, value), "set_by": name} for path, value, name in rows])
        return
    _print_table(("limit", "value", "set by"), ((path, _text(path, value), name) for path, value, name in rows))


@app.command(epilog="Example: sanad policy diff morocco strict")
def diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", parser=policy_file, help="The policy in force.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", parser=policy_file, help="The policy to compare with it.")],
    as_json: Json = False,
) -> None:
    """
    Compare the limits of two policy files, for every age band, loop level, day and night.

    Exit code 0: AFTER is at least as strict everywhere; 1: a limit became looser.
    """
    from recsys.policy.checks import load_market
    from recsys.policy.compiled import CompiledPolicy
    from serving.commands.policy_diff import changes_between

    changes = changes_between(CompiledPolicy(load_market(before)), CompiledPolicy(load_market(after)))
    n_looser = sum(change.direction == "looser" for change in changes)
    if as_json:
        print_json({"changes": [_plain_change(change) for change in changes], "n_looser": n_looser})
    else:
        _print_changes(changes)
    raise typer.Exit(1 if n_looser else 0)


@app.command(epilog="Example: sanad policy preview strict --on var/state.db")
def preview(
    policy: Annotated[Path, typer.Argument(metavar="FILE", parser=policy_file, help="The policy to try.")],
    on: Annotated[
        str,
        typer.Option(
            metavar="STATE", envvar="SANAD_STATE", help="The state with the decision records: a file or an address."
        ),
    ],
    n: Annotated[int, typer.Option("--last", min=1, help="How many of the newest requests to try it on.")] = 1_000,
    as_json: Json = False,
) -> None:
    """
    Select logged pages again under another policy, and show what would change. Nothing is written.

    The candidates come from the decision records. A looser policy could change more than is shown here.
    """
    from recsys.feed.record import unpack
    from recsys.policy.checks import load_market
    from recsys.policy.compiled import CompiledPolicy
    from recsys.services.preview import preview as preview_pages
    from serving.stores.open import existing_state, open_store

    compiled = CompiledPolicy(load_market(policy))
    store = open_store(existing_state(on))
    try:
        changes = preview_pages(compiled, [unpack(stored.decision) for stored in store.stores.decisions.newest(n)])
    finally:
        store.close()
    if as_json:
        print_json(asdict(changes))
        return
    rows = ((tier, str(before), str(changes.tiers_after[tier])) for tier, before in changes.tiers_before.items())
    _print_table(("tier", "before", "after"), rows)
    typer.echo(
        f"{len(changes.changed)} of {changes.n_requests} pages would differ; empty places: "
        f"{changes.missing_before} before, {changes.missing_after} after."
    )
    for change in changes.changed[:10]:
        gone = len(set(change.before) - set(change.after))
        typer.echo(
            f"  {change.request_id}: {gone} of {len(change.before)} items would leave, {len(change.after)} items in all"
        )


@app.command(epilog="Example: sanad policy publish morocco --experiments experiments --state var/state.db")
def publish(
    policy: Annotated[Path, typer.Argument(metavar="FILE", parser=policy_file, help="The policy to publish.")],
    state: StateName,
    experiments: ExperimentFolder = None,
    as_json: Json = False,
) -> None:
    """
    Publish a policy and experiments for every service on a state that runs with --shared-rules.

    They are checked first. Services serve by them within a second and after a restart; publish the former ones again to
    go back. Without --experiments there are none.
    """
    from recsys.clock import now
    from recsys.stores.audit import LOCAL
    from serving.shared import publish as publish_in
    from serving.stores.open import existing_state, open_store

    store = open_store(existing_state(state))
    try:
        rules = publish_in(store.stores, policy, experiments, now(), LOCAL)
    finally:
        store.close()
    n_live = len(rules.experiments.live)
    if as_json:
        versions = {"policy": rules.market.version, "experiments": rules.experiments.version}
        print_json({"market": rules.market.market, **versions, "n_running": n_live})
        return
    typer.echo(f"published for {rules.market.market}: policy {rules.market.version}, {n_live} running experiments")


def _is_night(compiled: "CompiledPolicy", age: str, level: int, instant: str) -> bool:
    from recsys.clock import from_text
    from recsys.policy.nights import is_night

    try:
        return is_night(from_text(instant), (compiled.zone,), compiled.limits[age, level, False].night)
    except ValueError as error:
        raise ConfigError(f"--at: found {instant!r}, expected an instant such as 2026-11-20T23:30:00Z") from error


def _plain_change(change: "Change") -> dict[str, str]:
    return {
        "who": change.who,
        "limit": change.path,
        "before": _text(change.path, change.before),
        "after": _text(change.path, change.after),
        "direction": change.direction,
    }


def _print_changes(changes: "Sequence[Change]") -> None:
    """A table for each group of situations in which the same limits changed; then how many there are."""
    from serving.commands.policy_diff import grouped

    groups = grouped(changes)
    for whom, rows in groups:
        typer.echo(whom)
        _print_table(
            ("  limit", "before", "after", "which is"),
            ((f"  {c.path}", _text(c.path, c.before), _text(c.path, c.after), c.direction) for c in rows),
        )
        typer.echo()
    printed = [change for _, rows in groups for change in rows]
    n_looser = sum(change.direction == "looser" for change in printed)
    typer.echo(f"{len(printed)} limits differ, {n_looser} of them looser.")


def _show_caps(market: "Market") -> None:
    """Counters down, ages across: caps within 20 / session / 24 h / 7 days, and the gaps."""
    from recsys.policy.limits import WINDOWS
    from recsys.vocabulary import COUNTERS

    rows: list[tuple[str, ...]] = []
    for counter in COUNTERS:
        caps = [[_number(getattr(market.ages[band].windows[counter], w)) for w in WINDOWS] for band in _BANDS]
        rows.append((f"{counter} caps", *("/".join(cells) for cells in caps)))
        gaps = [market.ages[band].gaps.get(counter, 0) for band in _BANDS]
        if any(gaps):
            rows.append((f"{counter} gap", *(str(gap or "none") for gap in gaps)))
    rows.append(("supportive floor", *(f"{100 * market.ages[band].supportive_floor:.6g}%" for band in _BANDS)))
    rows.append(("local floor", *(f"{100 * market.locality.floor:.6g}%" for _ in _BANDS)))
    rows.append(("night", *(", ".join(market.ages[band].night.hours) or "none" for band in _BANDS)))
    rows.append(("minutes a day", *(_number(market.ages[band].daily_minutes) for band in _BANDS)))
    _print_table(("", *_BANDS), rows)


def _print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")  # a number or a path must never end in an ellipsis
    for row in rows:
        table.add_row(*row)
    console().print(table)


def _number(value: int | None) -> str:
    return "no cap" if value is None else str(value)


def _text(path: str, value: "LimitValue | None") -> str:
    """A value for people: tiers by name, minutes of the night as hours, floors as shares."""
    if value is None:
        return "none"
    if isinstance(value, frozenset):
        return _set_text(path, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{100 * value:.6g}%" if isinstance(value, float) else str(value)


def _set_text(path: str, values: frozenset[int] | frozenset[str]) -> str:
    from recsys.policy.limits import hours_text

    if path == "night":
        return hours_text(values)
    return ", ".join(sorted(f"R{value}" if path == "blocked.tiers" else str(value) for value in values))
