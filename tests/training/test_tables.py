"""Laws of reading and writing dataset folders."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.columns import ITEMS, TABLES
from recsys.data.tables import read_dataset, write_dataset
from recsys.data.values import DTYPES
from recsys.errors import DataError

MIDNIGHT = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def problems_of(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_dataset(folder)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_every_format_reads_as_the_same_tables(write, form):
    dataset = read_dataset(write(form))
    items = dataset.items.collect()
    assert items["published_at"].to_list() == [MIDNIGHT, MIDNIGHT, MIDNIGHT + 500]
    assert items["risk_tier"].to_list() == ["R0", "R2", None]
    creators = dataset.creators.collect()
    assert creators["languages"].to_list() == [["ary", "fr"], None]
    assert creators["verified"].to_list() == [True, None]
    assert creators["followers"].to_list() == [10, None]
    assert dataset.events.collect()["watch_fraction"].to_list() == [None, 0.5, None, None, None]


def test_every_table_has_every_column_of_the_contract_in_order_and_dtype(write):
    dataset = read_dataset(write("csv"))
    for table in TABLES:
        schema = dataset.frame(table.name).collect_schema()
        assert list(schema.items()) == [(c.name, DTYPES[c.dtype]) for c in table.columns]


def test_instants_may_be_text_integers_or_datetimes(write, rows):
    items = rows("items")
    forms = [MIDNIGHT, "2026-01-01T00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01 01:00:00+01:00", str(MIDNIGHT)]
    folder = write("jsonl", items=[{**items[0], "item_id": f"v{n}", "published_at": at} for n, at in enumerate(forms)])
    assert read_dataset(folder).items.collect()["published_at"].to_list() == [MIDNIGHT] * 5
    (folder / "items.jsonl").unlink()
    folder = write("parquet", items=[{**items[0], "published_at": datetime(2026, 1, 1, tzinfo=UTC)}])
    for path in folder.glob("*.jsonl"):
        path.unlink()
    assert read_dataset(folder).items.collect()["published_at"].to_list() == [MIDNIGHT]


def test_an_instant_without_a_zone_is_unreadable_as_text_and_utc_with_a_notice_as_datetime(write, rows):
    folder = write("parquet", items=[{**rows("items")[0], "published_at": datetime(2026, 1, 1)}])
    dataset = read_dataset(folder)
    assert dataset.items.collect()["published_at"].to_list() == [MIDNIGHT]
    assert any("'published_at' has no time zone and was read as UTC" in notice for notice in dataset.notices)


def test_a_table_may_stand_in_parts(write):
    folder = write("parquet")
    whole = pl.read_parquet(folder / "events.parquet")
    (folder / "events.parquet").unlink()
    (folder / "events").mkdir()
    whole[:2].write_parquet(folder / "events" / "0.parquet")
    whole[2:].drop("watch_s").write_parquet(folder / "events" / "1.parquet")
    assert read_dataset(folder).events.collect()["event_id"].to_list() == ["e1", "e2", "e3", "e4", "e5"]


def test_gzipped_text_is_read(write):
    folder = write("csv")
    plain = folder / "events.csv"
    (folder / "events.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert read_dataset(folder).events.collect().height == 5


def test_unknown_columns_are_kept_out_with_a_notice(write, rows):
    folder = write("csv", users=[{**rows("users")[0], "shoe_size": 43}])
    dataset = read_dataset(folder)
    assert "shoe_size" not in dataset.users.collect_schema()
    assert any("'shoe_size' of users.csv is not in the data contract" in notice for notice in dataset.notices)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_column_may_have_its_former_name_and_a_notice_says_the_new_one(write, rows, form):
    folder = write(form, items=[{**row, "fits": "MA-06"} for row in rows("items")])
    dataset = read_dataset(folder)
    assert set(dataset.items.collect()["reviewed_fit"]) == {"MA-06"}
    assert any(f"'fits' of items.{form} is called 'reviewed_fit' now" in notice for notice in dataset.notices)


def test_whole_numbers_serve_as_ids_with_a_notice(write):
    dataset = read_dataset(write("parquet", users=[{"user_id": 7}]))
    assert dataset.users.collect()["user_id"].to_list() == ["7"]
    assert any("'user_id' holds numbers and was read as text" in notice for notice in dataset.notices)


def test_all_missing_tables_and_columns_are_named_at_once(write):
    folder = write("csv", items=[{"item_id": "v1", "title": "one"}])
    (folder / "users.csv").unlink()
    text = problems_of(folder)
    assert "table users: found no file" in text
    assert "items.csv has no column 'creator_id'" in text
    assert "items.csv has no column 'published_at'" in text


def test_a_table_in_two_formats_is_refused(write):
    write("csv")
    assert "expected it once and in one format" in problems_of(write("jsonl"))


def test_bytes_that_are_not_utf8_are_located(write):
    folder = write("csv")
    good = (folder / "items.csv").read_bytes()
    (folder / "items.csv").write_bytes(good.replace(b"video v2", b"video \xff"))
    assert "line 3 of items.csv holds the byte 0xff, which is not UTF-8" in problems_of(folder)


def test_a_column_of_the_wrong_dtype_is_named(write, rows):
    folder = write("parquet", users=[{"user_id": 1.5, "country": True, "languages": [1]}])
    text = problems_of(folder)
    assert "column 'user_id' holds Float64, expected str" in text
    assert "column 'country' holds Boolean, expected str" in text
    assert "column 'languages' holds List(Int64), expected list" in text


def test_a_line_that_is_not_json_is_located(write):
    folder = write("jsonl")
    (folder / "users.jsonl").write_text('{"user_id": "u1"}\n{"user_id"\n')
    assert "line 2 of users.jsonl is not one JSON object" in problems_of(folder)


def test_a_file_that_is_no_parquet_is_a_sentence(write):
    folder = write("parquet")
    (folder / "users.parquet").write_bytes(b"this is no parquet file at all")
    assert "table users: users.parquet: found b'this' at its beginning, expected Parquet" in problems_of(folder)


def test_what_is_written_reads_back_and_leaves_nothing_half_done(tmp_path):
    items = pl.DataFrame(
        {"title": ["مرحبا"], "item_id": ["v1"], "creator_id": ["c1"], "published_at": [MIDNIGHT], "topics": [["S1"]]}
    )
    write_dataset(tmp_path, items=items)
    assert [p.name for p in tmp_path.iterdir()] == ["items.parquet"]
    written = pl.read_parquet(tmp_path / "items.parquet")
    assert written.columns == [c.name for c in ITEMS.columns if c.name in items.columns]
    assert written["published_at"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC)]
    write_dataset(
        tmp_path,
        creators=pl.DataFrame({"creator_id": ["c1"], "country": ["MA"]}),
        users=pl.DataFrame({"user_id": ["u1"]}),
        events=pl.DataFrame({"event_id": ["e"], "user_id": ["u1"], "kind": ["search"], "at": [0], "query": ["q"]}),
    )
    assert read_dataset(tmp_path).items.collect().row(0, named=True)["published_at"] == MIDNIGHT


def test_writing_refuses_columns_outside_the_contract_and_missing_ones(tmp_path):
    with pytest.raises(DataError) as caught:
        write_dataset(tmp_path, users=pl.DataFrame({"name": ["x"]}))
    assert len(caught.value.problems) == 2
    assert not list(tmp_path.iterdir())
