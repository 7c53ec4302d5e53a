"""
State files of older formats: renamed (2 to 3), sealed (3 to 4), without clusters (4 to 5), with an audit log (5 to 6),
with reviews (6 to 7). From format 8 on what people left is packed: both forms are read, software before reads one.
People's ledgers are never thrown away.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from recsys.columns import FORMER_NAMES
from recsys.errors import StoreError
from recsys.stores.catalogue_write import first_memory
from recsys.stores.protocols import StoredAnswer
from recsys.types import Event, Fields
from recsys.user.seen import of_clusters
from recsys.user.state import Delivery, unpack_seen
from serving.stores.sealing import DELIVERIES, SEEN, Key, number_of, seal_answer, seal_parts, seal_tombstone
from serving.stores.sqlite.events import event_row
from serving.stores.sqlite.vault import Vault

FROM_FORMAT_2: Final = (
    "ALTER TABLE meta RENAME COLUMN one TO id",
    "ALTER TABLE users RENAME COLUMN counted TO safety",
    "ALTER TABLE users RENAME COLUMN taste TO interactions",
    "ALTER TABLE tombstones RENAME COLUMN counted TO safety",
    "ALTER TABLE tallies RENAME TO exposure_counts",
    "ALTER TABLE exposure_counts RENAME COLUMN way TO attribution",
    "ALTER TABLE reach RENAME TO creator_totals",
    "ALTER TABLE steering RENAME TO controllers",
)
"""The names of format 3 for the tables of format 2, whose rows hold the same."""

FROM_FORMAT_4: Final = (
    "ALTER TABLE items DROP COLUMN cluster_id",
    "ALTER TABLE items ADD COLUMN memory BLOB NOT NULL DEFAULT x''",
    "DROP TABLE clusters",
)
MAX_MEMBERS: Final = 20
"""Items of a former cluster that are taken for one video where that matters; a larger one is a set phrase."""

_SEALED: Final = ("users", "tombstones", "deliveries", "decisions", "events")
_INDEXES: Final = (
    "deliveries_of_user", "deliveries_by_age", "decisions_of_request", "decisions_by_age", "events_of_user",
    "events_by_age",
)  # fmt: skip


def upgrade_from_2(connection: sqlite3.Connection) -> None:
    """The tables of format 2 under the names of format 3."""
    for statement in FROM_FORMAT_2:
        connection.execute(statement)
    rows = connection.execute("SELECT item_no, packed FROM items WHERE instr(packed, CAST('fits' AS BLOB))").fetchall()
    connection.executemany(
        "UPDATE items SET packed = ? WHERE item_no = ?", [(_with_new_names(no, packed), no) for no, packed in rows]
    )


def _with_new_names(item_no: int, packed: bytes) -> bytes:
    """An item's fields under the column names of format 3."""
    former = FORMER_NAMES["items"]
    renamed = {former.get(name, name): value for name, value in _fields(item_no, packed).items()}
    return msgspec.msgpack.encode(renamed, order="deterministic")


def _fields(item_no: int, packed: bytes) -> Fields:
    try:
        fields: Fields = msgspec.msgpack.decode(packed, type=dict)
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"item number {item_no} cannot be read ({error}); restore the last copy of the file."
        ) from error
    return fields


def upgrade_from_3(connection: sqlite3.Connection, vault: Vault, tables: Sequence[str]) -> None:
    """
    The tables of format 3 with everything about people sealed and their ids hidden.

    What stood open stays in free pages until the file is rewritten: `is_clean` is 0 until then.
    """
    for name in (*_SEALED, "meta"):
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    for name in _INDEXES:
        connection.execute(f"DROP INDEX {name}")
    _create_missing(connection, tables)
    connection.execute(
        "INSERT INTO meta SELECT 1, ?, 0, writes, committed_at, revision, newest_raise, last_no FROM old_meta",
        (vault.installation,),
    )
    keys = _keys_of_everybody(connection, vault)
    _seal_users(connection, vault, keys)
    _seal_logs(connection, vault, keys)
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'old_events'").fetchone()
    for name in (*_SEALED, "meta"):
        connection.execute(f"DROP TABLE old_{name}")
    if last:  # states remember the last event they took in, so numbers go on from there
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
        connection.execute("INSERT INTO sqlite_sequence VALUES ('events', ?)", last)


