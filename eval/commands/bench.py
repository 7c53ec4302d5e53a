"""The evaluation commands of `sanad bench`: `locality`. Heavy imports wait until a command runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from recsys.console import Json, Quiet, console, print_json, progress
from recsys.errors import ConfigError
from recsys.resources import DEFAULT_POLICY, policy_file

if TYPE_CHECKING:
    from eval.offline.locality_benchmark import LocalityBenchmark, LocalityCurve, LocalityPoint
    from eval.offline.served_locality import ServedLocality

app = typer.Typer()
_FILE: dict[str, Any] = {"exists": True, "dir_okay": False}


@app.command(epilog="Example: sanad bench locality var/artifact --data var/data")
def locality(
    artifact: Annotated[
        Path | None, typer.Argument(metavar="ARTIFACT", help="Measure what this artifact serves; needs --data.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="The dataset folder that it was trained from.")
    ] = None,
    policy: Annotated[
        Path, typer.Option(metavar="FILE", parser=policy_file, show_default="morocco", help="The market's policy.")
    ] = DEFAULT_POLICY,
    people: Annotated[int, typer.Option(min=5, help="At most this many people of DATA, drawn by the seed.")] = 1_000,
    train: Annotated[
        Path | None, typer.Option(help="Columns person, item. Models are fitted on it and tuned on a part.", **_FILE)
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="Columns person, item. Read once, for the evaluation.", **_FILE)
    ] = None,
    users: Annotated[Path | None, typer.Option(help="Columns person and place.", **_FILE)] = None,
    items: Annotated[Path | None, typer.Option(help="Columns item and place.", **_FILE)] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Items per person.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The seed of what is drawn: people, or the validation part.")] = 0,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Measure the accuracy cost of favouring local items: of what an artifact serves, or on a split with places.

    Files of a split are CSV, plain or .gz, with a header. Both tables have a column region, country_iso2 or country.
    """
    split = (train, test, users, items)
    with progress(is_quiet=is_quiet) as report:
        if artifact is not None and data is not None and not any(split):
            from eval.offline.served_locality import measure_served

            served = measure_served(artifact, data, policy, k=k, n_people=people, seed=seed, on_progress=report)
            _print(served, _show_served, as_json=as_json)
        elif artifact is None and data is None and train and test and users and items:
            from threadpoolctl import threadpool_limits

            from eval.offline.locality_benchmark import run_benchmark
            from eval.offline.place_splits import read_split

            with threadpool_limits(1):
                result = run_benchmark(read_split(train, test, users, items), k=k, seed=seed, on_progress=report)
            _print(result, _show, as_json=as_json)
        else:
            raise ConfigError(
                "found a part of what is needed or both kinds, expected an ARTIFACT with --data, or --train, --test, "
                "--users and --items; name the others"
            )


Result = TypeVar("Result")


def _print(result: Result, show: Callable[[Result], None], *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        show(result)


def _show_served(result: "ServedLocality") -> None:
    out = console()
    title = f"{result.n_people:,} people, mixing weight of the ranker {result.mixing_weight:.0%}"
    out.print(_table(title, result.points, result.k, has_watch=True))
    out.print(f"Served: locality weight {result.served_weight:g}, and a floor of {result.served_floor:.0%}.")


def _show(result: "LocalityBenchmark") -> None:
    out = console()
    out.print(f"{result.n_users:,} people, {result.n_items:,} items, {result.n_places} places")
    for group in result.groups:
        out.print()
        out.print(_curve(group, result.k))
        tuned, baseline = group.tuned, group.baseline
        out.print(
            f"Tuned: locality weight {group.locality_weight:g}, lift {group.lift_weight:g}. "
            f"Local share {baseline.local_share:.3f} -> {tuned.local_share:.3f} (history {group.history_share:.3f}), "
            f"recall {baseline.recall:.4f} -> {tuned.recall:.4f}, NDCG {baseline.ndcg:.4f} -> {tuned.ndcg:.4f}."
        )


def _curve(group: "LocalityCurve", k: int) -> object:
    title = f"{group.name}: {group.n_people:,} people, local share of their history {group.history_share:.3f}"
    return _table(title, group.points, k, has_watch=False)


def _table(title: str, points: Sequence["LocalityPoint"], k: int, *, has_watch: bool) -> object:
    from rich.table import Table

    table = Table(box=None, title=title, title_justify="left", header_style="bold", pad_edge=False)
    watch = ("watch",) if has_watch else ()
    for heading in ("", "weight", *watch, f"Recall@{k}", f"NDCG@{k}", "local share", "local recall", "unknown"):
        table.add_column(heading, justify="left" if not heading else "right")
    for p in points:
        watched = (_number(p.watch),) if has_watch else ()
        row = (f"{p.recall:.4f}", f"{p.ndcg:.4f}", f"{p.local_share:.3f}", _number(p.local_recall))
        table.add_row(p.method, f"{p.weight:g}", *watched, *row, f"{p.unknown_share:.3f}")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
