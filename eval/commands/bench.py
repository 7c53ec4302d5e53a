"""The evaluation commands of `sanad bench`: `locality`. Heavy imports wait until a command runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.console import Json, Quiet, console, print_json, progress

if TYPE_CHECKING:
    from eval.offline.locality_benchmark import LocalityBenchmark, LocalityCurve

app = typer.Typer()
_FILE: dict[str, Any] = {"exists": True, "dir_okay": False}


@app.command(
    epilog="Example: sanad bench locality --train train.csv --test test.csv --users users.csv --items items.csv"
)
def locality(
    train: Annotated[
        Path, typer.Option(help="Columns person, item. Models are fitted on it and tuned on a part of it.", **_FILE)
    ],
    test: Annotated[Path, typer.Option(help="Columns person, item. Read once, for the evaluation.", **_FILE)],
    users: Annotated[Path, typer.Option(help="Columns person and place.", **_FILE)],
    items: Annotated[Path, typer.Option(help="Columns item and place.", **_FILE)],
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Items per person.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the validation part that is cut from train.")] = 0,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Measure the accuracy cost of favouring local items: recall against local share on a split with places.

    The files are CSV, plain or .gz, with a header. Both tables have a column region, country_iso2 or country.
    """
    from threadpoolctl import threadpool_limits

    from eval.offline.locality_benchmark import run_benchmark
    from eval.offline.place_splits import read_split

    with progress(is_quiet=is_quiet) as report, threadpool_limits(1):
        result = run_benchmark(read_split(train, test, users, items), k=k, seed=seed, on_progress=report)
    if as_json:
        print_json(result)
    else:
        _show(result)


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
    from rich.table import Table

    title = f"{group.name}: {group.n_people:,} people, local share of their history {group.history_share:.3f}"
    table = Table(box=None, title=title, title_justify="left", header_style="bold", pad_edge=False)
    for heading in ("", "weight", f"Recall@{k}", f"NDCG@{k}", "local share", "local recall", "unknown"):
        table.add_column(heading, justify="left" if not heading else "right")
    for p in group.points:
        local = "–" if p.local_recall is None else f"{p.local_recall:.3f}"
        row = (f"{p.recall:.4f}", f"{p.ndcg:.4f}", f"{p.local_share:.3f}", local, f"{p.unknown_share:.3f}")
        table.add_row(p.method, f"{p.weight:g}", *row)
    return table
