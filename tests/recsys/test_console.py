"""Text of mixed direction on a terminal: isolates where they help, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from recsys.console import ProgressLines, format_seconds, is_right_to_left, isolated, isolated_lines

ARABIC = "دقيقة وحدة: خمسة د الحوايج"
MARKS = {"\u2068", "\u2069", "\u200e"}


@pytest.mark.parametrize("text", ["une vieille chanson", "ⵙⵙⵓⵜⵔ ⵜⵉⵡⵉⵙⵉ", "had sba7", "💚", "2026", ""])
def test_left_to_right_text_has_no_isolates(text: str) -> None:
    assert isolated(text, on_terminal=True) == text


def test_right_to_left_text_has_them_on_a_terminal_only() -> None:
    assert isolated(ARABIC, on_terminal=True) == f"\u2068{ARABIC}\u2069\u200e"
    assert isolated(ARABIC, on_terminal=False) == ARABIC
    assert is_right_to_left(f"a {ARABIC}") and not is_right_to_left("a b")


def test_a_pipe_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert isolated(ARABIC) == ARABIC


@given(text=st.text(max_size=200), width=st.integers(4, 60), lines=st.integers(1, 4), drawn=st.booleans())
def test_lines_are_as_wide_as_the_column_and_hold_no_control(text: str, width: int, lines: int, drawn: bool) -> None:
    made = isolated_lines(text, width, lines, on_terminal=drawn).split("\n")
    assert len(made) <= lines
    for line in made:
        assert cell_len("".join(c for c in line if c not in MARKS)) <= width
        assert line.count("\u2068") == line.count("\u2069") <= 1


def test_words_are_kept_whole_until_the_last_line_is_full() -> None:
    assert isolated_lines("one two three four", 9, 2, on_terminal=False) == "one two\nthree fo…"
    assert isolated_lines("one two three four", 9, 3, on_terminal=False) == "one two\nthree\nfour"


class Clock:
    """Seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def beaten(seconds: int, *, done: int = 0, total: int | None = None) -> list[str]:
    """The lines of a stage that reports once and then nothing for so many seconds."""
    clock, lines = Clock(), list[str]()
    drawn = ProgressLines(clock, lines.append)
    drawn.report("fit", done, total)
    for _ in range(seconds):
        clock.now += 1
        drawn.beat()
    return lines


def test_a_stage_of_under_ten_seconds_is_one_line() -> None:
    assert beaten(9) == ["  fit"]


def test_a_long_stage_says_how_long_it_takes_and_less_and_less_often() -> None:
    told = ["10 s", "20 s", "40 s", "80 s", "2 min"]
    assert beaten(150) == ["  fit", *(f"  fit: {time} so far" for time in told)]


def test_a_stage_with_a_total_says_the_time_that_is_left() -> None:
    """10 of 40 after 10 seconds: 30 seconds for the other 30."""
    assert beaten(10, done=10, total=40)[-1] == "  fit: 10 of 40, about 30 s left"


def test_quarters_of_long_stages_are_told_once() -> None:
    lines = list[str]()
    drawn = ProgressLines(Clock(), lines.append)
    for done in range(0, 2_001, 100):
        drawn.report("read", done, 2_000)
    assert lines == [
        "  read", "  read: 500 of 2,000", "  read: 1,000 of 2,000", "  read: 1,500 of 2,000", "  read: 2,000 of 2,000",
    ]  # fmt: skip


@pytest.mark.parametrize(("seconds", "text"), [(4.6, "5 s"), (89, "89 s"), (180, "3 min"), (4_800, "1 h 20 min")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
