"""The tables on the server, the check that it keeps what is promised, and the partitions of days."""

import secrets
from collections.abc import Iterable
from importlib.resources import files
from typing import Final

from recsys.clock import DAY, Millis
from recsys.errors import StoreError
from serving.stores.postgres.server import OLDEST, Connection, Database

FORMAT: Final = 1  # in `sanad.meta`
DAILY: Final = {"events": "received_at", "decisions": "at", "deliveries": "at"}
"""Tables with a partition for each day, and the column of the time."""
AHEAD: Final = 2  # days for which there are partitions before anything is written on them
_LOCK: Final = 0x5341_4E44  # whoever makes or drops tables holds it

N_PARTS: Final = 32  # of the table of keys

_STATE: Final = (
    # One row, written by the catalogue, by retention and at a start. What was before `..._since` counts as deleted.
    # `places_ahead`: by how much places are ahead of the server's numbers of transactions, see `_keep_places_ahead`.
    """CREATE TABLE sanad.meta (
        id int PRIMARY KEY CHECK (id = 1), format int NOT NULL, installation bytea NOT NULL,
        revision bigint NOT NULL, newest_raise bigint NOT NULL, last_no int NOT NULL,
        events_since bigint NOT NULL, decisions_since bigint NOT NULL, deliveries_since bigint NOT NULL,
        places_ahead bigint NOT NULL DEFAULT 0
    )""",
    # `versions` numbers the writes of people, `places` what is listed in order: no number is given twice.
    "CREATE SEQUENCE sanad.versions",
    "CREATE SEQUENCE sanad.places",
    # The latest time that each connection wrote at: no row that all of them would wait for.
    "CREATE TABLE sanad.written (backend int PRIMARY KEY, at bigint NOT NULL) WITH (fillfactor = 50)",
    # A person has a state or, once erased, a `stone`: `owner` is the keyed hash of the id, the parts are sealed.
    """CREATE TABLE sanad.people (
        owner bytea PRIMARY KEY, version bigint NOT NULL, log_seq bigint NOT NULL,
        person bytea, safety bytea, seen bytea, interactions bytea, stone bytea, erased_at bigint
    ) WITH (fillfactor = 80)""",
    "CREATE INDEX stones ON sanad.people (erased_at) WHERE stone IS NOT NULL",
    "CREATE TABLE sanad.forgotten (key bytea PRIMARY KEY, before bigint NOT NULL)",
    """CREATE TABLE sanad.deliveries (
        seq bigint NOT NULL, owner bytea NOT NULL, at bigint NOT NULL, n int NOT NULL, sealed bytea NOT NULL
    ) PARTITION BY RANGE (at)""",
    "CREATE INDEX ON sanad.deliveries (owner)",
    """CREATE TABLE sanad.decisions (
        seq bigint NOT NULL, owner bytea NOT NULL, request bytea NOT NULL, at bigint NOT NULL, sealed bytea NOT NULL
    ) PARTITION BY RANGE (at)""",
    "CREATE INDEX ON sanad.decisions (owner, request)",
    "CREATE INDEX ON sanad.decisions (request)",
    "CREATE INDEX ON sanad.decisions (seq)",
    """CREATE TABLE sanad.events (
        owner bytea NOT NULL, event bytea NOT NULL, seq bigint NOT NULL, place bigint NOT NULL,
        received_at bigint NOT NULL, sealed bytea NOT NULL
    ) PARTITION BY RANGE (received_at)""",
    "CREATE INDEX ON sanad.events (owner, event)",
    "CREATE INDEX ON sanad.events (owner, seq)",
    "CREATE INDEX ON sanad.events (place)",
    """CREATE TABLE sanad.items (
        item_no int PRIMARY KEY, item_id bytea NOT NULL UNIQUE, revision bigint NOT NULL, peak_tier int NOT NULL,
        is_edited boolean NOT NULL, packed bytea NOT NULL, memory bytea NOT NULL
    )""",
    "CREATE INDEX items_by_revision ON sanad.items (revision)",
    """CREATE TABLE sanad.creators (
        creator_id bytea PRIMARY KEY, revision bigint NOT NULL, is_edited boolean NOT NULL, packed bytea NOT NULL
    )""",
    "CREATE INDEX creators_by_revision ON sanad.creators (revision)",
    # What a page counted, as JSON rows, until it is added up: a counter of a creator is nothing to wait for.
    "CREATE TABLE sanad.outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, counts jsonb NOT NULL)",
    """CREATE TABLE sanad.exposure_counts (
        creator bytea NOT NULL, day int NOT NULL, country text NOT NULL, region text NOT NULL,
        attribution text NOT NULL, is_local boolean NOT NULL, n bigint NOT NULL,
        PRIMARY KEY (creator, day, country, region, attribution, is_local)
    )""",
    """CREATE VIEW sanad.exposure AS
        SELECT creator, day, country, region, attribution, is_local, n FROM sanad.exposure_counts
        UNION ALL
        SELECT decode(c ->> 0, 'hex'), (c ->> 1)::int, c ->> 2, c ->> 3, c ->> 4, (c ->> 5)::boolean, (c ->> 6)::bigint
        FROM sanad.outbox, jsonb_array_elements(counts) AS c""",
    "CREATE TABLE sanad.creator_totals (creator bytea PRIMARY KEY, n bigint NOT NULL)",
    "CREATE TABLE sanad.controllers (market bytea PRIMARY KEY, packed bytea NOT NULL)",
    """CREATE TABLE sanad.audit (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at bigint NOT NULL, who text NOT NULL, what text NOT NULL
    )""",
    "CREATE INDEX audit_by_age ON sanad.audit (at)",
    """CREATE TABLE sanad.reviews (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item_id bytea NOT NULL, asked_at bigint NOT NULL,
        asked_by text NOT NULL, due_at bigint NOT NULL, answered_at bigint, answered_by text, outcome text, tier int
    )""",
    "CREATE INDEX reviews_of_item ON sanad.reviews (item_id, seq)",
    "CREATE UNIQUE INDEX open_reviews ON sanad.reviews (item_id) WHERE answered_at IS NULL",
    "CREATE INDEX reviews_by_age ON sanad.reviews (answered_at)",
    "CREATE TABLE sanad.shreds (number bytea PRIMARY KEY, at bigint NOT NULL, is_done boolean NOT NULL)",
)
_SEALED: Final = {
    "people": ("person", "safety", "seen", "interactions"),
    "deliveries": ("sealed",),
    "decisions": ("sealed",),
    "events": ("sealed",),
}
_KEYS: Final = (
    """CREATE TABLE sanad_keys.meta (
        id int PRIMARY KEY CHECK (id = 1), installation bytea NOT NULL, index_key bytea NOT NULL,
        seal_key bytea NOT NULL
    )""",
    # In parts, so that one in which a key was destroyed is written anew in a moment.
    """CREATE TABLE sanad_keys.keys (owner bytea PRIMARY KEY, number bytea NOT NULL, key bytea NOT NULL)
        PARTITION BY HASH (owner)""",
    *(
        f"CREATE TABLE sanad_keys.keys_{n} PARTITION OF sanad_keys.keys "
        f"FOR VALUES WITH (MODULUS {N_PARTS}, REMAINDER {n})"
        for n in range(N_PARTS)
    ),
    "CREATE INDEX ON sanad_keys.keys (number)",
    # `part` = where the key's bytes still are, in free space.
    "CREATE TABLE sanad_keys.destroyed (number bytea PRIMARY KEY, part text)",
    "CREATE TABLE sanad_keys.erased (owner bytea PRIMARY KEY, at bigint NOT NULL)",
)
_SETTINGS: Final = """
    SELECT current_setting('server_version_num')::int, current_setting('fsync'), current_setting('synchronous_commit'),
        current_setting('full_page_writes'), current_setting('server_encoding')
"""


