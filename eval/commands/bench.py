"""The commands of `sanad bench` about judging: `locality`. Heavy imports wait until it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.console import Json, Quiet, console, print_json, progress

if TYPE_CHECKING:
    from eval.offline.bench_locality import Bench, Group

app = typer.Typer()
_FILE: dict[str, Any] = {"exists": True, "dir_okay": False}


@app.command(
    epilog="Example: sanad bench locality --train train.csv --test test.csv --users users.csv --items items.csv"
)
def locality(
    train: Annotated[Path, typer.Option(help="Person, item: learned from, and tuned on a part of it.", **_FILE)],
    test: Annotated[Path, typer.Option(help="Person, item: read once, to judge by.", **_FILE)],
    users: Annotated[Path, typer.Option(help="Person and place.", **_FILE)],
    items: Annotated[Path, typer.Option(help="Item and place.", **_FILE)],
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Items per person.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the validation part that is cut from train.")] = 0,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    What favouring local items costs: recall against local share, on any split whose people and items have places.

    CSV files, plain or .gz, with a header. Places are in a column region, country_iso2 or country of both tables.
    """
    from threadpoolctl import threadpool_limits

    from eval.offline.bench_locality import bench
    from eval.offline.place_splits import read_split

    with progress(is_quiet=is_quiet) as report, threadpool_limits(1):
        found = bench(read_split(train, test, users, items), k=k, seed=seed, on_progress=report)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _show(found: "Bench") -> None:
    out = console()
    out.print(f"{found.n_users:,} people, {found.n_items:,} items, {found.n_places} places")
    for group in found.groups:
        out.print()
        out.print(_curve(group, found.k))
        tuned, plain = group.tuned, group.unfavoured
        out.print(
            f"Tuned: strength {group.strength:g}, lift {group.lift_weight:g}. Local share {plain.local_share:.3f} -> "
            f"{tuned.local_share:.3f} (history {group.history_share:.3f}), recall {plain.recall:.4f} -> "
            f"{tuned.recall:.4f}, NDCG {plain.ndcg:.4f} -> {tuned.ndcg:.4f}."
        )


def _curve(group: "Group", k: int) -> object:
    from rich.table import Table

    title = f"{group.name}: {group.n_people:,} people, local share of their history {group.history_share:.3f}"
    table = Table(box=None, title=title, title_justify="left", header_style="bold", pad_edge=False)
    for heading in ("", "strength", f"Recall@{k}", f"NDCG@{k}", "local share", "local recall", "unknown"):
        table.add_column(heading, justify="left" if not heading else "right")
    for p in group.points:
        local = "–" if p.local_recall is None else f"{p.local_recall:.3f}"
        row = (f"{p.recall:.4f}", f"{p.ndcg:.4f}", f"{p.local_share:.3f}", local, f"{p.unknown_share:.3f}")
        table.add_row(p.way, f"{p.strength:g}", *row)
    return table
