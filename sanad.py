"""The `sanad` command line: mounts the packages' commands and the demo; nothing else."""

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
from recsys.errors import SanadError, SourceError, StageError, StoreError

if TYPE_CHECKING:
    from recsys.stores.protocols import Catalogue

app = typer.Typer(
    name="sanad",
    help="Feeds of short videos on mental health: local creators favoured at a known price, harmful loops capped.",
    epilog="Exit codes: 0 fine, 1 the answer is no, 2 bad input or configuration, 3 something failed at run time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(training.app)
app.add_typer(serving.app)
app.add_typer(evaluation.app)
bench = typer.Typer(help="Measure models and locality on splits of real data.", no_args_is_help=True)
bench.add_typer(evaluation.bench)
bench.add_typer(training.bench)
app.add_typer(bench, name="bench", rich_help_panel="Judging")
_RULES: Final = "Policy and experiments"
app.add_typer(serving.policy, name="policy", rich_help_panel=_RULES)
app.add_typer(serving.experiment, name="experiment", rich_help_panel=_RULES)
app.add_typer(serving.creators, name="creators", rich_help_panel="Feeds")
app.add_typer(serving.export, name="export", rich_help_panel="Feeds")

FAILED: Final = (StoreError, StageError, SourceError, OSError)
"""What goes wrong at run time, exit code 3; every other SanadError is about input or configuration, exit code 2."""


@app.command(rich_help_panel="Demo", epilog="Example: sanad demo --folder var")
def demo(
    folder: Annotated[Path, typer.Option(help="Where demo data and artifact are, or will be.")] = Path("var"),
    only_prepare: Annotated[bool, typer.Option("--prepare", help="Only make the data and the artifact.")] = False,
) -> None:
    """
    Show the whole engine in one go: three people's feeds from the real service, and the caps at work.

    Makes the demo data and trains when they are not there yet (a minute or two), starts the service on a free port
    with a clock of its own, asks it over HTTP, stops it. The output is the same every time.
    """
    from eval.simulation.world.params import DEMO_PEOPLE
    from serving.demo import prepare, show

    prepare(folder, lambda *arguments: [sys.executable, "-m", "sanad", *arguments])
    if not only_prepare:
        logging.getLogger("sanad").setLevel(logging.ERROR)  # the service's notes are not for this stage
        show(folder, DEMO_PEOPLE)


@contextmanager
def _catalogue(state: Path) -> "Iterator[Catalogue]":
    """The live catalogue in a state file, for `sanad label`: training knows no database."""
    from serving.stores.sqlite.store import SqliteStore

    store = SqliteStore(state)
    try:
        yield store.catalogue
    finally:
        store.close()


def run(arguments: Sequence[str] | None = None) -> int:
    """One command; its exit code. Errors become sentences on standard error."""
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
    except Exception as error:  # the last line of defence: a sentence, and how to see more
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
