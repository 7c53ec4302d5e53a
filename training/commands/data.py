"""The commands about data and models: `validate`, `train`. Heavy imports wait until one runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.console import (
    At,
    Json,
    Quiet,
    console,
    instant,
    present,
    print_json,
    progress,
    say,
    writable,
)
from training.commands.setup import prepare_training
from training.commands.tune import blend_params

if TYPE_CHECKING:
    from training.report import Report
    from training.text.encoder import EncoderParams
    from training.train import Trained

app = typer.Typer()
_PANEL = "Data and models"
_MAX_SHOWN = 20  # problems on a terminal; --json has more

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A dataset folder: creators, items, users, events.")]
BadShare = Annotated[float, typer.Option(min=0, max=1, help="The share of unusable rows a table may have.")]
Rejected = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write unusable rows here, each with the reason.", file_okay=False)
]
Out = Annotated[
    Path, typer.Option("--out", metavar="ARTIFACT", help="The folder to write, whole or not at all.", file_okay=False)
]
Encoder = Annotated[
    str, typer.Option(help="Text encoder: e5, use, none, or a folder or name for sentence-transformers.")
]
HoldoutDays = Annotated[float, typer.Option(min=0, help="Days at the end that are held out for 'sanad eval'.")]
HoldoutFrom = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="Hold out everything from this instant on instead.")
]
AssumeTier = Annotated[
    str | None,
    typer.Option(
        metavar="TIER", help="Treat unlabelled items as this tier. For experiments only; 'serve' refuses the artifact."
    ),
]
NoLabels = Annotated[bool, typer.Option("--no-labels", help="Predict no labels; use the given ones alone.")]
NoRanker = Annotated[bool, typer.Option("--no-ranker", help="Fit no ranker; the blend and popularity rank.")]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Settings of the base models, from 'sanad tune'.")]
Budget = Annotated[str, typer.Option(help="How much may be tried: small, nightly or full. See docs/models.md.")]
Previous = Annotated[
    Path | None,
    typer.Option(
        metavar="ARTIFACT", help="Shrink the blend's weights to this one's, unless one model alone is better."
    ),
]
Market = Annotated[str, typer.Option(help="The country that leads the safe feed.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same artifact.")]
Forget = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Leave out the people in a list from 'sanad export forgotten'; repeatable."),
]
Cache = Annotated[
    Path | None, typer.Option(help="The folder of encoder, cached vectors and fitted labels.", file_okay=False)
]


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad validate var/data --rejected var/rejected")
def validate(
    data: Data,
    rejected: Rejected = None,
    max_bad_share: BadShare = 0.01,
    at: At = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Check every row of a dataset folder against the data contract.

    Exit code 0: it can be trained on; 1: too many rows are unusable; 2: a table cannot be read at all.
    """
    from training.validate import validate as examine

    with progress(is_quiet=is_quiet) as follow:
        report = examine(data, at=present(at), rejected=rejected, max_bad_share=max_bad_share, on_progress=follow)
    if as_json:
        print_json({"ok": report.ok, **_plain_report(report)})
    else:
        _show_report(report)
    raise typer.Exit(0 if report.ok else 1)


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad train var/data --out var/artifact")
def train(
    data: Data,
    out: Out,
    encoder: Encoder = "e5",
    holdout_days: HoldoutDays = 3.0,
    holdout_from: HoldoutFrom = None,
    assume_tier: AssumeTier = None,
    no_labels: NoLabels = False,
    no_ranker: NoRanker = False,
    config: Config = None,
    budget: Budget = "small",
    previous: Previous = None,
    market: Market = "MA",
    seed: Seed = 0,
    rejected: Rejected = None,
    max_bad_share: BadShare = 0.01,
    forget: Forget = None,
    cache: Cache = None,
    at: At = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Fit all models on a dataset folder and write an artifact for 'serve', 'feed' and 'eval'.

    Nothing is fetched from the network. Texts that were encoded once are taken from the cache.
    """
    prepare_training("sanad train")
    from recsys.data.forgotten import read_forgotten
    from recsys.models.artifact import load_artifact
    from training.labels.predict import LabelParams
    from training.models.budget import find_budget
    from training.models.ranker_heads import RankerParams
    from training.params import TrainParams
    from training.train import run

    params = TrainParams(
        holdout_days=holdout_days,
        holdout_from=None if holdout_from is None else instant(holdout_from, "--holdout-from"),
        seed=seed,
        blend=blend_params(config),
        market=market,
        assume_tier=assume_tier,
        max_bad_share=max_bad_share,
        encoder=_encoder(encoder),
        labels=None if no_labels else LabelParams(),
        ranker=None if no_ranker else RankerParams(),
    )
    with progress(is_quiet=is_quiet) as report:
        trained = run(
            data, writable(out), params, present(at), cache=cache, rejected=rejected,
            forget=[read_forgotten(path) for path in forget or ()], budget=find_budget(budget),
            previous=None if previous is None else load_artifact(previous), on_progress=report,
        )  # fmt: skip
    _print_trained(out, trained, assume_tier, as_json=as_json, is_quiet=is_quiet)


def _notes(trained: "Trained", assume_tier: str | None) -> list[str]:
    notes = list(trained.report.notices)
    if assume_tier is not None:
        notes.append(
            f"every unlabelled item is treated as {assume_tier}; 'sanad serve' refuses this artifact without "
            "--allow-assumed on loopback"
        )
    return notes


def _encoder(name: str) -> "EncoderParams | None":
    from training.text.encoder import EncoderParams

    return None if name == "none" else EncoderParams(model=name)


def _plain_report(report: "Report") -> dict[str, object]:
    return {
        "tables": {name: {"read": t.n_read, "unusable": t.n_rejected} for name, t in report.tables.items()},
        "counted": report.counted,
        "problems": [{"sentence": problem.sentence(), "kind": problem.kind} for problem in report.problems],
        "notices": report.notices,
        "failures": report.failures,
        "unlabelled_items": report.n_unlabelled,
    }


def _show_report(report: "Report") -> None:
    from rich.table import Table

    table = Table("table", "rows", "unusable", "share", box=None, pad_edge=False)
    for name, count in report.tables.items():
        table.add_row(name, f"{count.n_read:,}", f"{count.n_rejected:,}", f"{count.bad_share:.2%}")
    console().print(table)
    lines = [problem.sentence() for problem in report.problems[:_MAX_SHOWN]]
    if sum(kind.n_rows for kind in report.counted) > len(lines):
        lines += [f"in all: table {k.table}, column {k.column!r}, {k.kind}: {k.n_rows:,} rows" for k in report.counted]
    lines += [f"note: {notice}" for notice in report.notices]
    lines += report.failures or ["It can be trained on."]
    typer.echo("\n".join(lines))


def _print_trained(out: Path, trained: "Trained", assume_tier: str | None, *, as_json: bool, is_quiet: bool) -> None:
    for notice in _notes(trained, assume_tier):
        say(f"note: {notice}", is_quiet=is_quiet)
    if as_json:
        print_json({"artifact": str(out), "manifest": trained.manifest, "seconds": trained.seconds})
        return
    counts = trained.manifest.counts
    typer.echo(
        f"{out}: {counts['items']:,} items, {counts['people']:,} people, "
        f"{counts['events_learned_from']:,} events learned from; {sum(trained.seconds.values()):.1f} s"
    )
    if "texts_encoded" in counts:
        typer.echo(f"texts: {counts['texts_encoded']:,} encoded now, {counts['texts_reused']:,} from the cache")
    if "people_left_out" in counts:
        typer.echo(f"left out: {counts['events_left_out']:,} events of {counts['people_left_out']:,} people")
    if "items_with_predicted_labels" in counts:
        typer.echo(
            f"predicted labels: {counts['items_with_predicted_labels']:,} items, of which "
            f"{counts['items_raised_by_predicted_labels']:,} have a higher tier than given"
        )
    if counts.get("cold_items_mapped"):
        typer.echo(
            f"cold items: {counts['cold_items_mapped']:,} without interactions have vectors from their text and creator"
        )
    typer.echo(f"base models: {trained.recipe}")
    typer.echo(f"ranker: {trained.ranker}")
    if trained.manifest.cutoff:
        typer.echo(f"events from {trained.manifest.cutoff} on are kept for 'sanad eval {out}'")
