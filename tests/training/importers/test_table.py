"""Laws of `import table`: any table of interactions becomes a dataset, and nothing is lost or invented silently."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.clock import DAY, from_text
from recsys.data.tables import Dataset, read_dataset
from recsys.errors import ConfigError, DataError
from training.importers.common import DAY_ZERO
from training.importers.recbole import run as recbole
from training.importers.table import TableColumns, run
from training.validate import validate

STARS = TableColumns(user="who", item="what", rating="stars", threshold=4, dislike=2, at="when")
LOG = "who,what,stars,when\nann,10,5,1112486027\nann,11,3,1112486028\nbob,10,1,1112486029\n"


def imported(tmp_path: Path, raw: str, columns: TableColumns, **options: object) -> Dataset:
    (tmp_path / "log").write_text(raw, "utf-8")
    items = options.get("items")
    run(tmp_path / "log", tmp_path / "data", columns, items=items if isinstance(items, Path) else None)
    return read_dataset(tmp_path / "data")


def kinds(dataset: Dataset) -> list[tuple[str, str, str]]:
    return dataset.events.select("user_id", "item_id", "kind").collect().rows()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_ratings_become_likes_views_and_negative_feedback_by_any_separator(separator: str, tmp_path: Path) -> None:
    dataset = imported(tmp_path, LOG.replace(",", separator), STARS)
    assert kinds(dataset) == [("ann", "10", "like"), ("ann", "11", "view"), ("bob", "10", "not_interested")]
    assert dataset.events.collect()["value"].to_list() == ["5", "3", "1"]
    assert dataset.creators.select("creator_id", "country").collect().rows() == [("10", "ZZ"), ("11", "ZZ")]
    assert dataset.items.collect()["published_at"].to_list() == [1112486027000, 1112486028000]
    assert dataset.users.collect()["age_band"].to_list() == [None, None]  # nobody's age is invented


def test_json_lines_and_parquet_give_the_dataset_of_the_csv(tmp_path: Path) -> None:
    rows = [dict(zip(("who", "what", "stars", "when"), line.split(","), strict=True)) for line in LOG.split()[1:]]
    for name in ("csv", "json", "parquet"):
        (tmp_path / name).mkdir()
    csv = imported(tmp_path / "csv", LOG, STARS)
    lines = imported(tmp_path / "json", "".join(json.dumps(row) + "\n" for row in rows), STARS)
    typed = pl.DataFrame(rows).with_columns(pl.col("what", "stars", "when").cast(pl.Int64))
    typed.write_parquet(tmp_path / "parquet" / "log.parquet")
    run(tmp_path / "parquet" / "log.parquet", tmp_path / "parquet" / "data", STARS)
    parquet = read_dataset(tmp_path / "parquet" / "data")
    for table in ("creators", "items", "users", "events"):
        expected = csv.frame(table).collect()
        assert lines.frame(table).collect().equals(expected) and parquet.frame(table).collect().equals(expected)


def test_a_row_without_rating_and_event_is_a_like(tmp_path: Path) -> None:
    assert kinds(imported(tmp_path, LOG, TableColumns(user="who", item="what", at="when"))) == [
        ("ann", "10", "like"),
        ("ann", "11", "like"),
        ("bob", "10", "like"),
    ]


def test_words_are_kinds_or_are_mapped_to_them_and_all_others_are_listed(tmp_path: Path) -> None:
    raw = "u,i,did\n1,a,view\n1,b,addtocart\n2,a,transaction\n"
    with pytest.raises(
        DataError, match=r"'did' holds 'addtocart', 'transaction', expected impression, .* --kind WORD=KIND"
    ):
        imported(tmp_path, raw, TableColumns(user="u", item="i", event="did"))
    mapped = TableColumns(user="u", item="i", event="did", kinds={"addtocart": "save", "transaction": "like"})
    assert kinds(imported(tmp_path, raw, mapped)) == [("1", "a", "view"), ("1", "b", "save"), ("2", "a", "like")]


def test_without_times_the_last_days_are_a_random_part_and_a_notice_says_so(tmp_path: Path) -> None:
    raw = "u,i\n" + "".join(f"{n // 10},{n % 10}\n" for n in range(1_000))
    (tmp_path / "log").write_text(raw)
    report = run(tmp_path / "log", tmp_path / "data", TableColumns(user="u", item="i"))
    at = read_dataset(tmp_path / "data").events.collect()["at"]
    assert any("random order over 10 days" in notice for notice in report.notices)
    assert at.is_between(DAY_ZERO, DAY_ZERO + 10 * DAY).all()
    assert int((at >= DAY_ZERO + 9 * DAY).sum()) == 100
    assert not at.is_sorted()


def test_what_is_said_of_items_is_read_from_their_own_table_or_from_the_rows(tmp_path: Path) -> None:
    columns = TableColumns(user="u", item="i", title="name", texts=("tags", "about"), language="lang", creator="by")
    (tmp_path / "items.csv").write_text("i;name;tags;about;lang;by\na;Sleep;calm;how to;ary;Lalla\nb;;;;;\n")
    dataset = imported(tmp_path, "u,i\n1,a\n1,b\n", columns, items=tmp_path / "items.csv")
    assert dataset.items.select("item_id", "title", "text", "language", "creator_id").collect().rows() == [
        ("a", "Sleep", "calm how to", "ary", "Lalla"),
        ("b", "item b", None, None, "b"),
    ]
    (tmp_path / "rows").mkdir()
    columns = TableColumns(user="u", item="i", title="name")
    rows = imported(tmp_path / "rows", "u,i,name\n1,a,\n2,a,Sleep\n2,b,Walk\n", columns)
    assert rows.items.select("item_id", "title").collect().rows() == [("a", "Sleep"), ("b", "Walk")]


def test_an_item_without_a_row_is_added_and_said_and_files_that_do_not_belong_together_are_refused(
    tmp_path: Path,
) -> None:
    columns = TableColumns(user="u", item="i", title="t")
    (tmp_path / "items.csv").write_text("i,t\n1,One\n2,Two\n")
    (tmp_path / "log").write_text("u,i\nx,1\nx,2\ny,99\n")
    report = run(tmp_path / "log", tmp_path / "data", columns, items=tmp_path / "items.csv")
    assert "1 of 3 events are of 1 ids that items.csv does not have, such as '99'" in " ".join(report.notices)
    assert read_dataset(tmp_path / "data").items.collect()["title"].to_list() == ["One", "Two", "item 99"]
    (tmp_path / "log").write_text("u,i\nx,1.0\nx,2.0\ny,1\n")
    with pytest.raises(
        DataError, match=r"2 of 3 events .*, such as '1\.0', '2\.0', which has '1', '2'; write ids alike"
    ):
        run(tmp_path / "log", tmp_path / "again", columns, items=tmp_path / "items.csv")


def test_a_file_without_a_header_gets_names(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("1\ta\t5\n2\tb\t1\n")
    columns = TableColumns(user="u", item="i", rating="r", threshold=3)
    run(tmp_path / "log", tmp_path / "data", columns, names=("u", "i", "r"))
    assert kinds(read_dataset(tmp_path / "data")) == [("1", "a", "like"), ("2", "b", "view")]
    with pytest.raises(DataError, match=r"line 1 of log: found 1 fields, expected 2: u, i"):
        run(tmp_path / "log", tmp_path / "two", TableColumns(user="u", item="i"), names=("u", "i"))


def test_published_names_are_found_in_capital_letters_too(tmp_path: Path) -> None:
    (tmp_path / "X.INTER").write_text("user_id:token\titem_id:token\n1\t2\n")
    recbole(tmp_path, tmp_path / "data")
    assert kinds(read_dataset(tmp_path / "data")) == [("1", "2", "like")]


def test_names_of_folders_are_columns_and_notes_are_no_data(tmp_path: Path) -> None:
    for day in ("2026-01-01", "2026-01-02"):
        (tmp_path / "log" / f"day={day}").mkdir(parents=True)
        (tmp_path / "log" / f"day={day}" / "part-0.CSV").write_text("u,i\nann,a\n")
    (tmp_path / "log" / "README.md").write_text("about it\n")
    run(tmp_path / "log", tmp_path / "data", TableColumns(user="u", item="i", at="day"))
    times = read_dataset(tmp_path / "data").events.collect()["at"]
    assert times.to_list() == [from_text("2026-01-01T00:00:00Z"), from_text("2026-01-02T00:00:00Z")]


def test_parts_in_folders_are_one_table_and_marks_of_spark_are_none(tmp_path: Path) -> None:
    for day, user in (("day=1", "ann"), ("day=2", "bob")):
        (tmp_path / "log" / day).mkdir(parents=True)
        (tmp_path / "log" / day / "part-0.csv").write_text(f"u,i\n{user},a\n")
    (tmp_path / "log" / "_SUCCESS").write_text("")
    run(tmp_path / "log", tmp_path / "data", TableColumns(user="u", item="i"))
    events = read_dataset(tmp_path / "data").events.collect()
    assert sorted(events["user_id"]) == ["ann", "bob"] and events["event_id"].n_unique() == 2


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (TableColumns(user="u", item="i", rating="r", event="e"), "expected one of them"),
        (TableColumns(user="u", item="u"), "found 'u' as --user and as --item"),
        (TableColumns(user="u", item="i", rating="r"), "--rating without --threshold"),
        (TableColumns(user="u", item="i", threshold=3), "--threshold without --rating"),
        (TableColumns(user="u", item="i", rating="r", threshold=3, dislike=3), "expected a number below --threshold"),
        (
            TableColumns(user="u", item="i", event="e", kinds={"a": "follow"}),
            "found 'follow', expected one of impression",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(columns: TableColumns, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("u,i,r,e\n1,a,3,view\n")
    with pytest.raises(ConfigError, match=sentence):
        run(tmp_path / "log", tmp_path / "data", columns)


ids = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="\\"), min_size=1, max_size=12
)


@settings(max_examples=30, deadline=None)  # each example imports a whole folder
@given(st.lists(st.tuples(ids, ids, st.floats(-10, 10)), min_size=1, max_size=30))
def test_every_row_of_any_table_is_one_event_of_a_set_that_validates(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    pl.DataFrame(rows, ["who", "what", "stars"], orient="row").write_csv(folder / "log.csv")
    columns = TableColumns(user="who", item="what", rating="stars", threshold=4, dislike=2)
    run(folder / "log.csv", folder / "data", columns)
    dataset = read_dataset(folder / "data")
    assert [row[:2] for row in kinds(dataset)] == [row[:2] for row in rows]
    expected = ["like" if s >= 4 else "not_interested" if s <= 2 else "view" for _, _, s in rows]
    assert dataset.events.collect()["kind"].to_list() == expected
    assert validate(folder / "data", at=from_text("2026-01-01T00:00:00Z")).counted == ()
