"""The demo: the real service asked over HTTP, the same words on every run."""

import io
import re
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from rich.cells import cell_len
from rich.console import Console

from eval.simulation.world.params import DEMO_PEOPLE
from recsys.errors import StageError
from serving.demo import prepare, show


@pytest.fixture(scope="module")
def folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo folder as `prepare` leaves it, with the tiny world in it."""
    made = tmp_path_factory.mktemp("demo")
    shutil.copytree(tiny_folder, made / "artifact")
    shutil.copytree(tiny_folder.parent / "data", made / "data")
    return made


def play(folder: Path, width: int, *, on_terminal: bool = False) -> str:
    said = io.StringIO()
    console = Console(
        file=said, width=width, highlight=False, markup=False, emoji=False, force_terminal=on_terminal, no_color=True
    )
    show(folder, DEMO_PEOPLE, console)
    return said.getvalue()


@pytest.fixture(scope="module")
def played(folder: Path) -> str:
    return play(folder, 80)


def test_every_run_says_the_same(folder: Path, played: str) -> None:
    assert play(folder, 80) == played


def test_four_people_get_a_page_each(played: str) -> None:
    assert re.findall(r"^(\d+) videos: \d+ R0, \d+ R1, (\d+) R2", played, re.MULTILINE)[:4] == [("10", "0")] * 4
    for who in (
        "A Darija-speaking adult in Casablanca",
        "A 15-year-old in Agadir",
        "A French-speaking parent in Rabat",
        "An adult who reads Tamazight first",
    ):
        assert who in played


def test_the_cap_lets_two_through_and_then_none(played: str) -> None:
    offered, then = played.split("A cap at work")[1].split("A minute later")
    n_first, n_then = (int(re.search(r"R1, (\d+) R2", part)[1]) for part in (offered, then))
    assert 1 <= n_first <= 2 and n_then == 0
    assert "nothing is relaxed to fill it" in then


def test_a_takedown_and_an_event_act_on_the_next_page(played: str) -> None:
    assert re.search(r"^v\d+ is on the page: no$", played, re.MULTILINE)
    assert re.search(r"^[1-9]\d* of 20 videos made way for others", played, re.MULTILINE)


def test_no_line_is_wider_than_the_terminal_and_a_file_gets_no_isolates(played: str) -> None:
    assert any("\u0600" <= character <= "\u06ff" for character in played)
    assert not {"\u2068", "\u2069", "\u200e"} & set(played)
    assert all(cell_len(line) <= 80 for line in played.splitlines())


def test_right_to_left_titles_never_leave_their_column_of_a_terminal(folder: Path) -> None:
    drawn = play(folder, 100, on_terminal=True)
    isolated = re.findall("\u2068([^\u2069]*)\u2069\u200e", drawn)
    assert isolated and all(any("\u0600" <= c <= "\u06ff" for c in text) for text in isolated)
    for line in drawn.splitlines():
        assert line.count("\u2068") == line.count("\u2069"), line


def test_a_title_is_printed_whole_with_its_english(folder: Path, played: str) -> None:
    items = pl.read_parquet(folder / "data" / "items.parquet")
    page = played.split("Age 18+, lives in Casablanca-Settat")[1].split("10 videos")[0]
    words = set(page.split())
    shown = [r for r in items.iter_rows(named=True) if r["gloss"] and set(r["title"].split()) <= words]
    assert len(shown) >= 3
    assert sum(set(row["gloss"].split()) <= words for row in shown) >= 3


def test_a_local_video_has_a_star_and_says_where_it_is_from(played: str) -> None:
    rows = [line for line in played.splitlines() if re.match(r"^ ?\d+ \*", line)]
    assert rows and all(" from" in row for row in rows)
    reads = "reads Darija, Darija in Latin letters, Arabic, French"
    assert "your region" in played and reads in " ".join(played.split())


def test_the_pages_of_people_are_compared(played: str) -> None:
    compared = played.split("How far these pages differ")[1].split("A cap at work")[0]
    assert re.findall(r"(\S+): \d+ of 10 videos are on no other page", compared)[:3] == [
        person.user_id for person in DEMO_PEOPLE
    ]


def test_what_is_there_is_not_made_again(folder: Path) -> None:
    prepare(folder, lambda *_: [sys.executable, "-c", "raise SystemExit('made again')"])


def test_a_world_that_was_not_finished_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(StageError):
        prepare(tmp_path, lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    assert not (tmp_path / "data").exists()
