"""The command that chooses settings on a dataset: `tune`. Heavy imports wait until it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import At, Json, Quiet, present, print_json, progress, writable
from recsys.extras import require_extra

if TYPE_CHECKING:
    from training.models.settings import BlendParams
    from training.models.tune import TuneResult

app = typer.Typer()
_PANEL: Final = "Data and models"


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad tune var/data --out var/models.yaml")
def tune(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A dataset folder: creators, items, users, events.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The settings, for 'sanad train --config'.", dir_okay=False)
    ],
    study: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The measures so far. Default: FILE.study.jsonl.")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings to start from.")] = None,
    holdout_days: Annotated[float, typer.Option(min=0, help="Days at the end that are not read.")] = 3.0,
    assume_tier: Annotated[
        str | None, typer.Option(metavar="TIER", help="Treat unlabelled items as this tier.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same settings.")] = 0,
    at: At = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Choose the settings of the base models on the last part of a dataset.

    You can stop it at any time; run again, it continues where it was. Events held out for 'sanad eval' are not read.
    """
    require_extra("train", "sanad tune")
    from recsys.data.fingerprint import fingerprint
    from training.models.tune import as_yaml
    from training.models.tune import tune as run
    from training.prepare import cutoff_of
    from training.validate import clean

    place = writable(study or out.with_name(f"{out.name}.study.jsonl"))
    writable(out)
    with progress(is_quiet=is_quiet) as report:
        dataset, _ = clean(data, at=present(at), assume_tier=assume_tier, on_progress=report)
        before = cutoff_of(dataset, holdout_days, None)
        result = run(dataset, fingerprint(data), place, blend_params(config), before, seed, report)
    out.write_text(as_yaml(result.params), "utf-8")
    if as_json:
        print_json(result)
    else:
        typer.echo("\n".join(_lines(result, out)))


def blend_params(config: Path | None) -> "BlendParams":
    """The settings in a file, or the shipped ones. Raises ConfigError."""
    from recsys.config import load
    from training.models.settings import BlendParams

    return BlendParams() if config is None else load(config, BlendParams)


def _lines(result: "TuneResult", out: Path) -> list[str]:
    table = [f"{name:12} {result.default[name]:9.4f} {result.best[name]:9.4f}" for name in result.best]
    return [
        f"{'model':12} {'shipped':>9} {'chosen':>9}   NDCG on validation, {result.n_users:,} people",
        *table,
        f"{result.n_measured} settings measured, {result.n_known} of them in an earlier run",
        f"{out}: use it with 'sanad train DATA --config {out}'",
    ]
