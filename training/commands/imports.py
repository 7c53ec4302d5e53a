"""The commands `import table` and one for each public set: data of others as a dataset folder. Heavy imports wait."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer.core import TyperGroup

from recsys.clock import now, to_text
from recsys.console import Json, Quiet, format_counts, print_json, progress, say
from recsys.errors import ConfigError, DataError

if TYPE_CHECKING:
    from typer._click.core import Command, Context

    from training.importers.common import ImportReport

PUBLIC_SETS: Final[Mapping[str, str]] = {
    "amazon-reviews-2023": "Amazon Reviews 2023: CATEGORY.jsonl and meta_CATEGORY.jsonl.",
    "kuairand": "KuaiRand Pure, 1K or 27K: logs, users and videos as CSV.",
    "kuairand-signed": "The signed split of KuaiRand: train.txt, valid.txt, test.txt.",
    "lastfm-360k": "Last.fm 360K: plays and profiles as TSV.",
    "lastfm-countries": "Last.fm with the countries of listeners and artists.",
    "lightgcn": "Splits of LightGCN and NGCF: train and test as .txt or .npz.",
    "microlens": "MicroLens: pairs and titles.",
    "mind": "MIND: behaviors.tsv and news.tsv.",
    "movielens": "MovieLens 100K, 1M, 10M, 20M, 25M or latest.",
    "recbole": "RecBole's atomic files: NAME.inter, NAME.item, NAME.user.",
    "yelp": "The Yelp Open Dataset: reviews and businesses.",
}
"""Name of a public set -> what stands in its folder."""


class _Formats(TyperGroup):
    """Lists the formats when a word is none."""

    def resolve_command(self, ctx: "Context", args: list[str]) -> "tuple[str | None, Command | None, list[str]]":
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise ConfigError(f"found format {args[0]!r}, expected one of {', '.join(self.commands)}; correct FORMAT")
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_Formats, no_args_is_help=True, help="Turn data of others into a dataset folder.")

Folder = Annotated[Path, typer.Argument(metavar="DATA", help="The folder to write; it must hold no tables yet.")]
Source = Annotated[Path, typer.Argument(metavar="SRC", help="The folder with the files as published.")]


@app.command(
    epilog="Example: sanad import table --user user --item video --rating stars --threshold 4 --at time log.csv data/a"
)
def table(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A CSV, TSV, JSON Lines or Parquet file, or a folder of such parts.")
    ],
    data: Folder,
    user: Annotated[str, typer.Option(metavar="COL", help="Who: the id of the person.")],
    item: Annotated[str, typer.Option(metavar="COL", help="What: the id of the item.")],
    rating: Annotated[str | None, typer.Option(metavar="COL", help="A number: how much they liked it.")] = None,
    threshold: Annotated[float | None, typer.Option(metavar="X", help="From this rating on it is a like.")] = None,
    dislike: Annotated[float | None, typer.Option(metavar="X", help="Up to this rating, negative feedback.")] = None,
    event: Annotated[str | None, typer.Option(metavar="COL", help="A word: what they did.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(metavar="WORD=KIND", help="What a word means: click=view; repeatable.")
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="COL", help="When.")] = None,
    title: Annotated[str | None, typer.Option(metavar="COL", help="The title of the item.")] = None,
    text: Annotated[list[str] | None, typer.Option(metavar="COL", help="A text about it; repeatable.")] = None,
    language: Annotated[str | None, typer.Option(metavar="COL", help="The language of the item.")] = None,
    creator: Annotated[str | None, typer.Option(metavar="COL", help="Who made the item.")] = None,
    published: Annotated[str | None, typer.Option(metavar="COL", help="When the item was published.")] = None,
    items: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table of items: --item and the columns about it.")
    ] = None,
    names: Annotated[str | None, typer.Option(metavar="A,B,C", help="The columns of a table without a header.")] = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Turn any table of interactions into a dataset folder: a row is what one person did with one item.

    With neither --rating nor --event every row is a like. Without --at the events get a random order. Creators and
    titles that nobody names are filled in. Columns that no option names are left out with a notice. A value that cannot
    be read is an error with its line, and then nothing is written.
    """
    from training.importers.table import TableColumns, run

    columns = TableColumns(
        user=user, item=item, rating=rating, threshold=threshold, dislike=dislike, event=event, kinds=_kinds(kind),
        at=at, title=title, texts=tuple(text or ()), language=language, creator=creator, published=published,
    )  # fmt: skip
    header = tuple(names.split(",")) if names else None
    _import(
        "table",
        lambda source, folder: run(source, folder, columns, items=items, names=header),
        source,
        data,
        as_json=as_json,
        is_quiet=is_quiet,
    )


def _command_of(form: str) -> Callable[..., None]:
    def run(source: Source, data: Folder, as_json: Json = False, is_quiet: Quiet = False) -> None:
        from training.importers import FORMATS

        if not source.is_dir():
            raise DataError(f"found no folder {source}, expected the one with the published files; correct SRC")
        _import(form, FORMATS[form], source, data, as_json=as_json, is_quiet=is_quiet)

    return run


for _form, _about in PUBLIC_SETS.items():
    app.command(_form, help=_about, epilog=f"Example: sanad import {_form} ~/{_form} data/{_form}")(_command_of(_form))


def _kinds(pairs: list[str] | None) -> dict[str, str]:
    """`["click=view"]` -> `{"click": "view"}`. Raises ConfigError."""
    kinds = {}
    for pair in pairs or ():
        word, equals, kind = pair.rpartition("=")
        if not equals or not word:
            raise ConfigError(f"--kind: found {pair!r}, expected WORD=KIND, such as click=view")
        kinds[word] = kind
    return kinds


def _import(
    form: str,
    run: "Callable[[Path, Path], ImportReport]",
    source: Path,
    data: Path,
    *,
    as_json: bool,
    is_quiet: bool,
) -> None:
    from training.importers.whole import import_whole

    if not source.exists():
        raise DataError(f"found no {source}, expected a table or a folder of its parts; correct SRC")
    with progress(is_quiet=is_quiet) as report:
        report(f"import {form}", 0, None)
        done = import_whole(run, source, data, now())
    for notice in done.notices:
        say(f"note: {notice}", is_quiet=is_quiet)
    cutoffs = {part: to_text(at) for part, at in done.cutoffs.items()}
    if as_json:
        print_json({"data": str(data), "counts": done.counts, "notices": done.notices, "cutoffs": cutoffs})
        return
    typer.echo(f"{data}: {format_counts(done.counts)}")
    for part, at in cutoffs.items():
        typer.echo(f"The published {part} part begins at {at}; train without it with --holdout-from {at}")
