"""The command that chooses settings on a dataset: `tune`. Heavy imports wait until it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import At, Json, Quiet, present, print_json, progress, writable
from recsys.extras import require_extra

if TYPE_CHECKING:
    from training.models.collaborative import TasteParams
    from training.models.tune import Tuned

app = typer.Typer()
_PANEL: Final = "Data and models"


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad tune var/data --out var/taste.yaml")
def tune(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A dataset folder: creators, items, users, events.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The settings, for 'sanad train --config'.", dir_okay=False)
    ],
    study: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What was measured so far. Default: FILE.study.jsonl.")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings to begin from.")] = None,
    holdout_days: Annotated[float, typer.Option(min=0, help="Days at the end that are not looked at.")] = 3.0,
    assume_tier: Annotated[str | None, typer.Option(metavar="TIER", help="Take R0 for unlabelled data.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same settings.")] = 0,
    at: At = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Choose the settings of the models of taste on the last part of a dataset.

    Stop it when you like: run again, it goes on where it stood. What is held out for 'sanad eval' is not looked at.
    """
    require_extra("train", "sanad tune")
    from training.fingerprint import fingerprint
    from training.models.tune import as_yaml
    from training.models.tune import tune as run
    from training.train import cutoff_of
    from training.validate import clean

    place = writable(study or out.with_name(f"{out.name}.study.jsonl"))
    writable(out)
    with progress(is_quiet=is_quiet) as report:
        dataset, _ = clean(data, at=present(at), assume_tier=assume_tier, on_progress=report)
        before = cutoff_of(dataset, holdout_days, None)
        found = run(dataset, fingerprint(data), place, taste_of(config), before, seed, report)
    out.write_text(as_yaml(found.params), "utf-8")
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(_lines(found, out)))


def taste_of(config: Path | None) -> "TasteParams":
    """The settings in a file, or the shipped ones. Raises ConfigError."""
    from recsys.config import load
    from training.models.collaborative import TasteParams

    return TasteParams() if config is None else load(config, TasteParams)


def _lines(found: "Tuned", out: Path) -> list[str]:
    table = [f"{name:10} {found.default[name]:9.4f} {found.best[name]:9.4f}" for name in found.best]
    return [
        f"{'part':10} {'shipped':>9} {'chosen':>9}   NDCG on validation, {found.n_judges:,} people",
        *table,
        f"{found.n_measured} settings measured, {found.n_known} of them in an earlier run",
        f"{out}: use it with 'sanad train DATA --config {out}'",
    ]
