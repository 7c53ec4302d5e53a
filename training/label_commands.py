"""The command about labels of our own: `label`. Heavy imports wait until it runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.errors import ConfigError, DataError
from recsys.terminal import At, Json, Quiet, console, isolated, present, print_json, progress, say

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer()
_SHOWN = 20  # raised items on a terminal; the file has all


@app.command(
    rich_help_panel="Data and models", epilog="Example: sanad label var/data --out var/labels.parquet --explain"
)
def label(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A dataset folder: creators, items, users, events.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the labels of all items here, as .parquet or .csv."),
    ] = None,
    report_to: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="DIR", help="Write how good they are: report.json and a plot for each language."
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why: the letters that spoke for it, the nearest labelled items.")
    ] = False,
    threshold: Annotated[float, typer.Option(min=0.5, max=1, help="What a probability must reach.")] = 0.8,
    encoder: Annotated[str, typer.Option(help="Text encoder: e5, use, or a folder or name.")] = "e5",
    max_bad_share: Annotated[
        float, typer.Option(min=0, max=1, help="The share of unusable rows a table may have.")
    ] = 0.01,
    cache: Annotated[Path | None, typer.Option(help="Where encoder and vectors are kept.", file_okay=False)] = None,
    at: At = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Label every item by what the labelled ones teach, and say how far such labels can be trusted.

    A label of ours may raise an item's tier and never lowers one; an item that nobody labelled stays unlabelled.
    Exit code 1: there are too few labels to learn from.
    """
    from training.label_run import run_labels

    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"found --out {out}, expected a name that ends in .parquet or .csv")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with progress(is_quiet=is_quiet) as follow:
        done = run_labels(
            data, present(at), encoder=encoder, threshold=threshold, explain=explain, report_to=report_to,
            max_bad_share=max_bad_share, cache=cache, on_progress=follow,
        )  # fmt: skip
    if done is None:
        say("there are too few labelled items to learn from: a question needs 20 of both answers", is_quiet=is_quiet)
        raise typer.Exit(1)
    if out is not None:
        _write(done.table, out)
    if as_json:
        print_json({"counts": done.counts, "report": done.report, "raised": done.raised(_SHOWN)})
    else:
        _show(done, explain=explain)


def _write(table: "pl.DataFrame", out: Path) -> None:
    import polars as pl

    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".parquet":
        table.write_parquet(out)
        return
    lists = [name for name, dtype in table.schema.items() if dtype == pl.List(pl.String)]
    try:
        table.with_columns(pl.col(lists).list.join("|")).write_csv(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None


def _show(done: Any, *, explain: bool) -> None:
    from rich.table import Table

    typer.echo(", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in done.counts.items()))
    table = Table(
        "tier", "language", "labelled", "of that tier", "recall", "of those named", "unknown", box=None, pad_edge=False
    )
    for row in done.report["recall"]:
        table.add_row(
            row["question"], row["language"], f"{row['n']:,}", f"{row['n_yes']:,}",
            "-" if row["recall"] is None else f"{row['recall']:.0%}", f"{row['precision']:.0%}",
            f"{row['unknown']:.0%}",
        )  # fmt: skip
    console().print(table)
    if not explain:
        return
    for row in done.raised(_SHOWN):
        why = row["why"] or {}
        typer.echo(
            f"{row['item_id']}: {row['risk_tier'] or 'unlabelled'} -> {row['predicted_tier']} "
            f"({row['label_confidence']:.0%}); letters {isolated(' '.join(why.get('letters', [])))}; like "
            + ", ".join(f"{near['item_id']} ({near['tier']}, {near['likeness']:.2f})" for near in why.get("like", []))
        )
