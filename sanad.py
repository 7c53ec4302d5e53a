"""The `sanad` command line: the commands of the three packages, and the demo."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

import eval.commands as evaluation
import serving.commands as serving
import training.commands as training
from recsys import kernels
from recsys.errors import SanadError, SourceError, StageError, StoreError
from recsys.resources import sanad_version

if TYPE_CHECKING:
    from recsys.stores.protocols import Catalogue

_RULES: Final = "Policy and experiments"
app = typer.Typer(
    name="sanad",
    epilog="Exit codes: 0 success, 1 the answer is no, 2 bad input or configuration, 3 a failure at run time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # joins the lines of a paragraph
)
app.add_typer(training.app)
app.add_typer(serving.app)
app.add_typer(evaluation.app)
bench = typer.Typer(help="Measure models and the locality weight on splits of real data.", no_args_is_help=True)
bench.add_typer(evaluation.bench)
bench.add_typer(training.bench)
app.add_typer(bench, name="bench", rich_help_panel="Evaluation")
app.add_typer(training.imports, name="import", rich_help_panel="Data and models")
app.add_typer(serving.policy, name="policy", rich_help_panel=_RULES)
app.add_typer(serving.helplines, name="helplines", rich_help_panel=_RULES)
app.add_typer(serving.experiment, name="experiment", rich_help_panel=_RULES)
app.add_typer(serving.key, name="key", rich_help_panel="Feeds")
app.add_typer(serving.creators, name="creators", rich_help_panel="Feeds")
app.add_typer(serving.export, name="export", rich_help_panel="Feeds")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"sanad {sanad_version()} ({kernels.describe()} loops)")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Feeds of short videos on mental health: local creators favoured at a known price, harmful loops capped."""


FAILED: Final = (StoreError, StageError, SourceError, OSError)
"""Failures at run time: exit code 3. Every other SanadError is about input or configuration: exit code 2."""


@app.command(rich_help_panel="Demo", epilog="Example: sanad demo --folder var")
def demo(
    folder: Annotated[
        Path, typer.Option(help="The folder of the demo data and the artifact. Made when missing.")
    ] = Path("var"),
    only_prepare: Annotated[bool, typer.Option("--prepare", help="Make the data and the artifact, then stop.")] = False,
) -> None:
    """
    Show the whole engine: the feeds of four people, the caps, a takedown and an event, from the real service.

    The first run makes the data and trains, which takes a minute or two.

    The service runs on a free port with a fixed clock, so every run prints the same.
    """
    from eval.simulation.world.params import DEMO_PEOPLE
    from serving.demo import prepare, show

    prepare(folder, lambda *arguments: [sys.executable, "-m", "sanad", *arguments])
    if not only_prepare:
        logging.getLogger("sanad").setLevel(logging.ERROR)  # warnings of the service would stand between the scenes
        show(folder, DEMO_PEOPLE)


@contextmanager
def _catalogue(state: str) -> "Iterator[Catalogue]":
    """Open the live catalogue of a state, for `sanad label`: `training` imports no database."""
    from serving.stores.open import existing_state, open_store

    store = open_store(existing_state(state))
    try:
        yield store.stores.catalogue
    finally:
        store.close()


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. An error becomes a sentence on standard error."""
    try:
        app(args=arguments, prog_name="sanad", obj=_catalogue)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 3
    except (SanadError, OSError) as error:
        if os.environ.get("SANAD_DEBUG"):
            traceback.print_exc()
        for problem in getattr(error, "problems", None) or (str(error),):
            typer.echo(f"sanad: {problem}", err=True)
        return 3 if isinstance(error, FAILED) else 2
    except Exception as error:  # a bug: a sentence, and how to see the traceback
        if os.environ.get("SANAD_DEBUG"):
            traceback.print_exc()
        more = "" if os.environ.get("SANAD_DEBUG") else "; set SANAD_DEBUG=1 to see where"
        typer.echo(f"sanad: failed unexpectedly with {type(error).__name__}: {error}{more}", err=True)
        return 3
    return 0


def main() -> None:
    """The entry point of the `sanad` script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
