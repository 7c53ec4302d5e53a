"""The tables of the state file: of the format before they are brought to the names of now, and nothing is lost."""

import gzip
import json
import sqlite3
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from recsys.catalogue.items import apply_delta, empty_items
from recsys.errors import StoreError
from recsys.exposure.controller import unpack_controller
from recsys.stores.audit import AuditEntry
from recsys.stores.protocols import ItemChange
from recsys.text.clusters import wording_of
from recsys.user.state import Seen, UserState
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
def old_members(old):
    """The numbers of the items in each cluster of the old file, by the cluster's number."""
    members = defaultdict(set)
    connection = sqlite3.connect(old)
    joined = "SELECT cluster_no, item_no FROM items JOIN clusters USING (cluster_id)"
    for cluster_no, item_no in connection.execute(joined):
        members[cluster_no].add(item_no)
    connection.close()
    return members


@pytest.fixture
def store(old, old_members):
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
    for name in ("person", "safety", "interactions"):
        assert begins_like(plain(getattr(read.state, name)), expected["parts"][name]), name
    assert begins_like(plain(store.users.deliveries(user_id, 0)), expected["deliveries"])
    assert [entry.seq for entry in store.events.since(user_id, 0)] == expected["events"]
    assert [answer.request_id for answer in store.decisions.of_user(user_id)] == expected["decisions"]


@pytest.mark.parametrize("user_id", ["adult", "teen", "reset"])
def test_whatever_was_seen_in_a_cluster_is_seen_as_an_item(store, old_members, user_id):
    """Formerly a cluster was seen: each item that was in it stays away until its 30 days are over."""
    _, clusters, times, *_ = EXPECTED[user_id]["parts"]["seen"]
    seen = store.users.read(user_id).state.seen
    expected = {(n, at) for c, at in zip(clusters, times, strict=True) for n in {c, *old_members[c]}}
    assert set(zip(seen.item_nos, seen.at, strict=True)) == expected
    assert list(seen.at) == sorted(seen.at)
    assert any(len(old_members[c]) > 1 for c in clusters) or user_id != "adult"


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
        StoreError, match=f"format {version}, expected {STATE_FORMAT}, 7, 6, 5, 4, 3 or 2: {words} wrote it; use that"
    ):
        SqliteStore(path)
    assert rows_of(path) == before


def test_items_of_the_format_before_begin_to_remember_what_they_say(store):
    rows = store.catalogue.since(0).rows
    assert all(row.wordings[0].since < 0 and row.hash_labels == () for row in rows)
    assert all(len(row.wordings) == 1 for row in rows if row.fields.get("risk_tier") == "R0")
    first = rows[0]
    assert (first.wordings[0].text_id, first.wordings[0].n_words) == wording_of(
        first.fields["title"], first.fields.get("text")
    )
    by_age = sorted(rows, key=lambda row: (row.fields["published_at"], row.item_no))
    assert [row.wordings[0].since for row in by_age] == list(range(-len(rows), 0))


def test_a_sealed_file_of_format_4_is_upgraded_with_its_people(tmp_path):
    path = tmp_path / "state.db"
    first = SqliteStore(path)
    first.catalogue.put(
        [ItemChange(fields={"item_id": f"v{n}", "published_at": n, "title": "#fyp"}) for n in (1, 2)], 9
    )
    state = UserState(seen=Seen(item_nos=(1,), at=(9,)))
    assert first.users.write_if("u", state, 0)
    first.close()
    connection = sqlite3.connect(path)
    connection.executescript("""
        ALTER TABLE items DROP COLUMN memory;
        ALTER TABLE items ADD COLUMN cluster_id TEXT NOT NULL DEFAULT 'fyp';
        CREATE TABLE clusters (
            cluster_id TEXT PRIMARY KEY, cluster_no INTEGER NOT NULL UNIQUE, peak_tier INTEGER NOT NULL
        );
        INSERT INTO clusters VALUES ('fyp', 1, 0);
        PRAGMA user_version=4;
    """)
    connection.close()
    upgraded = SqliteStore(path)
    assert [row.wordings[0].since for row in upgraded.catalogue.since(0).rows] == [-2, -1]
    assert upgraded.users.read("u").state.seen == Seen(item_nos=(1, 2), at=(9, 9))
    upgraded.close()


