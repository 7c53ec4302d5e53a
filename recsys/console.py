"""
The parts that the commands of all packages share: options, progress, text of mixed direction, JSON.

Results go to standard output, progress and messages to standard error. Only command modules use it.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.clock import Millis, from_text, now
from recsys.errors import ConfigError
from recsys.progress import Progress, quiet

if TYPE_CHECKING:
    from rich.console import Console

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress; errors are still printed.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
At = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="INSTANT", help="The present instant, such as 2026-11-20T18:30:00Z. Default: the clock."
    ),
]

_LINES_PER_LONG_STAGE: Final = 4  # where there is no terminal to draw on
_LONG_STAGE: Final = 1_000  # steps
_MAX_WIDTH: Final = 132  # columns
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_LTR_MARK: Final = "\u200e"
_ISOLATE: Final = "\u2068"
_POP: Final = "\u2069"


def present(at: str | None) -> Millis:
    """The instant that `--at` names, else the clock's. Raises ConfigError."""
    return now() if at is None else instant(at, "--at")


def instant(text: str, option: str) -> Millis:
    """The instant that an option names. Raises ConfigError."""
    try:
        return from_text(text)
    except ValueError as error:
        raise ConfigError(f"{option}: found {text!r}, expected an instant such as 2026-11-20T18:30:00Z") from error


def console(*, is_error: bool = False) -> "Console":
    """Standard output (or error) for text and tables: as wide as the terminal, at most 132 columns."""
    from rich.console import Console

    terminal = Console(stderr=is_error, highlight=False, markup=False, emoji=False, soft_wrap=False)
    return terminal if terminal.width <= _MAX_WIDTH else Console(
        stderr=is_error, highlight=False, markup=False, emoji=False, width=_MAX_WIDTH
    )  # fmt: skip


def writable(out: Path) -> Path:
    """The file that a command will write; makes its folder. Raises ConfigError before any work is done."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: its folder cannot be made ({error.strerror}); choose another --out") from None
    return out


def say(sentence: str, *, is_quiet: bool = False) -> None:
    """A sentence on standard error, unless `--quiet`."""
    if not is_quiet:
        typer.echo(sentence, err=True)


def print_json(value: object) -> None:
    """A value of plain types, dataclasses or structs as indented JSON on standard output."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def isolated(text: str, width: int | None = None) -> str:
    """
    Text of any direction for a line that runs left to right, cut to `width` cells.

    Isolates keep a right-to-left title from moving its neighbours. The mark after it does the same on terminals
    without isolates; neither takes a cell. Characters that control a terminal or the direction are removed.
    """
    from rich.cells import cell_len, set_cell_size

    text = _CONTROLS.sub("", text)
    if width is not None and cell_len(text) > width:
        text = set_cell_size(text, width - 1).rstrip() + "…"
    return f"{_ISOLATE}{text}{_POP}{_LTR_MARK}"


@contextmanager
def progress(*, is_quiet: bool) -> Iterator[Progress]:
    """
    Draws the progress of a long job on standard error: bars on a terminal, a few plain lines elsewhere.

    A bar is removed when its job ends.
    """
    if is_quiet:
        yield quiet
        return
    errors = console(is_error=True)
    if not errors.is_terminal:
        yield _lines()
        return
    from rich import progress as bars

    columns = (
        bars.SpinnerColumn(), bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )  # fmt: skip
    with bars.Progress(*columns, console=errors, transient=True) as drawn:
        tasks: dict[str, bars.TaskID] = {}

        def report(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                for earlier in tasks.values():
                    drawn.update(earlier, visible=False)
                tasks[stage] = drawn.add_task(stage)
            drawn.update(tasks[stage], completed=done, total=total, visible=True)

        yield report


def _lines() -> Progress:
    """A line when a stage begins, and one per quarter of the long ones."""
    printed: dict[str, int] = {}

    def report(stage: str, done: int, total: int | None) -> None:
        quarter = _LINES_PER_LONG_STAGE * done // total if total and total >= _LONG_STAGE else 0
        if printed.get(stage, -1) < quarter:
            printed[stage] = quarter
            typer.echo(f"  {stage}: {done:,} of {total:,}" if quarter else f"  {stage}", err=True)

    return report


def format_counts(counts: Mapping[str, int]) -> str:
    """Counts as a line: `3,000 items, 1,000 users`."""
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())
