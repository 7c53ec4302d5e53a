"""`sanad policy`: read, check, compare and explain policy files. For those who set limits, not only for engineers."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from recsys.console import Json, console, print_json
from recsys.errors import ConfigError
from recsys.vocabulary import EFFECTIVE_BANDS, EffectiveBand

if TYPE_CHECKING:
    from recsys.policy.compiled import CompiledPolicy
    from recsys.policy.limits import Limits
    from recsys.policy.schema import Market

app = typer.Typer(
    no_args_is_help=True,
    help="Read, check, compare and explain policy files.",
    epilog="Example: sanad policy explain --age 13-15 --night",
)
_DEFAULT: Final = Path(__file__).resolve().parents[2] / "policies" / "morocco.yaml"
_BANDS: Final = EFFECTIVE_BANDS[::-1]

File = Annotated[Path, typer.Argument(metavar="FILE", help="A policy file.", show_default="policies/morocco.yaml")]


@app.command(epilog="Example: sanad policy check policies/morocco.yaml")
def check(policy: File = _DEFAULT, as_json: Json = False) -> None:
    """Say whether a policy file can be used, or everything that is wrong with it. Exit code 1 when it cannot."""
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
        signed = "" if market.signed_off else "; nobody has signed it off yet, so it is not for a launch"
        typer.echo(f"{policy}: fine, version {market.version}{signed}")
    raise typer.Exit(1 if problems else 0)


@app.command(epilog="Example: sanad policy show")
def show(policy: File = _DEFAULT, as_json: Json = False) -> None:
    """Show what each age may be shown: caps per window, gaps, floors and nights."""
    from recsys.policy.checks import load_market
    from recsys.policy.compiled import CompiledPolicy
    from recsys.policy.limits import flatten

    market = load_market(policy)
    compiled = CompiledPolicy(market)
    if as_json:
        print_json({band: _plain(flatten(compiled.limits[band, 0, False])) for band in _BANDS})
        return
    signed = f"signed off by {market.signed_off.name}" if market.signed_off else "not signed off"
    typer.echo(f"{market.market}, version {market.version}, {signed}; {market.time_zone}\n")
    _show_caps(market)
    typer.echo("\nA cap of 2 / 3 / 6 / 21 admits 2 within any 20 videos, 3 in a session, 6 in 24 h and 21 in 7 days.")
    typer.echo("A gap is the number of other videos between two. 'sanad policy explain' shows nights and loop levels.")


@app.command(epilog="Example: sanad policy explain --age 13-15 --level 1 --night")
def explain(
    policy: File = _DEFAULT,
    age: Annotated[EffectiveBand, typer.Option(help="The age band.")] = "18+",
    level: Annotated[int, typer.Option(min=0, max=2, help="The loop level.")] = 0,
    night: Annotated[bool, typer.Option("--night", help="Within the night hours.")] = False,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="An instant; the market's clock tells its night.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show every limit in force for one kind of person at a time, and which layer of the policy set it."""
    from recsys.policy.checks import load_market
    from recsys.policy.compiled import CompiledPolicy
    from recsys.policy.compiled import explain as rows_of

    compiled = CompiledPolicy(load_market(policy))
    rows = rows_of(compiled.layers(age, level, night or (at is not None and _is_night(compiled, age, level, at))))
    if as_json:
        print_json([{"path": path, "value": _plain(value), "set_by": name} for path, value, name in rows])
        return
    _print_table(("limit", "value", "set by"), ((path, _text(path, value), name) for path, value, name in rows))


@app.command(epilog="Example: sanad policy diff policies/morocco.yaml policies/strict.yaml")
def diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="The policy as it is.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="The policy as it would be.")],
    as_json: Json = False,
) -> None:
    """
    Compare the limits of two policy files, for every age, loop level, day and night.

    Exit code 0: AFTER is at least as strict everywhere; 1: something became looser.
    """
    from recsys.policy.checks import load_market
    from recsys.policy.compiled import CompiledPolicy

    books = CompiledPolicy(load_market(before)), CompiledPolicy(load_market(after))
    rows = [row for key in books[0].limits for row in _changes(key, books[0].limits[key], books[1].limits[key])]
    n_looser = sum(row["direction"] == "looser" for row in rows)
    if as_json:
        print_json({"changes": rows, "n_looser": n_looser})
    elif rows:
        _print_table(("who", "limit", "before", "after", "which is"), (tuple(row.values()) for row in rows))
    if not as_json:
        typer.echo(f"{len(rows)} limits differ, {n_looser} of them looser.")
    raise typer.Exit(1 if n_looser else 0)


