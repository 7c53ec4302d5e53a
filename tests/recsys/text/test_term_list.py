"""Laws of private lists: they find what is hidden, and show nothing of themselves."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ConfigError
from recsys.text.term_list import Hit, TermList, term_list_of

HERE = Path(__file__).parent
SMALL = term_list_of(
    [("حزين", Hit(line=1, tier="R1")), ("blorvina", Hit(line=2)), ("je me tais", Hit(line=3)), ("💀", Hit(line=4))]
)


def lines(text: str, term_list: TermList = SMALL) -> list[int]:
    return [hit.line for hit in term_list.find(text)]


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("ana 7zin", [1]),
        ("الحزين حزيــــن", [1]),
        ("bl0rv1na et b l o r v i n a", [2]),
        ("bl**vina", [2]),
        ("bl*vina", []),  # one star is one letter
        ("Je me 🤮 TAIS!!", [3]),
        ("je tais", []),
        ("💀💀", [4]),
        ("blorvinas", []),  # whole words only
        ("", []),
        ("😭", []),
        ("\ud800\u202e", []),
    ],
)
def test_a_term_is_found_as_a_whole_word_in_any_disguise(text: str, hits: list[int]) -> None:
    assert lines(text) == hits


@given(st.text(max_size=60))
def test_any_text_can_be_looked_through(text: str) -> None:
    assert set(lines(text)) <= {1, 2, 3, 4}


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12))
def test_a_word_that_can_be_listed_finds_itself(word: str) -> None:
    term_list = term_list_of([(word, Hit(line=7))])
    assert lines(f"! {word} !", term_list) == [7] * term_list.n_terms


def test_nine_of_ten_evasions_are_seen_through() -> None:
    """Recall on our own list of evasions; `benchmarks/text.py` prints it by kind. Before: 4.5 %."""
    term_list = TermList.load(HERE / "terms.tsv")
    rows_of_file = (HERE / "terms.tsv").read_text("utf-8").splitlines()
    with (HERE / "coded.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 200
    seen = Counter(
        any(rows_of_file[hit.line - 1].split("\t")[0] == row["term"] for hit in term_list.find(row["coded"]))
        for row in rows
    )
    assert seen[True] / len(rows) >= 0.9


def test_captions_that_hide_nothing_raise_few_alarms() -> None:
    term_list = TermList.load(HERE / "terms.tsv")
    captions = [line for path in (HERE / "captions").glob("*.txt") for line in path.read_text("utf-8").splitlines()]
    assert sum(bool(term_list.find(caption)) for caption in captions) < 0.04 * len(captions)


def test_tier_and_family_come_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# ours\n\nblorvina\tR3\tdespair\ntaklouft, R2\nqilmo\n", "utf-8")
    hits = TermList.load(path).find("qilmo taklouft blorvina")
    assert hits == (Hit(line=3, tier="R3", family="despair"), Hit(line=4, tier="R2"), Hit(line=5))


def test_a_list_never_shows_its_terms(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("blorvina\tR9\nqilmo\tR1\tsadness\n...\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        TermList.load(path)
    assert [re.sub(r".*, (line \d).*", r"\1", problem) for problem in caught.value.problems] == [
        "line 1",
        "line 2",
        "line 3",
    ]
    shown = str(caught.value) + repr(SMALL) + str(SMALL) + repr(SMALL.find("blorvina"))
    assert not re.search("blorvina|qilmo|حزين|tais", shown)


def test_a_list_that_cannot_be_read_is_a_sentence_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"blorvina \xff")
    with pytest.raises(ConfigError, match=r"cannot be read \(UnicodeDecodeError\), expected UTF-8") as caught:
        TermList.load(path)
    assert caught.value.__cause__ is None and "blorvina" not in str(caught.value)
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        TermList.load(tmp_path / "nowhere")
