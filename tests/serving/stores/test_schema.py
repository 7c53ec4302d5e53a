"""The tables of the state file: of the format before they are brought to the names of now, and nothing is lost."""

import gzip
import json
import sqlite3
from pathlib import Path

import msgspec
import pytest

from recsys.errors import StoreError
from recsys.exposure.controller import unpack_controller
from serving.stores.sqlite.schema import STATE_FORMAT
from serving.stores.sqlite.store import SqliteStore

FOLDER = Path(__file__).parents[2] / "fixtures" / "state"
EXPECTED = json.loads((FOLDER / "format-2.json").read_text("utf-8"))
PEOPLE = ("adult", "teen", "gone", "reset")  # `gone` was erased, `reset` has forgotten tastes


@pytest.fixture
def old(tmp_path):
    """A state file as the version before left it: four people, their pages, events, decisions and counts."""
    path = tmp_path / "state.db"
    path.write_bytes(gzip.decompress((FOLDER / "format-2.db.gz").read_bytes()))
    return path


@pytest.fixture
def store(old):
    opened = SqliteStore(old)
    yield opened
    opened.close()


def plain(value):
    return json.loads(msgspec.json.encode(msgspec.to_builtins(value)))


def begins_like(value, expected):
    """Equal, but for fields that were added at the end of a packed struct since."""
    if isinstance(expected, list):
        return len(value) >= len(expected) and all(map(begins_like, value, expected))
    if isinstance(expected, dict):
        return value.keys() == expected.keys() and all(begins_like(value[name], expected[name]) for name in expected)
    return value == expected


def rows_of(path):
    """Every table with its columns in order and its rows."""
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    tables = {}
    for name in names:
        cursor = connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2")
        tables[name] = ([column[0] for column in cursor.description], cursor.fetchall())
    connection.close()
    return tables


@pytest.mark.parametrize("user_id", PEOPLE)
def test_a_person_of_the_format_before_is_read_whole(store, user_id):
    expected, read = EXPECTED[user_id], store.users.read(user_id)
    assert read.version == expected["version"]
    for name in ("person", "safety", "seen", "interactions"):
        assert begins_like(plain(getattr(read.state, name)), expected["parts"][name]), name
    assert begins_like(plain(store.users.deliveries(user_id, 0)), expected["deliveries"])
    assert [entry.seq for entry in store.events.since(user_id, 0)] == expected["events"]
    assert [answer.request_id for answer in store.decisions.of_user(user_id)] == expected["decisions"]


def test_the_ledger_and_the_level_of_an_erased_person_outlive_the_upgrade(store):
    safety = store.users.read("gone").state.safety
    assert safety.is_erased and safety.ledger.n_delivered > 0
    assert sorted(key.hex() for key in store.cutoffs.forgotten().before) == EXPECTED["forgotten"]
    assert sorted(key.hex() for key in store.cutoffs.forgotten().erased) == EXPECTED["erased"]


def test_counts_controllers_and_the_catalogue_are_as_before(store):
    fields = ("creator_id", "day", "country", "region", "attribution", "is_local", "n")
    assert [[getattr(c, name) for name in fields] for c in store.exposure.counts()] == EXPECTED["exposure"]
    assert store.exposure.totals() == EXPECTED["reach"]
    packed = store.controllers.read("MA")
    assert packed.hex() == EXPECTED["controller"] and unpack_controller(packed).at > 0
    delta = store.catalogue.since(0)
    assert (delta.revision, len(delta.rows)) == (EXPECTED["revision"], EXPECTED["n_items"])
    assert store.committed_at() == EXPECTED["committed_at"]


def test_a_partners_review_has_its_new_name(store):
    fits = {row.fields["item_id"]: row.fields["reviewed_fit"] for row in store.catalogue.since(0).rows
            if "reviewed_fit" in row.fields}  # fmt: skip
    assert fits == EXPECTED["reviewed_fit"]
    assert not any("fits" in row.fields for row in store.catalogue.since(0).rows)


def test_an_upgraded_file_has_the_tables_of_a_new_one(store, old, tmp_path):
    SqliteStore(tmp_path / "new.db").close()
    upgraded, new = rows_of(old), rows_of(tmp_path / "new.db")
    assert {name: columns for name, (columns, _) in upgraded.items()} == {n: columns for n, (columns, _) in new.items()}


def test_it_is_upgraded_once_and_can_be_written_on(store, old):
    version = store.users.read("adult").version
    assert store.users.write_if("adult", store.users.read("adult").state, version)
    store.close()
    before = rows_of(old)
    again = SqliteStore(old)
    assert again.users.read("adult").version > version
    again.close()
    assert rows_of(old) == before


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(old):
    connection = sqlite3.connect(old)
    connection.execute("UPDATE items SET packed = x'66697473c1' WHERE item_no = 7")
    connection.commit()
    connection.close()
    before = rows_of(old)
    with pytest.raises(StoreError, match=r"item number 7 cannot be read .* restore the last copy"):
        SqliteStore(old)
    assert rows_of(old) == before


@pytest.mark.parametrize(("version", "words"), [(STATE_FORMAT + 1, "newer software"), (1, "older software")])
def test_a_file_of_another_format_is_refused_and_left_alone(tmp_path, version, words):
    path = tmp_path / "state.db"
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    before = rows_of(path)
    with pytest.raises(
        StoreError, match=f"format {version}, expected {STATE_FORMAT}, 3 or 2: {words} wrote it; use that"
    ):
        SqliteStore(path)
    assert rows_of(path) == before