@app.command(epilog="Example: sanad policy preview policies/strict.yaml --on var/state.db")
def preview(
    policy: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file to try.")],
    on: Annotated[Path, typer.Option(metavar="FILE", help="The state file that holds the decision records.")],
    n: Annotated[int, typer.Option("--last", min=1, help="How many of the newest requests.")] = 1_000,
    as_json: Json = False,
) -> None:
    """
    Choose logged pages again under another policy, before it is rolled out. Nothing is written.

    The candidates are those of the records: of a stricter policy this shows every change, of a looser one the least.
    """
    from recsys.feed.record import unpack
    from recsys.policy.checks import load_market
    from recsys.policy.compiled import CompiledPolicy
    from recsys.services.preview import preview as tried
    from serving.stores.sqlite.store import SqliteStore

    compiled = CompiledPolicy(load_market(policy))
    if not on.is_file():
        raise ConfigError(f"found no file {on}, expected the state file that 'sanad serve --state' uses")
    store = SqliteStore(on)
    try:
        found = tried(compiled, [unpack(stored.decision) for stored in store.users.latest(n)])
    finally:
        store.close()
    if as_json:
        print_json(asdict(found))
        return
    rows = ((tier, str(before), str(found.tiers_after[tier])) for tier, before in found.tiers_before.items())
    _print_table(("tier", "before", "after"), rows)
    typer.echo(
        f"{len(found.changed)} of {found.n_requests} pages would differ; places left empty: "
        f"{found.missing_before} before, {found.missing_after} after."
    )
    for change in found.changed[:10]:
        gone = len(set(change.before) - set(change.after))
        typer.echo(f"  {change.request_id}: {gone} of {len(change.before)} items would go, {len(change.after)} in all")


def _is_night(compiled: "CompiledPolicy", age: str, level: int, instant: str) -> bool:
    from recsys.clock import from_text
    from recsys.policy.compiled import is_night

    try:
        return is_night(from_text(instant), (compiled.zone,), compiled.limits[age, level, False].night)
    except ValueError as error:
        raise ConfigError(f"--at: found {instant!r}, expected an instant such as 2026-11-20T23:30:00Z") from error


def _changes(key: tuple[str, int, bool], before: "Limits", after: "Limits") -> list[dict[str, str]]:
    from recsys.policy.limits import changed, meet

    looser = changed(after, meet(before, after))
    who = f"{key[0]}, level {key[1]}, {'night' if key[2] else 'day'}"
    return [
        {
            "who": who,
            "limit": path,
            "before": _text(path, old),
            "after": _text(path, new),
            "direction": "looser" if path in looser else "stricter",
        }
        for path, (old, new) in changed(before, after).items()
    ]


def _show_caps(market: "Market") -> None:
    """Counters down, ages across: caps within 20 / session / 24 h / 7 days, and the gap."""
    from recsys.policy.limits import WINDOWS
    from recsys.vocabulary import COUNTERS

    rows: list[tuple[str, ...]] = []
    for counter in COUNTERS:
        cells = []
        for band in _BANDS:
            rules = market.ages[band]
            caps = " / ".join(_number(getattr(rules.windows[counter], window)) for window in WINDOWS)
            gap = f", gap {rules.gaps[counter]}" if rules.gaps.get(counter) else ""
            cells.append(caps + gap)
        rows.append((counter, *cells))
    rows.append(("supportive floor", *(f"{market.ages[band].supportive_floor:.0%}" for band in _BANDS)))
    rows.append(("local floor", *(f"{market.locality.floor:.0%}" for _ in _BANDS)))
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


def _plain(value: Any) -> Any:
    """Values of `flatten` for JSON: sets in order, the rest as it is."""
    if isinstance(value, dict):
        return {path: _plain(each) for path, each in value.items()}
    return sorted(value) if isinstance(value, frozenset) else value


def _text(path: str, value: Any) -> str:
    """A value for people: tiers by name, minutes of the night as hours, floors as shares."""
    if value is None:
        return "none"
    if path == "night":
        return _hours(value)
    if path == "blocked.tiers":
        return ", ".join(f"R{tier}" for tier in sorted(value))
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(str, value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.0%}" if isinstance(value, float) else str(value)


def _hours(minutes: frozenset[int]) -> str:
    """Minutes of the day as intervals, such as 22:00-07:00."""
    starts = sorted(m for m in minutes if (m - 1) % 1440 not in minutes)
    spans = []
    for start in starts:
        end = next(m % 1440 for m in range(start + 1, start + 1441) if m % 1440 not in minutes)
        spans.append(f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}")
    return ", ".join(spans) or "all day"
