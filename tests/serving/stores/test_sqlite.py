"""What only a file can do: be shared, be damaged, be full of somebody's bytes."""

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from recsys.clock import DAY
from recsys.errors import StoreError
from recsys.stores.audit import audit_entry
from recsys.stores.memory import MemoryStore
from recsys.stores.protocols import DecisionRecord, ExposureCount, ItemChange, Read, StoredAnswer
from recsys.types import Event
from recsys.user.state import Delivery, Ledger, SafetyState, UserState, pack
from serving.stores.sqlite.file import Database
from serving.stores.sqlite.store import SqliteStore

NOW = 1_780_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "state.db")
    yield made
    made.close()


def counted(n: int) -> UserState:
    return UserState(safety=SafetyState(ledger=Ledger(n_delivered=n)))


def record(user_id: str, request_id: str, at: int, *items: int) -> DecisionRecord:
    return DecisionRecord(
        answer=StoredAnswer(
            request_id=request_id,
            user_id=user_id,
            at=at,
            body_hash="h",
            answer=b"page " + user_id.encode(),
            decision=b"d",
        ),
        deliveries=tuple(Delivery(at=at, item_no=i, creator_no=1) for i in items),
    )


# One file, many processes


def count_up(path: Path, n: int) -> None:
    """Grant what is left under a cap of 60, as many processes at once would."""
    store = SqliteStore(path)
    for _ in range(n):
        while True:
            read = store.users.read("u")
            granted = read.state.safety.ledger.n_delivered
            if granted >= 60 or store.users.write_if("u", counted(granted + 1), read.version, None):
                break
    store.close()


def write_own(path: Path, name: str, n: int) -> None:
    store = SqliteStore(path)
    for i in range(n):
        assert store.users.write_if(name, counted(i), store.users.read(name).version, record(name, f"r{i}", NOW, i))
        store.events.append([Event(event_id=f"e{i}", user_id="shared", kind="like", at=NOW)], NOW)
    store.close()


def in_processes(target: Callable[..., None], arguments: list[tuple[object, ...]]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=a) for a in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0] * len(processes)


def test_a_cap_holds_over_many_processes(store: SqliteStore, tmp_path: Path) -> None:
    in_processes(count_up, [(tmp_path / "state.db", 30) for _ in range(4)])
    assert store.users.read("u").state == counted(60)


def test_processes_that_open_a_new_file_together_lose_no_write_and_repeat_no_event(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    in_processes(write_own, [(path, f"p{k}", 100) for k in range(4)])
    store = SqliteStore(path)
    for k in range(4):
        assert [d.item_no for d in store.users.deliveries(f"p{k}", 0)] == list(range(100))
    assert sorted(e.event.event_id for e in store.events.since("shared", 0)) == sorted(f"e{i}" for i in range(100))
    store.close()


# One transaction, many writes


def test_a_failing_write_does_not_spoil_the_writes_beside_it(tmp_path: Path) -> None:
    def create(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE t (n INTEGER UNIQUE)")

    database = Database(tmp_path / "t.db", create)
    gate = threading.Event()

    def insert(n: int) -> Callable[[sqlite3.Connection], int]:
        return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (n,)).rowcount

    def hold(_: sqlite3.Connection) -> None:
        gate.wait(10)

    with ThreadPoolExecutor(8) as pool:
        held = pool.submit(database.write, hold)  # so that the others share a transaction
        writes = [pool.submit(database.write, insert(n)) for n in (1, 2, 2, 3, 2**70, 4)]
        gate.set()
        held.result()
        failed = [type(w.exception()).__name__ for w in writes]
    assert sorted(failed) == ["NoneType"] * 4 + ["OverflowError", "StoreError"]
    with database.reading() as connection:
        assert [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")] == [1, 2, 3, 4]
    database.close()


def test_a_reader_sees_state_answer_and_revision_of_one_moment(store: SqliteStore) -> None:
    """A writer commits state n together with answer n; no read may mix two of them."""
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            version = store.users.read("u").version
            assert store.users.write_if("u", counted(n), version, record("u", "r", NOW + n))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        reads: list[Read] = [store.users.read("u", "r") for _ in range(2_000)]
        stop.set()
        writing.result()
    for read in reads:
        assert read.state.safety.ledger.n_delivered == (0 if read.answer is None else read.answer.at - NOW)


# Opening and closing


def test_everything_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    first = SqliteStore(path)
    first.users.write_if("u", counted(3), 0, record("u", "r", NOW, 1))
    first.users.erase("w", NOW, pack(counted(9))[1])
    first.catalogue.put([ItemChange(fields={"item_id": "v1"})], NOW)
    kept = (first.users.read("u", "r"), first.users.deliveries("u", 0), first.catalogue.since(0))
    first.close()
    second = SqliteStore(path)
    assert (second.users.read("u", "r"), second.users.deliveries("u", 0), second.catalogue.since(0)) == kept
    assert second.users.read("w").state == counted(9), "the key of the hash stays with the file"
    second.close()


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path)

    def write(n: int) -> bool:
        try:
            return store.users.write_if(f"u{n}", counted(1), 0)
        except StoreError:
            return False

    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(write, n) for n in range(200)]
        store.close()
        won = [n for n, done in enumerate(writes) if done.result()]
    store.close()
    for call in (lambda: store.users.read("u"), lambda: store.users.write_if("u", counted(1), 0)):
        with pytest.raises(StoreError, match="closed"):
            call()
    again = SqliteStore(path)
    assert [n for n in range(200) if again.users.read(f"u{n}").version] == won
    again.close()


