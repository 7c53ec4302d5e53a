"""The command that predicts labels: `label`. Heavy imports wait until it runs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.console import At, Json, Quiet, console, isolated, present, print_json, progress, say, writable
from recsys.errors import ConfigError, DataError
from training.commands.setup import prepare_training

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

    from recsys.stores.protocols import Catalogue
    from training.labels.explain import Why
    from training.labels.run import LabelRun

OpenCatalogue = Callable[[str], AbstractContextManager["Catalogue"]]
"""Opens the live catalogue in a state file. The command line hands it in, because training knows no database."""

app = typer.Typer()
_MAX_SHOWN = 20  # raised items on a terminal; the file has all


Data = Annotated[
    Path | None, typer.Argument(metavar="[DATA]", help="A dataset folder: creators, items, users, events.")
]
State = Annotated[
    str | None,
    typer.Option(
        "--state", metavar="STATE", help="Instead of DATA: label the items that wait in the state of a service."
    ),
]
ArtifactFolder = Annotated[
    Path | None,
    typer.Option("--artifact", metavar="DIR", help="With --state: the artifact that is served.", file_okay=False),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the labels of all items here, as .parquet or .csv.")
]
ReportTo = Annotated[
    Path | None,
    typer.Option("--report", metavar="DIR", help="Write their evaluation: report.json and a plot for each tier."),
]
Explain = Annotated[
    bool,
    typer.Option("--explain", help="Show why: the character n-grams and the labelled items that speak for a label."),
]
Threshold = Annotated[
    float, typer.Option(min=0.5, max=1, help="The probability that a label needs; the market's label_threshold.")
]
Encoder = Annotated[str, typer.Option(help="Text encoder: e5, use, or a folder or name.")]
BadShare = Annotated[float, typer.Option(min=0, max=1, help="The share of unusable rows a table may have.")]
Cache = Annotated[
    Path | None, typer.Option(help="The folder of encoder, cached vectors and fitted labels.", file_okay=False)
]


@app.command(
    rich_help_panel="Data and models", epilog="Example: sanad label var/data --out var/labels.parquet --explain"
)
def label(
    context: typer.Context,
    data: Data = None,
    state: State = None,
    artifact: ArtifactFolder = None,
    out: Out = None,
    report_to: ReportTo = None,
    explain: Explain = False,
    threshold: Threshold = 0.8,
    encoder: Encoder = "e5",
    max_bad_share: BadShare = 0.01,
    cache: Cache = None,
    at: At = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Predict labels for every item from the labelled ones, and evaluate them.

    A predicted label can raise an item's tier and never lowers it; an unlabelled item stays unlabelled.
    Exit code 1: there are too few labels to learn from.

    With --state FILE --artifact DIR the artifact's heads label the items that came or changed over HTTP since it was
    trained. The service may be running, and its next page counts the labels; run the command every few minutes.
    """
    _check_options(data, state, artifact, {"--out": out, "--report": report_to, "--explain": explain})
    prepare_training("sanad label")
    if state is not None and artifact is not None:
        written_at = 0 if at is None else present(at)  # 0: a clock that nobody vouches for moves no committed time
        _label_state(context.obj, state, artifact, written_at, threshold, cache, as_json=as_json, is_quiet=is_quiet)
        return
    from training.labels.run import run_labels

    _check_out(out)
    with progress(is_quiet=is_quiet) as follow:
        done = run_labels(
            data or Path(), present(at), encoder=encoder, threshold=threshold, explain=explain, report_to=report_to,
            max_bad_share=max_bad_share, cache=cache, on_progress=follow,
        )  # fmt: skip
    if done is None:
        say("there are too few labelled items to learn from: a question needs 20 of both answers", is_quiet=is_quiet)
        raise typer.Exit(1)
    if out is not None:
        _write(done.table, out)
    _print_labels(done, explain=explain, as_json=as_json)


