"""The English of the made-up titles: for people who read the demo, and for nothing else."""

from pathlib import Path

import polars as pl
import pytest

from eval.simulation.world.titles import Wording, gloss_of, title_of
from eval.simulation.world.truth import World
from recsys.columns import ITEMS
from recsys.data.tables import read_dataset, write_dataset
from recsys.text.phrases import phrase_book


@pytest.mark.parametrize(
    ("name", "gloss"),
    [("ar", "gloss-ar"), ("ary", "gloss-ary"), ("ary-Latn", "gloss-ary"), ("zgh-Latn", "gloss-zgh-Latn"), ("fr", "en")],
)
def test_a_gloss_stands_where_its_phrase_stands(name: str, gloss: str) -> None:
    book, english = phrase_book(name), phrase_book(gloss)
    for part in ("openers", "tails", "captions", "heavy"):
        assert len(getattr(book, part)) == len(getattr(english, part)), part
    for part in ("topics", "families"):
        ours, theirs = getattr(book, part), getattr(english, part)
        assert ours.keys() == theirs.keys()
        for topic, phrases in ours.items():
            pairs = list(zip(phrases, theirs[topic], strict=True))
            assert all(("{city}" in phrase) == ("{city}" in other) for phrase, other in pairs), topic


def test_a_gloss_is_made_of_the_same_draws_as_its_title() -> None:
    """First opener of ten (0.05), third phrase of five (0.5), no tail (0.9)."""
    draws = (0.5, 0.05, 0.0, 0.0, 0.9, 0.0, 0.0)
    wording = Wording(language="ary", topic="S3", tier="R0", family=None, city="Fès")
    assert title_of(wording, draws) == "دقيقة وحدة: روتين ديال النعاس بلا تيليفون"
    assert gloss_of(wording, draws) == "One minute: a bedtime routine without the phone"


def test_nothing_is_said_of_what_is_withheld_or_is_english() -> None:
    draws = (0.0,) * 7
    assert gloss_of(Wording(language="en", topic="S3", tier="R0", family=None, city="Fès"), draws) is None
    assert gloss_of(Wording(language="ary", topic="S3", tier="R4", family=None, city="Fès"), draws) is None


@pytest.mark.parametrize(("town", "english"), [("Le Caire", "Cairo"), ("Riyad", "Riyadh"), ("Paris", "Paris")])
def test_a_gloss_names_a_town_in_english(town: str, english: str) -> None:
    tails = phrase_book("fr").tails
    named = next(at for at, tail in enumerate(tails) if "{city}" in tail)
    draws = (0.0, 0.0, 1.0, (named + 0.5) / len(tails), 0.0, 0.0, 0.0)
    wording = Wording(language="fr", topic="S3", tier="R0", family=None, city=town)
    assert title_of(wording, draws).endswith(town)
    assert (gloss_of(wording, draws) or "").endswith(english)


def test_the_reader_of_data_never_hands_a_gloss_on(demo_world: World, tmp_path: Path) -> None:
    items = demo_world.items_for_readers
    assert "gloss" in items.columns and "gloss" not in {column.name for column in ITEMS.columns}
    write_dataset(tmp_path, creators=demo_world.creators, items=items, users=demo_world.users, events=demo_world.events)
    assert pl.read_parquet(tmp_path / "items.parquet")["gloss"].to_list() == list(demo_world.glosses)
    read = read_dataset(tmp_path)
    assert "gloss" not in read.items.collect_schema() and read.notices == ()
