"""Erasing somebody is destroying a key: nothing about people stands open in any file, and no copy brings it back."""

import shutil
import sqlite3
import stat
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import StoreError
from recsys.stores.protocols import DecisionRecord, StoredAnswer
from recsys.types import Event
from recsys.user.state import Delivery, Ledger, PersonState, Profile, SafetyState, UserState, pack
from serving.stores.sealing import Key
from serving.stores.sqlite.store import SqliteStore
from serving.stores.sqlite.vault import vault_path

NOW = 1_800_000_000_000


def everything(path):
    """Every byte of the state file, the keys and their logs."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))


def state_of(user_id, n=1):
    secret = f"secret of {user_id} " * 20
    return UserState(
        person=PersonState(profile=Profile(country=secret)), safety=SafetyState(ledger=Ledger(n_delivered=n))
    )


def page_of(user_id, request_id):
    words = f"page of {user_id} ".encode() * 30
    answer = StoredAnswer(request_id=request_id, user_id=user_id, at=NOW, body_hash="h", answer=words, decision=words)
    delivery = Delivery(at=NOW, item_no=1, creator_no=1, tier=2)
    return DecisionRecord(answer=answer, deliveries=(delivery,))


def live(store, user_id, n=1):
    """A page and an event of a person."""
    read = store.users.read(user_id)
    assert store.users.write_if(user_id, state_of(user_id, n), read.version, page_of(user_id, f"request of {user_id}"))
    event = Event(event_id=f"event of {user_id}", user_id=user_id, kind="search", at=NOW, query=f"words of {user_id}")
    store.events.append([event], NOW)


def holds(store, user_id):
    """Whether anything about a person can be read."""
    read = store.users.read(user_id, f"request of {user_id}")
    return bool(
        read.state.person.profile.country or read.answer or store.users.deliveries(user_id, 0)
        or store.events.since(user_id, 0) or store.decisions.of_user(user_id)
        or store.decisions.of_request(f"request of {user_id}") or user_id in store.events.waiting(NOW + 1)
        or user_id in {record.user_id for record in store.decisions.newest(1_000)}
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


def test_nothing_about_a_person_ever_stands_open_in_a_file(path):
    store = SqliteStore(path)
    for n in range(200):
        live(store, f"person-{n:03}")
    assert holds(store, "person-007")
    store.close()
    for content in (everything(path),):
        assert not any(word in content for word in (b"person-", b"secret of", b"page of", b"words of", b"event of"))


@pytest.mark.slow
def test_a_deleted_id_is_in_no_file_of_100_mb(path):
    store = SqliteStore(path)
    words = "x" * 50_000
    for n in range(2_000):
        user_id = f"person-{n:04}"
        page = page_of(user_id, "r")
        answer = StoredAnswer(request_id="r", user_id=user_id, at=NOW, body_hash="h", answer=(words + user_id).encode(),
                              decision=b"")  # fmt: skip
        store.users.write_if(user_id, state_of(user_id), 0, DecisionRecord(answer=answer, deliveries=page.deliveries))
    assert sum(file.stat().st_size for file in path.parent.iterdir()) > 100_000_000  # some still in the log
    store.users.erase("person-0777", NOW, None)
    store.close()
    SqliteStore(path).close()
    assert b"person-0777" not in everything(path)


def test_an_erasure_destroys_the_key_in_every_file(path):
    store = SqliteStore(path)
    for n in range(50):
        live(store, f"person-{n:02}")
    with sqlite3.connect(vault_path(path)) as connection:
        keys = dict(connection.execute("SELECT number, key FROM keys"))
    connection.close()
    assert len(keys) == 50 and all(key in everything(path) for key in keys.values())
    store.users.erase("person-07", NOW, pack(state_of("", 3))[1])
    assert not holds(store, "person-07") and holds(store, "person-08")
    assert store.users.read("person-07").state.safety.ledger.n_delivered == 3  # a way around no cap
    store.close()
    gone = [key for key in keys.values() if key not in everything(path)]
    assert len(gone) == 1
    SqliteStore(path).close()
    assert gone[0] not in everything(path)


def test_a_restored_copy_brings_nobody_back(path, tmp_path):
    store = SqliteStore(path)
    live(store, "erased")
    live(store, "stays")
    store.close()
    copy = tmp_path / "copy"
    shutil.copy(path, copy)
    store = SqliteStore(path)
    store.users.erase("erased", NOW, None)
    store.close()
    shutil.copy(copy, path)
    store = SqliteStore(path)
    assert holds(store, "stays") and not holds(store, "erased")
    live(store, "erased", 9)
    assert store.users.read("erased").state.safety.ledger.n_delivered == 9 and holds(store, "erased")
    store.close()


def test_a_crash_before_the_key_is_destroyed_is_finished_at_the_next_start(path, monkeypatch):
    store = SqliteStore(path)
    live(store, "somebody")
    with monkeypatch.context() as patch:
        patch.setattr(store._rows, "shred", lambda number: None)
        store.users.erase("somebody", NOW, None)
    store.close()
    store = SqliteStore(path)
    with sqlite3.connect(vault_path(path)) as connection:
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (0,)
    connection.close()
    store.close()


def test_whoever_comes_back_while_the_old_key_still_stands_gets_a_new_one(path, monkeypatch):
    store = SqliteStore(path)
    live(store, "somebody")
    with monkeypatch.context() as patch:
        patch.setattr(store._rows, "shred", lambda number: None)
        store.users.erase("somebody", NOW, None)
    live(store, "somebody", 5)
    assert holds(store, "somebody")
    store.close()
    store = SqliteStore(path)
    assert store.users.read("somebody").state.safety.ledger.n_delivered == 5
    store.close()


def test_pages_beside_erasures_are_never_lost_and_never_unreadable(path):
    """A page that is committed after an erasure is sealed with a key that lives."""
    store, other = SqliteStore(path), SqliteStore(path)
    lost = []

    def ask():
        for n in range(60):
            read = store.users.read("u")
            if store.users.write_if("u", state_of("u", n + 1), read.version, page_of("u", f"r{n}")):
                again = store.users.read("u")
                if again.version == read.version + 1 and again.state.safety.ledger.n_delivered != n + 1:
                    lost.append(n)

    asking = threading.Thread(target=ask)
    asking.start()
    for n in range(60):
        other.users.erase("u", NOW + n, pack(state_of("", 1))[1])
    asking.join()
    assert lost == []
    live(store, "u", 7)
    assert other.users.read("u").state.safety.ledger.n_delivered == 7
    store.close()
    other.close()


@pytest.mark.parametrize(
    ("table", "column"),
    [*(("users", name) for name in ("person", "safety", "seen", "interactions")), ("deliveries", "sealed")],
)
@pytest.mark.parametrize(
    "damage",
    [
        "x'00ff'",
        "zeroblob(80)",
        "substr({0}, 1, length({0}) - 1)",
        "CAST(iif(substr({0}, 1, 1) = x'ff', x'00', x'ff') || substr({0}, 2) AS BLOB)",  # another byte in any case
    ],
)
def test_a_damaged_value_is_never_taken_for_that_of_an_erased_person(path, table, column, damage):
    """Also where the damage hits the number of the key: a ledger that cannot be read is no empty ledger."""
    store = SqliteStore(path)
    live(store, "somebody")
    store.close()
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE {table} SET {column} = {damage.format(column)}")
    connection.commit()
    connection.close()
    store = SqliteStore(path)
    with pytest.raises(StoreError, match=r"restore the last cop(y|ies)"):
        (store.users.read("somebody"), store.users.deliveries("somebody", 0))
    store.close()


def test_a_key_that_is_lost_and_was_not_destroyed_reads_as_damage(path):
    store = SqliteStore(path)
    live(store, "somebody")
    store.close()
    connection = sqlite3.connect(vault_path(path))
    connection.execute("DELETE FROM keys")
    connection.commit()
    connection.close()
    store = SqliteStore(path)
    with pytest.raises(StoreError, match="its key is missing; restore the last copies of the state and of its keys"):
        store.users.read("somebody")
    store.close()


def test_without_its_keys_a_state_file_is_refused_and_a_foreign_one_too(path, tmp_path):
    SqliteStore(path).close()
    keys = vault_path(path)
    moved = keys.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="found no file of keys"):
        SqliteStore(path)
    SqliteStore(tmp_path / "other.db").close()
    shutil.copy(vault_path(tmp_path / "other.db"), keys)
    with pytest.raises(StoreError, match="keys of another state file"):
        SqliteStore(path)
    shutil.copy(moved, keys)
    SqliteStore(path).close()


def test_the_keys_are_their_owners_alone(path):
    SqliteStore(path).close()
    assert stat.S_IMODE(vault_path(path).stat().st_mode) == 0o600


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=20), st.integers(0, 400))
def test_a_sealed_value_opens_in_its_place_only_and_no_damage_is_read(value, place, where):
    key = Key(b"12345678", b"k" * 32)
    sealed = key.seal(value, place)
    assert key.open(sealed, place) == value and (not value or value not in sealed or len(value) < 4)
    with pytest.raises(StoreError):
        key.open(sealed, place + b"x")
    where = 8 + where % (len(sealed) - 8)
    damaged = sealed[:where] + bytes([sealed[where] ^ 1]) + sealed[where + 1 :]
    with pytest.raises(StoreError):
        key.open(damaged, place)


def test_many_new_people_at_once_all_get_a_key(tmp_path):
    """What a write returns is let go of on the caller's thread: it must hold nothing of the writer's connection."""
    store = SqliteStore(tmp_path / "state.db")
    problems: list[Exception] = []

    def come(thread: int) -> None:
        try:
            for n in range(150):
                user_id = f"u{thread}-{n}"
                assert store.users.write_if(user_id, state_of(user_id), 0)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=come, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert problems == []
