"""The commands about texts alone: `detect`, `embed`. Heavy imports wait until one runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.console import Json, Quiet, console, isolated, print_json, progress, say, writable
from recsys.errors import ConfigError
from recsys.vocabulary import LANGUAGES
from training.commands.setup import prepare_training

if TYPE_CHECKING:
    from recsys.text.detect import Detected

app = typer.Typer()
_PANEL = "Data and models"
_WIDTH = 40  # of a text in a table, in cells

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="One text a line, or .csv with columns text and language; - for stdin.")
]


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad detect captions.txt --json")
def detect(
    file: File,
    declared: Annotated[
        list[str] | None,
        typer.Option(metavar="LANGUAGE", help="The declared language, for texts that do not say; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Detect the language, dialect and script of each text, with a confidence.

    With --json one object a line, in the order of the file. Texts that are too short or too uncertain take the declared
    language, else und.
    """
    import msgspec

    from training.text.files import detect_languages, read_texts

    for language in declared or ():
        if language not in LANGUAGES:
            raise ConfigError(f"--declared: found {language!r}, expected one of {', '.join(LANGUAGES)}")
    texts = read_texts(file)
    rows = detect_languages(texts, declared or ())
    if as_json:
        for row in rows:
            typer.echo(msgspec.json.encode(row).decode())
    else:
        _show(texts.texts, rows)


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad embed captions.csv --out vectors.npz --like var/artifact")
def embed(
    file: File,
    out: Annotated[Path, typer.Option("--out", metavar="NPZ", help="The file to write.", dir_okay=False)],
    encoder: Annotated[str, typer.Option(help="Text encoder: e5, use, or a folder or name.")] = "e5",
    like: Annotated[
        Path | None, typer.Option(metavar="ARTIFACT", help="Centre by language as this artifact does.", file_okay=False)
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="The folder of encoder and cached vectors.", file_okay=False)
    ] = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Write the vectors that the engine uses for these texts.

    Texts that were encoded before come from the cache, so a run that was stopped continues where it was. The file holds
    vectors, the encoder's fingerprint, and the version of the artifact whose centring was applied.
    """
    prepare_training("sanad embed")
    from recsys.models.artifact import load_artifact
    from training.text.encoder import EncoderParams, cache_folder, make_encoder
    from training.text.files import encode_file, read_texts, save_vectors

    texts = read_texts(file)
    writable(out)
    where = cache or cache_folder()
    text_encoder = make_encoder(EncoderParams(model=encoder), where)
    artifact = None if like is None else load_artifact(like)
    with progress(is_quiet=is_quiet) as report:
        encoded = encode_file(texts, text_encoder, where, artifact, report)
    version = None if artifact is None else artifact.version
    save_vectors(out, encoded, text_encoder, version or "")
    if as_json:
        print_json(
            {
                "vectors": str(out), "n_vectors": len(encoded.vectors), "dim": text_encoder.dim,
                "n_encoded": encoded.n_encoded, "n_reused": encoded.n_reused,
                "encoder": text_encoder.fingerprint, "artifact": version,
            }
        )  # fmt: skip
        return
    say(
        f"{out}: {len(encoded.vectors):,} vectors of {text_encoder.dim} numbers, {encoded.n_encoded:,} encoded now, "
        f"{encoded.n_reused:,} from the cache; encoder {text_encoder.fingerprint[:12]}",
        is_quiet=is_quiet,
    )


def _show(texts: Sequence[str], rows: "list[Detected]") -> None:
    from rich.table import Table

    table = Table("language", "dialect", "script", "sure", "shares", "read", "text", box=None, pad_edge=False)
    for text, row in zip(texts, rows, strict=True):
        shares = ", ".join(f"{name} {share:.0%}" for name, share in row.proportions.items())
        table.add_row(
            row.language, row.dialect or "", row.script or "", f"{row.confidence:.2f}", shares,
            "yes" if row.is_understood else "no", isolated(" ".join(text.split()), _WIDTH),
        )  # fmt: skip
    console().print(table)
