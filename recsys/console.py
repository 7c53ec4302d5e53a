"""
The parts that the commands of all packages share: options, progress, text of mixed direction, JSON.

Results go to standard output, progress and messages to standard error. Only command modules use it.
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
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
_FIRST_BEAT_S: Final = 10.0  # without a line; then twice as long, up to a minute
_LONGEST_BEAT_S: Final = 60.0
_BEAT_S: Final = 1.0
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


def isolated(text: str, width: int | None = None, *, on_terminal: bool | None = None) -> str:
    """
    Text of any direction for a line that runs left to right, cut to `width` cells. Characters that control a terminal
    or the direction are removed.

    On a terminal, isolates keep a right-to-left text from moving its neighbours; the mark after it does the same where
    isolates are not known. Neither takes a cell. Other text, and a file or a pipe, get none: they would stand between
    its words. `on_terminal` None = whether standard output is one.
    """
    from rich.cells import cell_len, set_cell_size

    text = _CONTROLS.sub("", text)
    if width is not None and cell_len(text) > width:
        text = set_cell_size(text, width - 1).rstrip() + "…"
    is_drawn = sys.stdout.isatty() if on_terminal is None else on_terminal
    return f"{_ISOLATE}{text}{_POP}{_LTR_MARK}" if is_drawn and is_right_to_left(text) else text


def is_right_to_left(text: str) -> bool:
    """Whether a letter of a text runs from right to left."""
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def isolated_lines(text: str, width: int, max_lines: int, *, on_terminal: bool) -> str:
    """A text broken between words into lines of at most `width` cells, each isolated; the last one is cut."""
    from rich.cells import cell_len

    lines: list[str] = []
    for word in _CONTROLS.sub("", text).split():
        is_last = len(lines) == max_lines
        if lines and (is_last or cell_len(f"{lines[-1]} {word}") <= width):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(isolated(line, width, on_terminal=on_terminal) for line in lines)


@contextmanager
def progress(*, is_quiet: bool) -> Iterator[Progress]:
    """
    Draws the progress of a long job on standard error: bars with the time left on a terminal, a few lines elsewhere.

    A bar is removed when its job ends.
    """
    if is_quiet:
        yield quiet
        return
    errors = console(is_error=True)
    if not errors.is_terminal:
        with _lines() as report_line:
            yield report_line
        return
    from rich import progress as bars

    columns = (
        bars.SpinnerColumn(), bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(), bars.TimeRemainingColumn(),
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


class ProgressLines:
    """
    Progress where there is no terminal to draw on: a line when a stage begins, one for each quarter of a long stage,
    and one whenever nothing was printed for a while, so that nobody wonders whether a long stage stands still.

    `report` is a `Progress`; `beat` may be called from another thread. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float], write: Callable[[str], None]) -> None:
        self._clock, self._write, self._lock = clock, write, Lock()
        self._quarters: dict[str, int] = {}
        self._started = clock()  # of the stage
        self._stage: tuple[str, int, int | None] | None = None
        self._next_at = clock() + _FIRST_BEAT_S

    def report(self, stage: str, done: int, total: int | None) -> None:
        """A `Progress`."""
        with self._lock:
            if self._stage is None or self._stage[0] != stage:
                self._started = self._clock()
            self._stage = (stage, done, total)
            quarter = _LINES_PER_LONG_STAGE * done // total if total and total >= _LONG_STAGE else 0
            if self._quarters.get(stage, -1) < quarter:
                self._quarters[stage] = quarter
                self._print(f"  {stage}: {done:,} of {total:,}" if quarter else f"  {stage}", _FIRST_BEAT_S)

    def beat(self) -> None:
        """Say how far the stage is when nothing was printed for a while; less and less often."""
        with self._lock:
            now = self._clock()
            if self._stage is None or now < self._next_at:
                return
            stage, done, total = self._stage
            elapsed = now - self._started
            if total and 0 < done < total:
                left = elapsed / done * (total - done)
                text = f"  {stage}: {done:,} of {total:,}, about {format_seconds(left)} left"
            else:
                text = f"  {stage}: {format_seconds(elapsed)} so far"
            self._print(text, min(elapsed, _LONGEST_BEAT_S))

    def _print(self, text: str, silence_s: float) -> None:
        self._next_at = self._clock() + max(silence_s, _FIRST_BEAT_S)
        self._write(text)


def format_seconds(seconds: float) -> str:
    """A duration for people: `40 s`, `3 min`, `1 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def _lines() -> Iterator[Progress]:
    """`ProgressLines` on standard error, with a thread that beats."""
    lines, is_done = ProgressLines(monotonic, lambda text: typer.echo(text, err=True)), Event()

    def beat() -> None:
        while not is_done.wait(_BEAT_S):
            lines.beat()

    thread = Thread(target=beat, name="progress", daemon=True)
    thread.start()
    try:
        yield lines.report
    finally:
        is_done.set()
        thread.join()


def format_counts(counts: Mapping[str, int]) -> str:
    """Counts as a line: `3,000 items, 1,000 users`."""
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())