def test_a_file_that_is_no_database_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 500)
    with pytest.raises(StoreError, match="not a SQLite file; name another file"):
        SqliteStore(path)
    assert path.read_text() == "dear diary, " * 500


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_missing_folder_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the folder must exist and be writable"):
        SqliteStore(tmp_path / "nowhere" / "state.db")


def test_a_file_that_somebody_holds_is_an_error_after_a_bounded_wait_and_fine_after(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path, busy_wait_s=0.2)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another process holds it"):
        store.users.write_if("u", counted(1), 0)
    with pytest.raises(StoreError, match="another process holds it"):
        SqliteStore(path, busy_wait_s=0.2)
    assert store.users.read("u").version == 0, "reading goes on"
    holder.execute("ROLLBACK")
    holder.close()
    assert store.users.write_if("u", counted(1), 0)
    store.close()


def test_a_damaged_file_is_said_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    for n in range(200):
        store.users.write_if(f"u{n}", counted(n), 0, record(f"u{n}", "r", NOW, n))
    store.close()
    content = bytearray(path.read_bytes())
    content[4_096:] = b"\xff" * (len(content) - 4_096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        store = SqliteStore(path)
        try:
            store.users.read("u1")
        finally:
            store.close()


# The file and the memory are one thing


USERS = st.sampled_from(["u", "w"])
ITEMS = st.sampled_from(["a", "b", "c"])
TIERS = st.sampled_from([None, "R0", "R1", "R2", "R3"])
WORDS = st.sampled_from(["a", "b", "breathe with me and count to eight now"])
HASHES = st.sampled_from([None, "0123456789abcdef", "fedcba9876543210"])
STEPS = st.sampled_from([0, 1, DAY, 8 * DAY])


class SameAsMemory(RuleBasedStateMachine):
    """Any sequence of calls has the same outcome in a file as in memory."""

    folder: Path
    n_files = 0

    def __init__(self) -> None:
        super().__init__()
        SameAsMemory.n_files += 1
        self.file = SqliteStore(self.folder / f"{SameAsMemory.n_files}.db")
        self.memory = MemoryStore()
        self.at = NOW

    def teardown(self) -> None:
        self.file.close()

    @rule(user=USERS, n=st.integers(0, 99), is_stale=st.booleans(), request=st.sampled_from([None, "r", "s"]))
    def write(self, user: str, n: int, is_stale: bool, request: str | None) -> None:
        counts = (self.count(n, is_local=True), self.count(n, is_local=False))
        made = None if request is None else replace(record(user, request, self.at, n, n + 1), exposure=counts)
        both = (self.file, self.memory)
        versions = [store.users.read(user).version + is_stale for store in both]
        won = [s.users.write_if(user, counted(n), v, made) for s, v in zip(both, versions, strict=True)]
        assert won == [not is_stale] * 2

    def count(self, n: int, *, is_local: bool) -> ExposureCount:
        day = self.at // DAY
        place = {"country": "MA", "region": "", "attribution": "merit"}
        return ExposureCount(creator_id=f"c{n % 3}", day=day, is_local=is_local, n=n, **place)

    @rule(user=USERS)
    def forget(self, user: str) -> None:
        for store in (self.file, self.memory):
            store.cutoffs.forget(user, self.at)

    @rule(before=st.sampled_from([None, b"a", b"b"]), after=st.sampled_from([b"a", b"b"]))
    def control(self, before: bytes | None, after: bytes) -> None:
        both = [store.controllers.replace("MA", before, after) for store in (self.file, self.memory)]
        assert both[0] == both[1]

    @rule(user=USERS, event_ids=st.lists(st.sampled_from(["e1", "e2", "e3"]), max_size=4))
    def append(self, user: str, event_ids: list[str]) -> None:
        events = [Event(event_id=e, user_id=user, kind="like", at=self.at) for e in event_ids]
        assert self.file.events.append(events, self.at) == self.memory.events.append(events, self.at)

    @rule(items=st.lists(st.tuples(ITEMS, TIERS, WORDS, HASHES, st.booleans()), max_size=4))
    def put(self, items: list[tuple[str, str | None, str, str | None, bool]]) -> None:
        changes = [
            ItemChange(
                fields={"item_id": item_id, "risk_tier": tier, "risk_source": "human", "title": words,
                        "perceptual_hash": picture},
                is_edited=edited,
            )
            for item_id, tier, words, picture, edited in items
        ]  # fmt: skip
        assert self.file.catalogue.put(changes, self.at) == self.memory.catalogue.put(changes, self.at)

    @rule(user=USERS, n=st.none() | st.integers(0, 9))
    def erase(self, user: str, n: int | None) -> None:
        stone = None if n is None else pack(counted(n))[1]
        assert self.file.users.erase(user, self.at, stone) == self.memory.users.erase(user, self.at, stone)

    @rule(goes_back=st.booleans())
    def commit_time(self, goes_back: bool) -> None:
        for store in (self.file, self.memory):
            users = store.users
            (users.set_time if goes_back else users.commit_time)(self.at - DAY * goes_back)
            store.audit.append([audit_entry(self.at, "local", "clock_confirmed", goes_back=goes_back)])

    @rule(step=STEPS)
    def wait(self, step: int) -> None:
        self.at += step

    @rule()
    def prune(self) -> None:
        assert self.file.prune(self.at) == self.memory.prune(self.at)

    @invariant()
    def is_the_same(self) -> None:
        file, memory = self.file, self.memory
        assert file.committed_at() == memory.committed_at()
        for revision in range(memory.catalogue.since(0).revision + 1):
            assert file.catalogue.since(revision) == memory.catalogue.since(revision)
        for request in ("r", "s"):
            assert file.decisions.of_request(request) == memory.decisions.of_request(request)
        assert file.decisions.newest(5) == memory.decisions.newest(5)
        assert file.exposure.counts() == memory.exposure.counts()
        assert file.exposure.totals() == memory.exposure.totals()
        since = self.at // DAY - 6
        assert file.exposure.local_deliveries("MA", since) == memory.exposure.local_deliveries("MA", since)
        assert file.controllers.read("MA") == memory.controllers.read("MA")
        cutoffs = [sorted(store.cutoffs.forgotten().before.values()) for store in (file, memory)]
        assert cutoffs[0] == cutoffs[1]
        logs = [[(a.seq, a.entry.at, a.entry.what[:18]) for a in s.audit.page(0, 0, 99)] for s in (file, memory)]
        assert logs[0] == logs[1]  # the hashes of who was erased are of two keys
        for user in ("u", "w"):
            for request in (None, "r", "s"):
                reads = [s.users.read(user, request) for s in (file, memory)]
                assert replace(reads[0], logged=()) == replace(reads[1], logged=())
                heard = [[(e.received_at, e.event) for e in read.logged] for read in reads]
                assert heard[0] == heard[1]
            assert file.users.deliveries(user, self.at - DAY) == memory.users.deliveries(user, self.at - DAY)
            entries = [[(e.received_at, e.event) for e in s.events.since(user, 0)] for s in (file, memory)]
            assert entries[0] == entries[1]


def test_a_file_and_the_memory_agree_on_every_sequence_of_calls(tmp_path: Path) -> None:
    SameAsMemory.folder = tmp_path
    machine = SameAsMemory.TestCase
    machine.settings = settings(
        max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    machine("runTest").runTest()