def check_server(database: Database) -> None:
    """Raises StoreError for a server that does not keep what is answered, or cannot be spoken to."""
    [(version, fsync, commit, pages, encoding)] = database.read(_SETTINGS)
    wrong = [
        f"{name}={found}, expected {wanted}"
        for name, found, wanted, is_wrong in (
            ("version", version // 10_000, f"{OLDEST} or newer", version < OLDEST * 10_000),
            ("fsync", fsync, "on", fsync != "on"),
            ("synchronous_commit", commit, "on or remote_apply", commit not in ("on", "remote_apply")),
            ("full_page_writes", pages, "on", pages != "on"),
            ("server_encoding", encoding, "UTF8", encoding != "UTF8"),
        )
        if is_wrong
    ]
    if wrong:
        raise StoreError(
            f"{database.where}: found {'; '.join(wrong)}: what is answered could be lost, or not be written; correct "
            "it in postgresql.conf"
        )


def open_keys(database: Database) -> None:
    """Make the tables of keys where there are none."""

    def work(connection: Connection) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if not _has(connection, "sanad_keys"):
            for statement in ("CREATE SCHEMA IF NOT EXISTS sanad_keys", *_KEYS):
                connection.execute(statement.encode())
            made = (secrets.token_bytes(16), secrets.token_bytes(32), secrets.token_bytes(32))
            connection.execute("INSERT INTO sanad_keys.meta VALUES (1, %s, %s, %s)", made)

    database.transact(work)


def open_state(database: Database, installation: bytes) -> None:
    """
    Make the tables of the state in a database that has none, and the functions of this version. Raises StoreError for a
    state of another format, or of other keys.
    """

    def work(connection: Connection) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if not _has(connection, "sanad"):
            _create(connection, installation)
        [(found, keys)] = connection.execute("SELECT format, installation FROM sanad.meta").fetchall()
        if found != FORMAT:
            raise StoreError(f"{database.where}: found a state of format {found}, expected {FORMAT}; use that version.")
        if bytes(keys) != installation:
            raise StoreError(f"{database.where}: found the keys of another state; name the keys that belong to it.")
        _keep_places_ahead(connection)
        connection.execute(files(__package__).joinpath("functions.sql").read_bytes(), prepare=False)

    database.transact(work)


def _keep_places_ahead(connection: Connection) -> None:
    """
    Places begin with the number of a transaction. A dump may be restored to a server that counted less far: without
    this its old events would not be seen for long, and new ones would stand before what a reader has read already.
    """
    connection.execute(
        "UPDATE sanad.meta SET places_ahead = last + 1 - pg_current_xact_id()::text::bigint "
        "FROM (SELECT max(place) >> 20 AS last FROM sanad.events) AS events "
        "WHERE last >= pg_current_xact_id()::text::bigint + places_ahead"
    )


def _has(connection: Connection, schema: str) -> bool:
    found = connection.execute("SELECT to_regclass(%s)", (f"{schema}.meta",)).fetchone()
    return found is not None and found[0] is not None


def _create(connection: Connection, installation: bytes) -> None:
    for statement in ("CREATE SCHEMA IF NOT EXISTS sanad", *_STATE):
        connection.execute(statement.encode())
    for table, columns in _SEALED.items():
        for column in columns:  # what is sealed cannot be made smaller
            connection.execute(f"ALTER TABLE sanad.{table} ALTER COLUMN {column} SET STORAGE EXTERNAL".encode())
    connection.execute("INSERT INTO sanad.meta VALUES (1, %s, %s, 0, 0, 0, 0, 0, 0)", (FORMAT, installation))


def add_days(database: Database, instants: Iterable[Millis]) -> None:
    """Make the partitions for these instants where they are missing. Nobody who reads or writes waits for it."""
    days = sorted({at // DAY for at in instants})

    def work(connection: Connection) -> None:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for table in DAILY:
            for day in days:
                name = f"sanad.{table}_{_named(day)}"
                if connection.execute("SELECT to_regclass(%s)", (name,)).fetchone() == (None,):
                    connection.execute(f"CREATE TABLE {name} (LIKE sanad.{table} INCLUDING ALL)".encode())
                    bounds = f"FOR VALUES FROM ({day * DAY}) TO ({(day + 1) * DAY})"
                    connection.execute(f"ALTER TABLE sanad.{table} ATTACH PARTITION {name} {bounds}".encode())

    database.transact(work)


def _named(day: int) -> str:
    return f"d{day}" if day >= 0 else f"m{-day}"


def past_days(database: Database, table: str, oldest: Millis) -> list[str]:
    """The partitions of a table in which everything is before an instant."""
    rows = database.read(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = %s::regclass ORDER BY 1",
        (f"sanad.{table}",),
    )
    days = {name: _day(name) for (name,) in rows}
    return [name for name, day in days.items() if (day + 1) * DAY <= oldest]


def _day(name: str) -> int:
    text = name.rpartition("_")[2]
    return int(text[1:]) if text[0] == "d" else -int(text[1:])


def drop_day(database: Database, name: str) -> None:
    """
    Drop a partition, without a row deleted. Raises StoreError where somebody holds the table for long: nobody shall
    wait behind a clean-up.
    """
    statement = f"DROP TABLE IF EXISTS sanad.{name}".encode()
    database.transact(lambda connection: connection.execute(statement), is_brief=True)