def _check_options(data: Path | None, state: str | None, artifact: Path | None, others: dict[str, object]) -> None:
    """Raises ConfigError unless there is a dataset folder, or a state file with its artifact."""
    options = [f"{name} {value}" for name, value in others.items() if str(value).startswith("-")]
    if options:
        raise ConfigError(
            f"found {', '.join(options)}, expected a path to write to; name it after {options[0].split()[0]}"
        )
    if (data is None) == (state is None):
        both = "both DATA and --state" if data else "neither DATA nor --state"
        raise ConfigError(f"found {both}, expected a dataset folder, or --state FILE --artifact DIR")
    if (state is None) != (artifact is None):
        given, missing = ("--state", "--artifact") if artifact is None else ("--artifact", "--state")
        raise ConfigError(f"found {given} without {missing}, expected both: labels in a state file are by an artifact")
    if state is None:
        return
    unfit = [name for name, value in others.items() if value]
    if unfit:
        raise ConfigError(f"found {', '.join(unfit)} with --state, expected them with DATA only; leave them out")


def _check_out(out: Path | None) -> None:
    """Raises ConfigError unless the labels can be written there; makes the folder."""
    if out is None:
        return
    if out.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"found --out {out}, expected a name that ends in .parquet or .csv")
    writable(out)


def _label_state(
    open_catalogue: OpenCatalogue, state: str, artifact: Path, at: int, threshold: float, cache: Path | None,
    *, as_json: bool, is_quiet: bool,
) -> None:  # fmt: skip
    from training.labels.live import label_live
    from training.text.encoder import cache_folder

    with open_catalogue(state) as catalogue, progress(is_quiet=is_quiet) as follow:
        done = label_live(
            catalogue, artifact, at, cache or cache_folder(), threshold=threshold, on_progress=follow
        )  # fmt: skip
    if as_json:
        print_json(done)
        return
    left = f"; {done.n_left:,} were edited meanwhile and wait for the next run" if done.n_left else ""
    typer.echo(
        f"{state}: {done.n_labelled:,} items read, {done.n_unknown:,} of them without a predicted label, "
        f"{len(done.raised):,} have a higher tier now (revision {done.revision:,}){left}"
    )
    for row in done.raised[:_MAX_SHOWN]:
        typer.echo(f"{row['item_id']}: {row['before']} -> {row['now']} ({row['label_confidence']:.0%})")


def _write(table: "pl.DataFrame", out: Path) -> None:
    import polars as pl

    lists = [name for name, dtype in table.schema.items() if dtype == pl.List(pl.String)]
    try:
        if out.suffix == ".parquet":
            table.write_parquet(out)
            return
        table.with_columns(pl.col(lists).list.join("|")).write_csv(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None


def _print_labels(done: "LabelRun", *, explain: bool, as_json: bool) -> None:
    if as_json:
        print_json({"counts": done.counts, "report": done.report, "raised": done.raised(_MAX_SHOWN)})
        return
    from rich.table import Table

    typer.echo(", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in done.counts.items()))
    table = Table(
        "tier", "language", "labelled", "of that tier", "recall", "precision", "unknown", box=None, pad_edge=False
    )
    for row in done.report["recall"]:
        table.add_row(
            row["question"], row["language"], f"{row['n']:,}", f"{row['n_yes']:,}",
            "-" if row["recall"] is None else f"{row['recall']:.0%}", f"{row['precision']:.0%}",
            f"{row['unknown']:.0%}",
        )  # fmt: skip
    console().print(table)
    console().print(_group_table(done))
    if not explain:
        return
    for item in done.raised(_MAX_SHOWN):
        why: Why = item["why"] or {"ngrams": [], "similar": []}
        typer.echo(
            f"{item['item_id']}: {item['risk_tier'] or 'unlabelled'} -> {item['predicted_tier']} "
            f"({item['label_confidence']:.0%}); n-grams {isolated(' '.join(why['ngrams']))}; similar "
            + ", ".join(f"{other['item_id']} ({other['tier']}, {other['similarity']:.2f})" for other in why["similar"])
        )


def _group_table(done: "LabelRun") -> "Table":
    from rich.table import Table

    table = Table(
        "group", "", "labelled", "raised falsely (95 %)", "supportive", "not raised", "recognised",
        box=None, pad_edge=False,
    )  # fmt: skip
    for row in done.report["groups"]:
        interval = f"{row['raised']:.1%} ({row['raised_low']:.1%} to {row['raised_high']:.1%})"
        shares = ("-" if share is None else f"{share:.0%}" for share in (row["stay"], row["recall"]))
        table.add_row(row["by"], row["group"], f"{row['n']:,}", interval, f"{row['n_supportive']:,}", *shares)
    return table
