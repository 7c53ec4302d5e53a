"""
A primary with a synchronous standby: the primary dies under load, the standby is promoted, and everything that was
answered is there, because nothing is answered before the standby has it on its disk.
"""

import itertools
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from threading import Event

import pytest

from recsys.errors import StoreError
from recsys.types import Event as Reported
from recsys.user.state import Ledger, SafetyState, UserState
from serving.stores.postgres.store import PostgresStore
from tests.servers.postgres import PASSWORD, Postgres, new_folder, running
from tests.serving.process import free_port
from tests.serving.stores.test_postgres import NOW, hurried, page

N_CLIENTS = 4


@dataclass(slots=True)
class Told:
    """What one client was told: how many pages of its person are reserved, and which events are logged."""

    pages: list[int] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """A primary, and a standby that it waits for."""
    with running() as primary, new_folder() as folder:
        primary.sql("ALTER ROLE sanad REPLICATION")
        standby = Postgres(folder / "data", free_port(), primary.programs)
        source = f"host=127.0.0.1 port={primary.port} user=postgres password={PASSWORD}"
        standby.run(
            "pg_basebackup", "-D", str(standby.folder), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"
        )
        standby.start()
        primary.settings["synchronous_standby_names"] = "*"
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.sql("SELECT pg_reload_conf()")
        while primary.sql("SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
            time.sleep(0.05)
        yield primary, standby
        standby.stop(signal.SIGQUIT)


def address(*servers: Postgres, database: str) -> str:
    """One address for all servers: whichever takes writes is used."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://sanad:{PASSWORD}@{hosts}/{database}"


def send(store: PostgresStore, client: int, told: Told, is_over: Event) -> None:
    """Pages and events of one person, each noted once it was answered."""
    user_id, version, reserved = f"u{client}", 0, 0
    for n in itertools.count():
        if is_over.is_set():
            return
        with suppress(StoreError):
            read = store.users.read(user_id)
            version, reserved = read.version, read.state.safety.ledger.n_delivered
            after = UserState(safety=SafetyState(ledger=Ledger(n_delivered=reserved + 1)))
            if store.users.write_if(user_id, after, version, page(user_id, f"r{client}-{n}", n)):
                told.pages.append(n)
            store.events.append([Reported(event_id=f"e{n}", user_id=user_id, kind="like", at=NOW)], NOW)
            told.events.append(f"e{n}")


@pytest.mark.slow
def test_when_the_primary_dies_under_load_nothing_that_was_answered_is_lost(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    url = address(primary, standby, database=primary.new_database())
    is_over, told = Event(), [Told() for _ in range(N_CLIENTS)]
    with closing(PostgresStore(url, "pair")) as store, ThreadPoolExecutor(N_CLIENTS) as pool:
        clients = [pool.submit(send, store, n, told[n], is_over) for n in range(N_CLIENTS)]
        try:
            time.sleep(1.5)
            primary.kill()
            before = [len(one.pages) for one in told]
            standby.sql("SELECT pg_promote()")
            time.sleep(1.5)
        finally:  # else a failure would wait for clients that nothing ends
            is_over.set()
        for client in clients:
            client.result()
        after = [len(one.pages) for one in told]
        print(f"{sum(before)} pages before, {sum(after) - sum(before)} after the promotion")
        assert sum(before) > 20 and all(more > less for more, less in zip(after, before, strict=True))
        for n, one in enumerate(told):
            delivered = [delivery.item_no for delivery in store.users.deliveries(f"u{n}", 0)]
            logged = {entry.event.event_id for entry in store.events.since(f"u{n}", 0)}
            assert set(one.pages) <= set(delivered) and set(one.events) <= logged
            assert store.users.read(f"u{n}").state.safety.ledger.n_delivered == len(delivered)


def test_a_standby_is_refused_and_a_missing_one_holds_the_answer_back(pair: tuple[Postgres, Postgres]) -> None:
    primary, standby = pair
    database = primary.new_database()
    with closing(PostgresStore(address(primary, database=database), "primary")) as store:
        with pytest.raises(StoreError, match="it is a standby; name the primary"):
            PostgresStore(address(standby, database=database), "standby")
        store.users.write_if("u", UserState(), 0, page("u", "r1", 1))
        version = store.users.read("u").version
        standby.pause()
        try:
            with hurried(0.5), pytest.raises(StoreError, match="no answer in time"):
                store.users.write_if("u", UserState(), version, page("u", "r2", 2))
        finally:
            standby.go_on()
        until = time.monotonic() + 20
        while len(store.users.deliveries("u", 0)) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        assert len(store.users.deliveries("u", 0)) == 2, "it was written in the end; nobody was told so before"