def _create_missing(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    existing = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    for statement in tables:
        if statement.split("(")[0].split()[2] not in existing:
            connection.execute(statement)


def _keys_of_everybody(connection: sqlite3.Connection, vault: Vault) -> dict[str, Key]:
    tables = ("users", "deliveries", "decisions", "events")
    everybody = " UNION ".join(f"SELECT user_id FROM old_{name}" for name in tables)
    user_ids = [user_id for (user_id,) in connection.execute(everybody)]
    by_owner = vault.ensure(map(vault.hide, user_ids))
    return {user_id: by_owner[vault.hide(user_id)] for user_id in user_ids}


def _seal_users(connection: sqlite3.Connection, vault: Vault, keys: dict[str, Key]) -> None:
    rows = connection.execute("SELECT user_id, version, person, safety, seen, interactions FROM old_users").fetchall()
    _insert(
        connection,
        "users",
        (
            (vault.hide(user_id), version, *seal_parts(parts, keys[user_id], vault.hide(user_id)))
            for user_id, version, *parts in rows
        ),
    )
    stones = connection.execute("SELECT key, version, at, safety FROM old_tombstones").fetchall()
    sealed = ((key, version, at, seal_tombstone(vault, safety, key)) for key, version, at, safety in stones)
    _insert(connection, "tombstones", sealed)


def _seal_logs(connection: sqlite3.Connection, vault: Vault, keys: dict[str, Key]) -> None:
    """Deliveries, decisions and events, one by one: there may be many."""
    for seq, user_id, at, packed in connection.execute("SELECT seq, user_id, at, packed FROM old_deliveries"):
        owner, n = vault.hide(user_id), len(msgspec.msgpack.decode(packed, type=tuple[Delivery, ...]))
        row = (seq, owner, at, n, keys[user_id].seal(packed, DELIVERIES + owner))
        _insert(connection, "deliveries", [row])
    decisions = "SELECT seq, user_id, request_id, at, body_hash, answer, decision FROM old_decisions"
    for seq, user_id, request_id, at, body_hash, answer, decision in connection.execute(decisions):
        record = StoredAnswer(
            request_id=request_id, user_id=user_id, at=at, body_hash=body_hash, answer=answer, decision=decision
        )
        owner = vault.hide(user_id)
        sealed = seal_answer(record, keys[user_id], owner)
        _insert(connection, "decisions", [(seq, owner, vault.hide(request_id), at, sealed)])
    for seq, user_id, received_at, packed in connection.execute(
        "SELECT seq, user_id, received_at, packed FROM old_events"
    ):
        event = msgspec.msgpack.decode(packed, type=Event)
        _insert(connection, "events", [(seq, *event_row(vault, event, received_at, keys[user_id]))])


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]]) -> None:
    n_columns = len(connection.execute(f"PRAGMA table_info({table})").fetchall())
    connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * n_columns)})", rows)


def upgrade_from_4(connection: sqlite3.Connection, vault: Vault) -> None:
    """
    Items without the clusters of equal texts: what they say themselves decides what their copies are (policy-spec 0).
    Of equal texts the item that was published first came first.
    """
    members = _small_clusters(connection)
    _see_items(connection, vault, members)
    for statement in FROM_FORMAT_4:
        connection.execute(statement)
    ages = [
        (_fields(item_no, packed)["published_at"], item_no)
        for item_no, packed in connection.execute("SELECT item_no, packed FROM items")
    ]
    mates = {item_no: items for items in members.values() for item_no in items if len(items) > 1}
    for place, (_, item_no) in enumerate(sorted(ages)):
        fields, peak_tier = _item(connection, item_no)
        others = (_item(connection, mate)[0] for mate in mates.get(item_no, ()))
        memory = first_memory(fields, peak_tier, place - len(ages), others)
        connection.execute("UPDATE items SET memory = ? WHERE item_no = ?", (memory, item_no))


def _small_clusters(connection: sqlite3.Connection) -> dict[int, list[int]]:
    """The items of each cluster, by its number, without those of set phrases."""
    members = defaultdict[int, list[int]](list)
    joined = "SELECT c.cluster_no, i.item_no FROM items i JOIN clusters c USING (cluster_id) ORDER BY i.item_no"
    for cluster_no, item_no in connection.execute(joined):
        members[cluster_no].append(item_no)
    return {cluster_no: items for cluster_no, items in members.items() if len(items) <= MAX_MEMBERS}


def _item(connection: sqlite3.Connection, item_no: int) -> tuple[Fields, int]:
    """The fields of an item, and its highest tier."""
    row = connection.execute("SELECT packed, peak_tier FROM items WHERE item_no = ?", (item_no,)).fetchone()
    return _fields(item_no, row[0]), row[1]


def _see_items(connection: sqlite3.Connection, vault: Vault, members: Mapping[int, Sequence[int]]) -> None:
    """What people have seen, as items instead of clusters. What cannot be read is left to whoever asks for it."""
    for (owner,) in connection.execute("SELECT owner FROM users").fetchall():
        (sealed,) = connection.execute("SELECT seen FROM users WHERE owner = ?", (owner,)).fetchone()
        key = vault.find(owner)
        if key is None or key.number != number_of(sealed):
            continue
        with suppress(StoreError, msgspec.DecodeError):
            seen = of_clusters(unpack_seen(key.open(sealed, SEEN + owner)), members)
            sealed = key.seal(msgspec.msgpack.encode(seen), SEEN + owner)
            connection.execute("UPDATE users SET seen = ? WHERE owner = ?", (sealed, owner))


def add_new_tables(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    """
    The tables of later formats, empty: an audit log from format 6 and reviews from 7 on. Nobody noted what was decided
    or asked before.
    """
    _create_missing(connection, tables)