def relabel(old, *changes):
    """The first items of an old file in one cluster, each with other fields."""
    connection = sqlite3.connect(old)
    rows = connection.execute("SELECT item_no, cluster_id, packed FROM items ORDER BY item_no").fetchall()
    for (item_no, _, packed), fields in zip(rows, changes, strict=False):
        fields = {**msgspec.msgpack.decode(packed), "creator_id": f"c{item_no}", "text": None, "topics": ["S3"],
                  "risk_source": "human", "is_hidden": False, "published_at": item_no, **fields}  # fmt: skip
        fields = {name: value for name, value in fields.items() if value is not None}
        change = rows[0][1], msgspec.msgpack.encode(fields), item_no
        connection.execute("UPDATE items SET cluster_id = ?, packed = ? WHERE item_no = ?", change)
    connection.commit()
    connection.close()
    return [item_no for item_no, _, _ in rows[: len(changes)]]


def tiers_after_upgrade(old, market, item_nos):
    store = SqliteStore(old)
    items = apply_delta(empty_items(), store.catalogue.since(0), market=market, creators={}, rows={})
    store.close()
    return items.tier[item_nos].tolist()


def test_items_that_words_alone_made_one_are_two_after_the_upgrade(old, morocco):
    """The calm one was taken down with the other; what it was labelled itself is what it counts from now on."""
    numbers = relabel(old, {"title": "#fyp", "risk_tier": "R0"}, {"title": "#fyp", "risk_tier": "R3"})
    assert tiers_after_upgrade(old, morocco, numbers) == [0, 3]


def test_an_edited_copy_of_r3_is_not_freed_by_the_upgrade(old, morocco):
    """It was kept among its copies in spite of new words. There is evidence for it, so it stays."""
    file = {"duration_s": 31.4, "predicted_tier": None}
    words, other = "eight words or more that both of them said", "new words that nobody has labelled until now"
    edited = {"title": other, "risk_tier": None, "risk_source": None}
    numbers = relabel(
        old, {"title": words, "risk_tier": "R3", **file}, {**edited, **file}, {**edited, **file, "duration_s": 9.0},
        {"title": other, "risk_tier": "R0", **file},
    )  # fmt: skip
    assert tiers_after_upgrade(old, morocco, numbers) == [3, 3, 2, 0]


def test_a_file_of_format_5_gets_an_audit_log_and_reviews_and_loses_nothing(tmp_path):
    path = tmp_path / "state.db"
    for name, beside in (("format-5.db.gz", ""), ("format-5.people-keys.gz", ".people-keys")):
        path.with_name(path.name + beside).write_bytes(gzip.decompress((FOLDER / name).read_bytes()))
    before = rows_of(path)
    upgraded = SqliteStore(path)
    read = upgraded.users.read("adult", "r1")
    assert read.state.safety.ledger.n_delivered == 2 and read.answer.answer == b"page"
    assert [d.item_no for d in upgraded.users.deliveries("adult", 0)] == [1, 2]
    assert [entry.event.event_id for entry in upgraded.events.since("adult", 0)] == ["e1"]
    assert upgraded.users.read("gone").state.safety.is_erased and len(upgraded.catalogue.since(0).rows) == 5
    assert upgraded.audit.page(0, 0, 10) == ()
    upgraded.users.erase("adult", 9, None)
    assert len(upgraded.audit.page(0, 0, 10)) == 1
    upgraded.close()
    assert rows_of(path).keys() == before.keys() | {"audit", "reviews"}


def test_a_file_of_format_6_gets_reviews_and_keeps_its_audit_log(tmp_path):
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    store.audit.append([AuditEntry(1, "moderation", "{}")])
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE reviews")
    connection.execute("PRAGMA user_version=6")
    connection.close()
    upgraded = SqliteStore(path)
    assert [audited.entry for audited in upgraded.audit.page(0, 0, 10)] == [AuditEntry(1, "moderation", "{}")]
    assert upgraded.reviews.ask("v1", 2, 3, "platform").seq == 1
    upgraded.close()
