"""
The state on a real PostgreSQL server: what is refused, and what is said, when the server is not as it must be, goes
away, stands still, or has no room.
"""

import itertools
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from threading import Event

import pytest

from recsys.clock import SECOND
from recsys.errors import ConfigError, StoreError
from recsys.stores.protocols import DecisionRecord, StoredAnswer
from recsys.types import Event as Reported
from recsys.user.state import Delivery, Ledger, SafetyState, UserState, pack
from serving.clock_guard import GuardedClock
from serving.deadline import DEADLINE, Deadline
from serving.stores.open import Address, open_server, state_of
from serving.stores.postgres import schema
from serving.stores.postgres.server import BULK_WAIT_S, Connection, NoDay
from serving.stores.postgres.store import PostgresStore
from tests.servers.postgres import PASSWORD, Postgres, running

NOW = 1_780_000_000_000


@pytest.fixture
def state(postgres: Postgres) -> str:
    """The address of an empty database."""
    return postgres.url(postgres.new_database())


@pytest.fixture
def store(state: str) -> Iterator[PostgresStore]:
    with closing(opened(state)) as made:
        yield made


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A server that tests may stop and hold."""
    with running() as server:
        yield server


def opened(url: str) -> PostgresStore:
    return PostgresStore(url, str(Address(url)))


def counted(n: int) -> UserState:
    return UserState(safety=SafetyState(ledger=Ledger(n_delivered=n)))


def page(user_id: str, request_id: str, n: int, at: int = NOW, answer: bytes = b"page") -> DecisionRecord:
    shown = Delivery(at=at, item_no=n, creator_no=7, tier=2, family=1, topics=5)
    stored = StoredAnswer(
        request_id=request_id, user_id=user_id, at=at, body_hash="hash", answer=answer, decision=b"why"
    )
    return DecisionRecord(answer=stored, deliveries=(shown,))


def event(event_id: str, user_id: str = "u") -> Reported:
    return Reported(event_id=event_id, user_id=user_id, kind="like", at=NOW)


def serve(store: PostgresStore, n: int, user_id: str = "u") -> bool:
    """One page more of somebody, as a service writes it."""
    read = store.users.read(user_id)
    return store.users.write_if(user_id, counted(n), read.version, page(user_id, f"r{n}", n))


@contextmanager
def hurried(seconds: float) -> Iterator[None]:
    """As a page works whose caller waits for so long."""
    token = DEADLINE.set(Deadline(time.perf_counter(), seconds))
    try:
        yield
    finally:
        DEADLINE.reset(token)


# What is refused at the start


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"password": "wrong"}, "the name or the password is wrong"),
        ({"user": "nobody"}, "the name or the password is wrong"),
        ({"database": "nowhere"}, "nowhere.*does not exist"),
    ],
)
def test_an_address_that_is_wrong_is_a_sentence_without_its_password(
    postgres: Postgres, change: dict[str, str], sentence: str
) -> None:
    url = postgres.url(**({"database": postgres.new_database()} | change))
    with pytest.raises(StoreError, match=sentence) as refused:
        opened(url)
    assert PASSWORD not in str(refused.value) and "wrong@" not in str(refused.value)


def test_nobody_at_the_address_is_a_sentence() -> None:
    with pytest.raises(StoreError, match="see whether the server is up") as refused:
        opened("postgresql://sanad:secret@127.0.0.1:1/state")
    assert "secret" not in str(refused.value)
    for wrong in ("postgresql://u:pass%zzsecret@h/x", "postgresql://u:secret@h/x?bogus=1"):
        with pytest.raises(ConfigError, match=r"address that cannot be read.*expected postgresql://USER") as refused:
            opened(wrong)
        assert "secret" not in str(refused.value)
    with pytest.raises(ConfigError, match="expected a path, or an address that begins with postgresql://") as refused:
        state_of("mysql://sanad:secret@host/state")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("password", ["se#cret", "se/cret", "se?cret", "se@cret", "se:cret", "se[cret", "cret"])
def test_no_sentence_shows_a_password_whatever_is_in_it(password: str) -> None:
    for url in (f"postgresql://sanad:{password}@127.0.0.1:1/state", f"postgresql://h/s?user=u&password={password}"):
        named = str(Address(f"{url}?keys=postgresql://sanad:{password}@h/keys"))
        assert "cret" not in named and "se" not in named and named.startswith("postgresql://")
    with pytest.raises((ConfigError, StoreError)) as refused:
        opened(f"postgresql://sanad:{password}@127.0.0.1:1/state")
    assert "cret" not in str(refused.value)


def test_what_libpq_knows_may_stand_in_the_address(state: str) -> None:
    """As libpq reads it: a plus is a plus, and a space is `%20`."""
    with closing(opened(f"{state}?application_name=a+b%20c&options=-c%20work_mem%3D5MB")) as store:
        read = "SELECT current_setting('application_name'), current_setting('work_mem')"
        assert store.users._database.read(read) == [("a+b c", "5MB")]


@pytest.mark.parametrize("value", ["off", "local", "remote_write"])
def test_a_server_that_would_answer_before_it_has_written_is_refused(postgres: Postgres, value: str) -> None:
    database = postgres.new_database()
    postgres.sql(f"ALTER DATABASE {database} SET synchronous_commit = {value}")
    with pytest.raises(StoreError, match=f"found synchronous_commit={value}, expected on or remote_apply"):
        opened(postgres.url(database))


def test_too_old_a_server_is_refused(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "OLDEST", 99)
    with pytest.raises(StoreError, match=r"found version=\d+, expected 99 or newer"):
        opened(state)


def test_a_database_that_takes_no_writes_is_refused(postgres: Postgres) -> None:
    database = postgres.new_database()
    postgres.sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match="it is a standby; name the primary"):
        opened(postgres.url(database))


def test_a_role_that_may_not_make_tables_is_a_sentence(postgres: Postgres) -> None:
    database = postgres.new_database()
    postgres.sql(f"ALTER DATABASE {database} OWNER TO postgres")
    with pytest.raises(StoreError, match="let it own the database"):
        opened(postgres.url(database))


def test_a_database_without_room_for_a_connection_is_a_sentence(postgres: Postgres, state: str) -> None:
    with closing(opened(state)) as store:
        postgres.sql(f"ALTER DATABASE {state.rpartition('/')[2]} CONNECTION LIMIT 0")
        with pytest.raises(StoreError, match="it has no connection left"):
            opened(state)
        assert serve(store, 1), "the connection that there is goes on"


def test_another_format_and_other_keys_are_refused(postgres: Postgres, state: str) -> None:
    opened(state).close()
    other = postgres.url(postgres.new_database())
    opened(other).close()
    with pytest.raises(StoreError, match="found the keys of another state"):
        opened(f"{state}?keys={other}")
    postgres.sql("UPDATE sanad.meta SET format = 99", state.rpartition("/")[2])
    with pytest.raises(StoreError, match="found a state of format 99, expected 1"):
        opened(state)


def test_keys_may_be_on_another_server(postgres: Postgres, state: str) -> None:
    keys = postgres.new_database()
    with closing(open_server(Address(f"{state}?keys={postgres.url(keys)}"))) as store:
        assert store.stores.users.write_if("u", counted(1), 0, page("u", "r", 1))
        assert store.stores.users.read("u", "r").state == counted(1)
    assert postgres.sql("SELECT count(*) FROM sanad_keys.keys", keys) == [(1,)]
    assert postgres.sql("SELECT to_regclass('sanad_keys.keys')", state.rpartition("/")[2]) == [(None,)]


# While it serves


def test_a_server_that_stands_still_holds_a_page_no_longer_than_its_time(own: Postgres) -> None:
    with closing(opened(own.url(own.new_database()))) as store:
        serve(store, 1)
        own.pause()
        try:
            with hurried(0.4):
                began = time.monotonic()
                with pytest.raises(StoreError, match="no answer in time"):
                    store.users.read("u")
                assert time.monotonic() - began < 1.5
            with hurried(0.4), pytest.raises(StoreError, match="could not be reached a moment ago"):
                store.users.read("u")
            time.sleep(0.5)
        finally:
            own.go_on()
        assert store.users.read("u").state == counted(1) and serve(store, 2)


def test_a_page_waits_for_no_connection_longer_than_it_has_time_and_a_late_one_serves_the_next(own: Postgres) -> None:
    """The driver alone gives each server of an address 2 s at least."""
    with closing(opened(own.url(own.new_database()))) as store:
        database = store.users._database
        database._close_idle()
        own.pause()
        try:
            with hurried(0.3):
                began = time.monotonic()
                with pytest.raises(StoreError, match="no connection in time: see whether the server is up"):
                    store.users.read("u")
                assert time.monotonic() - began < 1.0
        finally:
            own.go_on()
        until = time.monotonic() + 5
        while not database._idle:
            assert time.monotonic() < until, "the connection that came late was thrown away"
            time.sleep(0.02)
        with hurried(0.5):
            assert store.users.read("u").version == 0


def test_after_a_crash_of_the_server_the_same_store_goes_on_and_nothing_is_lost(own: Postgres) -> None:
    with closing(opened(own.url(own.new_database()))) as store:
        written: list[int] = []
        is_over = Event()

        def work(person: int) -> None:
            for n in itertools.count():
                if is_over.is_set():
                    return
                with suppress(StoreError):
                    store.events.append([event(f"e{n}", f"u{person}")], NOW)
                    written.append(person * 1_000_000 + n)

        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(work, person) for person in range(4)]
            try:
                time.sleep(0.5)
                own.kill()
                before = len(written)
                own.start()
                time.sleep(1.0)
            finally:
                is_over.set()
            for each in done:
                each.result()
        assert len(written) > before > 10, "it wrote before and after"
        for person in range(4):
            logged = {entry.event.event_id for entry in store.events.since(f"u{person}", 0)}
            assert {f"e{n - person * 1_000_000}" for n in written if n // 1_000_000 == person} <= logged


def test_a_full_disk_loses_nothing_that_was_answered_and_takes_writes_again_when_there_is_room(own: Postgres) -> None:
    with small_disk(own) as (database, make_room):
        with closing(opened(own.url(database))) as store:
            n = 0
            with pytest.raises(StoreError, match="its disk is full; make room, nothing was written"):
                for n in range(1, 2_000):
                    assert store.users.write_if(
                        "u", counted(n), store.users.read("u").version, page("u", f"r{n}", n, answer=b"p" * 100_000)
                    )
            assert n > 10 and store.users.read("u").state == counted(n - 1)
            make_room()
            assert serve(store, n)
        own.sql(f"DROP DATABASE {database} WITH (FORCE)")


@contextmanager
def small_disk(server: Postgres) -> Iterator[tuple[str, object]]:
    """A database whose rows are on a disk of 40 MB; and how it becomes one of 80 MB."""
    place = server.folder.parent / "small"
    place.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk; CI runs as one who may")
    try:
        inside = place / "rows"
        inside.mkdir()
        subprocess.run(["chown", "-R", "postgres", str(place)], check=True)
        server.sql(f"CREATE TABLESPACE small LOCATION '{inside}'")
        server.sql("CREATE DATABASE small OWNER sanad TABLESPACE small")
        yield "small", lambda: subprocess.run(["mount", "-o", "remount,size=80m", str(place)], check=True)
    finally:
        server.sql("DROP TABLESPACE IF EXISTS small")
        subprocess.run(["umount", str(place)], check=True)


def test_a_warning_of_the_server_at_a_commit_is_no_success(store: PostgresStore) -> None:
    """Such as that it no longer waits for its standby: then the primary alone has what it says it wrote."""
    database = store.users._database
    database.write(
        "CREATE FUNCTION pg_temp.warn() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'not replicated'; "
        "RETURN 1; END $$"
    )
    with pytest.raises(StoreError, match="it warns: not replicated; what was written may be lost"):
        database.write("SELECT pg_temp.warn()")
    assert serve(store, 1)


def test_a_day_without_a_partition_gets_one_when_something_is_written_on_it(store: PostgresStore) -> None:
    far = NOW + 500 * 86_400_000
    assert store.users.write_if("u", counted(1), 0, page("u", "r", 1, at=far))
    store.events.append([event("e")], far)
    assert len(store.users.deliveries("u", 0)) == len(store.events.since("u", 0)) == 1


def test_a_missing_day_is_known_in_any_language_of_the_server(store: PostgresStore) -> None:
    """`lc_messages` translates the text; the code stays."""
    with pytest.raises(NoDay):
        store.users._database.write("DO $$ BEGIN RAISE check_violation USING MESSAGE = 'aucune partition'; END $$")


def test_a_clean_up_forgets_connections_that_are_gone_and_keeps_the_time(store: PostgresStore) -> None:
    database = store.users._database
    database.write("INSERT INTO sanad.written SELECT -n, n FROM generate_series(1, 50) n")
    store.users.commit_time(NOW)
    database.write("INSERT INTO sanad.written VALUES (-51, %s)", (NOW + 7,))
    store.prune(NOW)
    assert store.committed_at() == NOW + 7
    assert database.read("SELECT count(*) FROM sanad.written WHERE backend < 0") == [(1,)]


def test_a_clean_up_finishes_an_erasure_whose_keys_could_not_be_reached(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = store.users._database
    store.users.write_if("u", counted(1), 0)

    def unreachable(*_: object) -> None:
        raise StoreError("the server of the keys is down")

    with monkeypatch.context() as patch:
        patch.setattr(store.users._vault, "note_erased", unreachable)
        with pytest.raises(StoreError, match="keys is down"):
            store.users.erase("u", NOW, pack(counted(1))[1])
    assert database.read("SELECT count(*) FROM sanad_keys.keys") == [(1,)]
    store.prune(NOW)
    assert database.read("SELECT count(*) FROM sanad_keys.keys") == [(0,)]
    assert database.read("SELECT count(*) FROM sanad_keys.erased") == [(1,)]


def test_a_large_load_has_time_to_think_and_to_wait_for_another(store: PostgresStore) -> None:
    """Two processes that load one artifact at once take turns; between its statements a load of millions computes."""
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

    def limits(connection: Connection) -> list[str]:
        return [connection.execute(f"SHOW {name}".encode()).fetchall()[0][0] for name in names]

    assert store.users._database.transact(limits, BULK_WAIT_S) == ["0", "1min", "1min"]
    assert store.users._database.transact(limits) == ["5s", "4s", "20s"]


def test_days_that_are_over_are_dropped_and_not_deleted(postgres: Postgres, store: PostgresStore, state: str) -> None:
    for day in range(3):
        store.events.append([event(f"e{day}")], NOW + day * 86_400_000)
    name = state.rpartition("/")[2]
    days = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'sanad.events'::regclass"
    before = {day for (day,) in postgres.sql(days, name)}
    assert store.prune(NOW + 31 * 86_400_000 + 1)["events"] == 2
    first = f"sanad.events_d{NOW // 86_400_000}"
    assert first in before and first not in {day for (day,) in postgres.sql(days, name)}
    assert [entry.event.event_id for entry in store.events.since("u", 0)] == ["e2"]


def test_a_clean_up_waits_for_nobody_and_comes_again(store: PostgresStore) -> None:
    store.events.append([event("old")], NOW)
    store.users.write_if("u", counted(1), 0)
    store.users.erase("u", NOW, None)
    held = store.users._database
    with held._lent(20) as connection, connection.transaction():
        connection.execute("SELECT count(*) FROM sanad.events, sanad_keys.keys")
        assert store.prune(NOW + 40 * 86_400_000)["forgotten"] == 1, "all else is done"
        assert held.read("SELECT count(*) FROM sanad_keys.destroyed WHERE part IS NOT NULL") == [(1,)]
    store.prune(NOW + 40 * 86_400_000)
    assert held.read("SELECT count(*) FROM sanad_keys.destroyed WHERE part IS NOT NULL") == [(0,)]


def test_pages_that_begin_together_do_not_wait_for_each_others_commit(store: PostgresStore) -> None:
    """A transaction of one person that does not end holds up nobody else, and no clock."""
    held = store.users._database
    with ThreadPoolExecutor(1) as pool, held._lent(5) as connection, connection.transaction():
        connection.execute("SELECT sanad.write_state(1, 'x', 0, 0, 'n', 'a', 'b', 'c', 'd')")
        connection.execute("SELECT sanad.commit_time(%s)", (NOW + 5,))
        assert pool.submit(serve, store, 1, "somebody else").result(timeout=3)
        assert pool.submit(store.events.append, [event("e", "w")], NOW).result(timeout=3).accepted == 1


def test_a_reader_of_the_log_misses_no_event_of_a_transaction_that_ends_late(store: PostgresStore) -> None:
    late = store.users._database
    with late._lent(5) as connection, connection.transaction():
        connection.execute("SELECT pg_current_xact_id()")  # it began first, and will end last
        with ThreadPoolExecutor(1) as pool:
            pool.submit(store.events.append, [event("second")], NOW).result()
            assert pool.submit(lambda: list(store.events.received_since(0))).result() == []
    assert [entry.event.event_id for entry in store.events.received_since(0)] == ["second"]


def test_a_dump_on_a_server_that_counted_less_far_hides_no_event(store: PostgresStore, state: str) -> None:
    """Its places are those of a server with more transactions behind it, and a reader has read up to the last."""
    store.events.append([event("before")], NOW)
    store._database.transact(
        lambda connection: connection.execute("UPDATE sanad.events SET place = place + (1::bigint << 40)")
    )
    assert list(store.events.received_since(0)) == [], "nobody started on it yet"
    with closing(opened(state)) as restored:
        (before,) = restored.events.received_since(0)
        assert restored.events.last_seq() == before.seq
        restored.events.append([event("after")], NOW)
        (after,) = restored.events.received_since(0, before.seq)
        assert (before.event.event_id, after.event.event_id) == ("before", "after")
    with closing(opened(state)) as again:
        assert [entry.seq for entry in again.events.received_since(0)] == [before.seq, after.seq]


def test_two_processes_whose_clocks_differ_by_5_s_agree_on_the_later_time(state: str) -> None:
    """No window is freed by asking the machine whose clock is behind."""
    with closing(opened(state)) as ahead, closing(opened(state)) as behind:
        clocks = [
            GuardedClock(lambda at=at: at, lambda of=of: of.users)
            for at, of in ((NOW + 5 * SECOND, ahead), (NOW, behind))
        ]
        assert clocks[1]() == NOW
        ahead.users.write_if("u", counted(1), 0, page("u", "r", 1, at=clocks[0]()))
        assert [clock.read().is_believed for clock in clocks] == [True, True]
        assert clocks[1]() == clocks[0]() == NOW + 5 * SECOND


# Erasure


def test_no_plan_is_compiled(store: PostgresStore) -> None:
    """Over the partitions of a month the server took each read for a dear one, and spent half a second on its code."""
    assert store.users._database.read("SELECT current_setting('jit')") == [("off",)]
