"""The commands that measure models on fixed splits: `bench split` and one for each public set. Heavy imports wait."""

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import Json, Quiet, print_json, progress, say
from recsys.errors import ConfigError, DataError
from recsys.extras import require_extra

if TYPE_CHECKING:
    from training.models.bench import BenchReport
    from training.models.splits import Split

app = typer.Typer(no_args_is_help=True, help="Evaluate the models on a fixed split: chosen on validation, tested once.")
RESULTS: Final = Path("benchmarks") / "RESULTS.md"  # of the repository: the published splits are run from its root
_DATA: Final = Path("..") / "shared" / "data"

K = Annotated[int, typer.Option("--k", min=1, help="The cut-off of the metrics.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Folder = Annotated[Path, typer.Option("--data", metavar="DIR", help="Where the public sets are.", file_okay=False)]


@app.command(epilog="Example: sanad bench split --train train.npz --test test.npz --format npz")
def split(
    train: Annotated[Path, typer.Option(metavar="FILE", help="The pairs to fit the models to.")],
    test: Annotated[Path, typer.Option(metavar="FILE", help="The pairs to test with.")],
    form: Annotated[str, typer.Option("--format", help="npz, lightgcn, pairs or signed.")],
    valid: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="More pairs to choose the models with, beside shares of train."),
    ] = None,
    k: K = 20,
    seed: Seed = 0,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Choose, fit and test every model and their blend on the given files, as 'sanad train --budget full' does.

    Settings are chosen on validation; models are fitted again to all of train and tested once. Items that a person has
    in train are not recommended to them. Formats: docs/models.md.
    """
    from training.models.splits import FORMATS, read_split

    if form not in FORMATS:
        raise ConfigError(f"found format {form!r}, expected one of {', '.join(FORMATS)}; correct --format")
    _run(lambda: read_split(form, train, test, valid), k, seed, as_json=as_json, is_quiet=is_quiet)


@app.command(epilog="Example: sanad bench gowalla")
def gowalla(data: Folder = _DATA, k: K = 20, seed: Seed = 0, as_json: Json = False, is_quiet: Quiet = False) -> None:
    """The published split of Gowalla (LightGCN); writes benchmarks/RESULTS.md."""
    _public("gowalla", data, k, seed, as_json=as_json, is_quiet=is_quiet)


@app.command("kuairand-signed", epilog="Example: sanad bench kuairand-signed")
def kuairand_signed(
    data: Folder = _DATA, k: K = 20, seed: Seed = 0, as_json: Json = False, is_quiet: Quiet = False
) -> None:
    """Short videos with negative feedback: the published validation part is the test; validation is a part of train."""
    _public("kuairand-signed", data, k, seed, as_json=as_json, is_quiet=is_quiet)


@app.command("lastfm-countries", epilog="Example: sanad bench lastfm-countries")
def lastfm_countries(
    data: Folder = _DATA, k: K = 20, seed: Seed = 0, as_json: Json = False, is_quiet: Quiet = False
) -> None:
    """Artists: a fifth of train, taken at random, is the test."""
    _public("lastfm-countries", data, k, seed, as_json=as_json, is_quiet=is_quiet)


def _gowalla(folder: Path) -> "Split":
    from training.models.splits import read_split

    return read_split("npz", folder / "train.npz", folder / "test.npz")


def _kuairand_signed(folder: Path) -> "Split":
    from training.models.splits import read_split

    return read_split("signed", folder / "train.txt.gz", folder / "valid.txt.gz")


def _lastfm_countries(folder: Path) -> "Split":
    import numpy as np

    from training.models.splits import Split, read_split, split_entries

    whole = read_split("pairs", folder / "train.csv.gz", folder / "train.csv.gz").train
    train, test = split_entries(whole, 0.2, np.random.default_rng(20260101))
    return Split(train, None, test)


_PUBLIC: Final[dict[str, Callable[[Path], "Split"]]] = {
    "gowalla": _gowalla,
    "kuairand-signed": _kuairand_signed,
    "lastfm-countries": _lastfm_countries,
}


def _public(name: str, data: Path, k: int, seed: int, *, as_json: bool, is_quiet: bool) -> None:
    folder = data / name
    if not folder.is_dir():
        raise DataError(f"found no folder {folder}, expected the public set {name}; say where it is with --data")
    report = _run(lambda: _PUBLIC[name](folder), k, seed, as_json=as_json, is_quiet=is_quiet)
    write_results(name, report, RESULTS)
    say(f"{RESULTS}: the part about {name} is new", is_quiet=is_quiet)


def _run(read: "Callable[[], Split]", k: int, seed: int, *, as_json: bool, is_quiet: bool) -> "BenchReport":
    require_extra("train", "sanad bench")
    from training.models.bench import run_split

    with progress(is_quiet=is_quiet) as on_progress:
        on_progress("read", 0, None)
        report = run_split(read(), k, seed, on_progress)
    if as_json:
        print_json(report)
    else:
        typer.echo("\n".join(lines(report)))
    return report


def lines(report: "BenchReport") -> list[str]:
    """The report as a table in text."""
    k = report.k
    head = f"{'model':12} {f'Recall@{k}':>10} {f'NDCG@{k}':>10} {'validation':>11} {'±':>7} {'weight':>7} {'fit s':>7}"
    table = [
        f"{row.name:12} {row.recall:10.4f} {row.ndcg:10.4f} {row.validation:11.4f} {row.error:7.4f} "
        f"{row.weight:7.2f} {row.fit_s:7.1f}"
        for row in report.rows
    ]
    negative = f" and {report.n_negative:,} negative pairs" if report.n_negative else ""
    return [
        f"{report.n_users:,} people, {report.n_items:,} items, {report.n_train:,} positive pairs{negative} in train; "
        f"{report.n_evaluated:,} people evaluated",
        head,
        *table,
        "the blend is the weighted sum, without a re-ranker"
        if not report.n_trees
        else f"the blend is the weighted sum, its best items re-ranked by {report.n_trees} trees",
        f"{report.n_fits} fits to choose in {report.choose_s:.0f} s, all lists in {report.recommend_s:.0f} s, "
        f"{report.total_s:.0f} s in all; peak memory {report.peak_gb:.2f} GB",
        *(f"  {row.name}: {', '.join(f'{key} {value}' for key, value in row.params.items())}" for row in report.rows),
    ]


def write_results(name: str, report: "BenchReport", path: Path) -> None:
    """Puts the report in its place among the others, beside the commit and the machine."""
    text = "\n".join([f"commit {_commit()}, {_machine()}", "", *lines(report)])
    sections = dict(_sections(path.read_text("utf-8")) if path.exists() else ())
    sections[name] = f"```\n{text}\n```"
    body = "\n\n".join(f"## {title}\n{body}" for title, body in sorted(sections.items()))
    path.write_text(
        "# Models on public splits\nWritten by `sanad bench NAME`; what the columns mean: docs/models.md.\n\n"
        + body
        + "\n",
        "utf-8",
    )


def _sections(text: str) -> list[tuple[str, str]]:
    parts = [part.partition("\n") for part in ("\n" + text).split("\n## ")[1:]]
    return [(name.strip(), body.strip()) for name, _, body in parts]


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines_of("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return f"{cpu}, Python {platform.python_version()}"


def _lines_of(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
