"""What every store promises, run on each of them: in memory, and in a file."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recsys.clock import DAY, HOUR
from recsys.errors import Conflict, DataError
from recsys.stores.memory import MemoryStore
from recsys.stores.protocols import CreatorChange, DecisionRecord, ExposureCount, ItemChange, StoredAnswer
from recsys.types import Event
from recsys.user.state import Delivery, InteractionHistory, Ledger, SafetyState, UserState, pack
from serving.stores.sqlite.store import SqliteStore

NOW = 1_780_000_000_000
Store = MemoryStore | SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "state.db")
    yield made
    made.close()


def counted(n: int) -> UserState:
    return UserState(safety=SafetyState(ledger=Ledger(n_delivered=n)))


def delivery(item_no: int, at: int = NOW) -> Delivery:
    return Delivery(at=at, item_no=item_no, cluster_no=item_no + 100, creator_no=7, tier=2, family=1, topics=5)


def record(user_id: str, request_id: str, *items: int, at: int = NOW, answer: bytes = b"page") -> DecisionRecord:
    return DecisionRecord(
        answer=StoredAnswer(
            request_id=request_id, user_id=user_id, at=at, body_hash="hash", answer=answer, decision=b"why"
        ),
        deliveries=tuple(delivery(item, at) for item in items),
    )


def event(event_id: str, user_id: str = "u", kind: str = "like") -> Event:
    return Event(event_id=event_id, user_id=user_id, kind=kind, at=NOW, item_id="v1", watch_s=1.5, position=3)


def change(item_id: str, tier: str | None = "R0", cluster: str = "", *, edited: bool = True, **more: Any) -> ItemChange:
    fields = {"item_id": item_id, "risk_tier": tier, "topics": ["S3"], **more}
    return ItemChange(fields=fields, cluster_id=cluster or item_id, is_edited=edited)


def put(store: Store, *changes: ItemChange) -> int:
    return store.catalogue.put(changes, NOW)


class TestUserStore:
    def test_an_unknown_user_starts_afresh_at_version_0(self, store: Store) -> None:
        read = store.users.read("nobody", "r1")
        assert (read.state, read.version, read.revision, read.answer) == (UserState(), 0, 0, None)

    def test_what_is_written_is_read_and_the_version_grows(self, store: Store) -> None:
        assert store.users.write_if("u", counted(1), 0)
        first = store.users.read("u")
        assert store.users.write_if("u", counted(2), first.version)
        second = store.users.read("u")
        assert (first.state, second.state) == (counted(1), counted(2))
        assert 0 < first.version < second.version

    def test_a_write_of_an_old_version_writes_nothing_at_all(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0, record("u", "r1", 1))
        before = store.users.read("u")
        for stale in (0, before.version - 1, before.version + 1, -1):
            assert not store.users.write_if("u", counted(9), stale, record("u", "r2", 2, at=NOW + DAY))
        assert store.users.read("u", "r2") == before
        assert store.users.deliveries("u", 0) == (delivery(1),)
        assert store.users.decision("r2") is None
        assert store.committed_at() == NOW

    def test_of_many_writers_of_one_version_exactly_one_wins(self, store: Store) -> None:
        for round_ in range(5):
            version = store.users.read("u").version

            def write(n: int, version: int = version, round_: int = round_) -> bool:
                return store.users.write_if("u", counted(n), version, record("u", f"r{round_}-{n}", n))

            with ThreadPoolExecutor(8) as pool:
                won = list(pool.map(write, range(8)))
            assert sum(won) == 1
            assert store.users.read("u").state == counted(won.index(True))
            assert [d.item_no for d in store.users.deliveries("u", 0)][round_:] == [won.index(True)]

    def test_counting_from_many_threads_loses_nothing(self, store: Store) -> None:
        def count(_: int) -> None:
            while True:
                read = store.users.read("u")
                n = read.state.safety.ledger.n_delivered
                if store.users.write_if("u", counted(n + 1), read.version):
                    return

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(count, range(80)))
        assert store.users.read("u").state == counted(80)

    def test_users_do_not_touch_each_other(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0, record("u", "same", 1, answer=b"for u"))
        store.users.write_if("w", counted(2), 0, record("w", "same", 2, answer=b"for w"))
        for user, n in (("u", 1), ("w", 2)):
            read = store.users.read(user, "same")
            assert read.state == counted(n)
            assert read.answer is not None
            assert read.answer.answer == f"for {user}".encode()
            assert store.users.deliveries(user, 0) == (delivery(n),)

    def test_a_repeat_finds_its_answer_and_a_later_write_replaces_it(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0, record("u", "r", 1))
        read = store.users.read("u", "r")
        assert read.answer == record("u", "r").answer
        assert store.users.read("u").answer is None
        assert store.users.read("w", "r").answer is None
        again = record("u", "r", 2, at=NOW + 25 * HOUR, answer=b"another page")
        assert store.users.write_if("u", counted(2), read.version, again)
        assert store.users.read("u", "r").answer == again.answer
        assert store.users.decision("r") == again.answer

    def test_a_decision_is_the_newest_of_its_request_id(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0, record("u", "r"))
        store.users.write_if("w", counted(1), 0, record("w", "r"))
        assert store.users.decision("r") == record("w", "r").answer
        store.users.write_if("u", counted(2), store.users.read("u").version, record("u", "r", answer=b"new"))
        assert store.users.decision("r") == record("u", "r", answer=b"new").answer
        assert store.users.decision("unknown") is None

    def test_deliveries_come_in_commit_order_from_a_closed_start(self, store: Store) -> None:
        for n, at in enumerate((NOW, NOW - 5, NOW + 5)):
            version = store.users.read("u").version
            store.users.write_if("u", counted(n), version, record("u", f"r{n}", 10 * n, 10 * n + 1, at=at))
        assert [d.item_no for d in store.users.deliveries("u", 0)] == [0, 1, 10, 11, 20, 21]
        assert [d.item_no for d in store.users.deliveries("u", NOW)] == [0, 1, 20, 21]
        assert [d.item_no for d in store.users.deliveries("u", NOW + 1)] == [20, 21]
        assert store.users.deliveries("nobody", 0) == ()

    def test_reading_shows_the_revision_of_the_catalogue(self, store: Store) -> None:
        revision = put(store, change("v1"))
        assert store.users.read("u").revision == revision


class TestErasure:
    def test_erasing_counts_and_leaves_nothing(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0, record("u", "r1", 1, 2))
        store.users.write_if("u", counted(2), store.users.read("u").version, record("u", "r2", 3))
        store.users.write_if("w", counted(7), 0, record("w", "r1", 4))
        store.events.append([event("e1"), event("e2"), event("e1", "w")], NOW)
        assert store.users.erase("u", NOW, None) == {"users": 1, "deliveries": 3, "decisions": 2, "events": 2}
        read = store.users.read("u", "r1")
        assert (read.state, read.version, read.answer) == (UserState(), 0, None)
        assert store.users.deliveries("u", 0) == ()
        assert store.events.since("u", 0) == ()
        assert store.users.decision("r2") is None
        assert store.users.decision("r1") == record("w", "r1").answer
        assert store.users.read("w").state == counted(7)
        assert len(store.events.since("w", 0)) == 1

    def test_erasing_somebody_unknown_deletes_nothing(self, store: Store) -> None:
        assert set(store.users.erase("nobody", NOW, None).values()) == {0}

    def test_counters_outlive_an_erasure_and_tastes_do_not(self, store: Store) -> None:
        state = UserState(
            safety=counted(5).safety, interactions=InteractionHistory(items=(1,), weights=(1.0,), at=(NOW,))
        )
        store.users.write_if("u", state, 0)
        store.users.erase("u", NOW, pack(state)[1])
        read = store.users.read("u")
        assert read.state == counted(5)
        assert not store.users.write_if("u", counted(0), 0), "a write that ignores the counters must not win"
        assert store.users.write_if("u", counted(6), read.version)
        assert store.users.read("u").state == counted(6)

    def test_a_tombstone_goes_after_8_days(self, store: Store) -> None:
        store.users.erase("u", NOW, pack(counted(5))[1])
        assert store.prune(NOW + 8 * DAY)["tombstones"] == 0
        assert store.users.read("u").state == counted(5)
        assert store.prune(NOW + 8 * DAY + 1)["tombstones"] == 1
        assert store.users.read("u").state == UserState()

    def test_of_somebody_whom_the_model_in_service_knows_the_hash_alone_stays(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0)
        store.users.erase("u", NOW, pack(counted(1))[1])
        for days in (9, 30, 300):
            assert store.prune(NOW + days * DAY, ["u", "v"])["tombstones"] == 0
            read = store.users.read("u")
            assert read.state == UserState(safety=SafetyState(is_erased=True)) and read.version > 0
            assert len(store.users.forgotten().erased) == 1
        assert store.prune(NOW + 400 * DAY, ["v"])["tombstones"] == 1
        assert store.users.read("u").state == UserState()

    def test_a_second_erasure_replaces_the_tombstone(self, store: Store) -> None:
        store.users.erase("u", NOW, pack(counted(5))[1])
        store.users.erase("u", NOW + 1, pack(counted(4))[1])
        assert store.users.read("u").state == counted(4)
        store.users.erase("u", NOW + 2, None)
        assert store.users.read("u").state == UserState()

    def test_a_page_made_before_an_erasure_cannot_bring_anything_back(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0)
        before = store.users.read("u").version
        store.users.erase("u", NOW, None)
        assert not store.users.write_if("u", counted(2), before, record("u", "r", 1))
        store.users.write_if("u", counted(1), 0)
        assert store.users.read("u").version > before, "versions are never given twice"
        assert not store.users.write_if("u", counted(2), before)

    def test_a_tombstone_that_is_no_ledger_is_refused_and_nothing_is_deleted(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0)
        with pytest.raises(msgspec.DecodeError):
            store.users.erase("u", NOW, b"\xc1")
        assert store.users.read("u").state == counted(1)


class TestForgetting:
    def test_the_latest_cutoff_of_a_person_stands_under_a_hash(self, store: Store) -> None:
        store.users.forget("u", NOW)
        store.users.forget("u", NOW - 5)
        forgotten = store.users.forgotten()
        assert list(forgotten.before.values()) == [NOW]
        assert all(key != b"u" and len(key) == 32 for key in forgotten.before)

    def test_erasure_is_a_cutoff_and_a_cutoff_leaves_after_8_days(self, store: Store) -> None:
        store.users.erase("u", NOW, None)
        assert store.prune(NOW + 8 * DAY)["forgotten"] == 0
        assert store.prune(NOW + 8 * DAY + 1)["forgotten"] == 1

    def test_a_persons_records_are_listed_in_commit_order(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0, record("u", "r1", 1))
        store.users.write_if("u", counted(2), store.users.read("u").version, record("u", "r2", 1))
        store.users.write_if("v", counted(1), 0, record("v", "r3", 1))
        assert [answer.request_id for answer in store.users.decisions("u")] == ["r1", "r2"]
        assert [answer.request_id for answer in store.users.latest(2)] == ["r3", "r2"]


class TestRetention:
    def test_deliveries_stay_8_days_and_decisions_and_events_30(self, store: Store) -> None:
        store.users.write_if("u", counted(1), 0, record("u", "r", 1))
        store.events.append([event("e")], NOW)
        for at, kept in ((8 * DAY, (1, True, 1)), (8 * DAY + 1, (0, True, 1)), (30 * DAY, (0, True, 1))):
            store.prune(NOW + at)
            decision = store.users.read("u", "r").answer is not None
            assert (len(store.users.deliveries("u", 0)), decision, len(store.events.since("u", 0))) == kept
        pruned = store.prune(NOW + 30 * DAY + 1)
        assert pruned == {"deliveries": 0, "decisions": 1, "events": 1, "tombstones": 0, "tallies": 0, "forgotten": 0}
        assert store.users.read("u", "r").answer is None
        assert store.events.since("u", 0) == ()
        assert store.users.read("u").state == counted(1)

    def test_pruning_takes_everything_old_however_much(self, store: Store) -> None:
        store.events.append([event(f"e{n}") for n in range(1_001)], NOW)
        assert store.prune(NOW + 31 * DAY)["events"] == 1_001

    def test_the_latest_time_written_never_runs_back(self, store: Store) -> None:
        assert store.committed_at() == 0
        store.events.append([event("e1")], NOW)
        store.events.append([event("e2")], NOW - HOUR)
        store.users.write_if("u", counted(1), 0, record("u", "r", at=NOW - 1))
        assert store.committed_at() == NOW
        put(store, change("v1"))
        store.users.erase("u", NOW + 1, None)
        assert store.committed_at() == NOW + 1


class TestEventLog:
    def test_who_waits_is_known_by_the_time_of_receipt(self, store: Store) -> None:
        store.events.append([event("e", "w"), event("e", "u"), event("f", "u")], NOW)
        store.events.append([event("e", "v")], NOW + 1)
        assert [store.events.waiting(NOW + n) for n in range(3)] == [(), ("u", "w"), ("u", "v", "w")]
        assert store.lets_go(NOW) == NOW - 30 * DAY
        store.prune(NOW + 30 * DAY + 1)
        assert store.events.waiting(NOW + 2) == ("v",)

    def test_events_come_back_whole_in_order_with_the_time_of_receipt(self, store: Store) -> None:
        assert store.events.append([event("e2"), event("e1", kind="too_much")], NOW + 9).accepted == 2
        store.events.append([event("e0")], NOW + 10)
        logged = store.events.since("u", 0)
        assert [e.event for e in logged] == [event("e2"), event("e1", kind="too_much"), event("e0")]
        assert [e.received_at for e in logged] == [NOW + 9, NOW + 9, NOW + 10]
        assert 0 < logged[0].seq < logged[1].seq < logged[2].seq
        assert store.events.since("u", logged[1].seq) == logged[2:]
        assert store.events.since("u", logged[2].seq) == ()

    def test_a_repeated_event_is_counted_once_and_the_first_one_stays(self, store: Store) -> None:
        store.events.append([event("e1")], NOW)
        result = store.events.append([event("e1", kind="report"), event("e2"), event("e2")], NOW + 1)
        assert (result.accepted, result.duplicates) == (1, 2)
        assert [e.event for e in store.events.since("u", 0)] == [event("e1"), event("e2")]

    def test_two_users_may_use_one_event_id(self, store: Store) -> None:
        assert store.events.append([event("e"), event("e", "w")], NOW).accepted == 2
        assert [e.event.user_id for e in store.events.since("w", 0)] == ["w"]

    def test_no_events_are_fine(self, store: Store) -> None:
        result = store.events.append([], NOW)
        assert (result.accepted, result.duplicates) == (0, 0)

    def test_numbers_are_not_given_again_after_an_erasure(self, store: Store) -> None:
        store.events.append([event("e1"), event("e2")], NOW)
        last = store.events.since("u", 0)[-1].seq
        store.users.erase("u", NOW, None)
        store.events.append([event("e1")], NOW)
        assert store.events.since("u", 0)[0].seq > last


class TestCatalogue:
    def test_an_item_comes_back_as_it_was_put(self, store: Store) -> None:
        revision = put(store, change("v1", "R1", title="قصة", published_at=NOW, text=None))
        row = store.catalogue.get("v1")
        assert row is not None
        assert row.fields == change("v1", "R1", title="قصة", published_at=NOW, text=None).fields
        assert (row.revision, row.peak_tier, row.is_edited) == (revision, 1, True)
        assert store.catalogue.get("v2") is None

    def test_numbers_are_given_once(self, store: Store) -> None:
        put(store, change("a"), change("b"))
        put(store, change("c"), change("a", "R1"))
        assert [(i, number(store, i)) for i in "abc"] == [("a", 1), ("b", 2), ("c", 3)]

    def test_revisions_grow_with_every_change_and_only_then(self, store: Store) -> None:
        first = put(store, change("a"))
        assert put(store, change("a")) == first
        assert put(store) == first
        second = put(store, change("a", "R1"))
        assert second > first > 0

    def test_a_delta_holds_all_that_is_newer(self, store: Store) -> None:
        first = put(store, change("a"), change("b"))
        second = put(store, change("b", "R1"), change("c"))
        assert ids(store, 0) == ["a", "b", "c"]
        assert ids(store, first) == ["b", "c"]
        assert ids(store, second) == []
        assert store.catalogue.since(second).revision == second

    def test_an_empty_catalogue_is_a_delta_too(self, store: Store) -> None:
        delta = store.catalogue.since(0)
        assert (delta.revision, delta.newest_raise, delta.rows) == (0, 0, ())

    def test_the_highest_tier_stays(self, store: Store) -> None:
        for tier in ("R1", "R3", "R0"):
            put(store, change("a", tier))
        assert peak(store, "a") == 3

    def test_no_label_is_no_peak(self, store: Store) -> None:
        """What nobody looked at counts as R2 while it is so; a label of R0 later must not leave that behind."""
        put(store, change("a", None))
        assert peak(store, "a") == 0
        put(store, change("a", "R0"))
        assert peak(store, "a") == 0

    def test_an_artifact_never_wins_over_the_wire(self, store: Store) -> None:
        put(store, change("a", "R0", edited=False), change("b", "R0", edited=False))
        edited = put(store, change("a", "R2", is_hidden=True))
        assert put(store, change("a", "R0", edited=False), change("b", "R0", edited=False)) == edited
        row = store.catalogue.get("a")
        assert row is not None
        assert (row.fields["is_hidden"], row.is_edited) == (True, True)
        assert put(store, change("b", "R1", edited=False)) > edited

    def test_putting_the_same_over_the_wire_protects_it_from_the_next_artifact(self, store: Store) -> None:
        loaded = put(store, change("a", edited=False))
        edited = put(store, change("a"))
        assert edited > loaded
        assert put(store, change("a", "R1", edited=False)) == edited

    def test_the_last_of_two_changes_of_one_item_stays(self, store: Store) -> None:
        put(store, change("a", "R2"), change("a", "R0", title="last"))
        row = store.catalogue.get("a")
        assert row is not None
        assert (row.item_no, row.peak_tier, row.fields["title"]) == (1, 2, "last")

    @pytest.mark.parametrize(
        "bad",
        [{"risk_tier": "R0"}, {"item_id": 3}, {"item_id": "a", "risk_tier": "R9"}, {"item_id": "a", "x": object()}],
    )
    def test_a_change_that_is_no_item_is_refused_whole(self, store: Store, bad: dict[str, Any]) -> None:
        with pytest.raises(DataError, match="change 1"):
            put(store, change("good"), ItemChange(fields=bad, cluster_id="c"))
        assert store.catalogue.get("good") is None


class TestCreators:
    """Records of creators share the revision of the catalogue."""

    def test_a_creator_comes_back_as_it_was_put_and_in_the_delta(self, store: Store) -> None:
        before = put(store, change("a"))
        fields = {"creator_id": "c", "country": "MA", "languages": ["ary"], "verified": True}
        revision = store.catalogue.put_creators([CreatorChange(fields=fields)], NOW)
        assert revision == before + 1 == store.users.read("u").revision
        delta = store.catalogue.since(before)
        assert delta.rows == () and [row.fields for row in delta.creators] == [fields]
        assert store.catalogue.creator("c") == delta.creators[0]
        assert store.catalogue.creator("d") is None
        assert store.catalogue.since(revision).creators == ()
        assert store.committed_at() == NOW

    def test_the_same_again_is_no_change(self, store: Store) -> None:
        first = CreatorChange(fields={"creator_id": "c", "country": "MA"})
        revision = store.catalogue.put_creators([first], NOW)
        assert store.catalogue.put_creators([first], NOW) == revision

    def test_an_artifact_never_wins_over_the_wire(self, store: Store) -> None:
        edited = CreatorChange(fields={"creator_id": "c", "country": "FR"})
        loaded = CreatorChange(fields={"creator_id": "c", "country": "MA"}, is_edited=False)
        store.catalogue.put_creators([loaded], NOW)
        revision = store.catalogue.put_creators([edited], NOW)
        assert store.catalogue.put_creators([loaded], NOW) == revision
        row = store.catalogue.creator("c")
        assert row is not None and row.fields["country"] == "FR"

    def test_a_change_of_what_is_not_there_any_more_writes_nothing(self, store: Store) -> None:
        first = store.catalogue.put_creators([CreatorChange(fields={"creator_id": "c", "country": "MA"})], NOW)
        second = store.catalogue.put_creators([CreatorChange(fields={"creator_id": "c", "country": "FR"})], NOW)
        for expects in (first, second + 1):
            with pytest.raises(Conflict):
                store.catalogue.put_creators([CreatorChange(fields={"creator_id": "c"}, expects=expects)], NOW)
        assert store.catalogue.since(0).revision == second

    def test_nobody_is_no_creator(self, store: Store) -> None:
        good = CreatorChange(fields={"creator_id": "c", "country": "MA"})
        with pytest.raises(DataError, match="change 1"):
            store.catalogue.put_creators([good, CreatorChange(fields={"country": "MA"})], NOW)
        assert store.catalogue.creator("c") is None


def tally(creator_id: str, n: int = 1, **more: Any) -> ExposureCount:
    usual = {"day": NOW // DAY, "country": "MA", "region": "MA-06", "way": "merit", "is_local": True}
    return ExposureCount(creator_id=creator_id, n=n, **(usual | more))


def counting(store: Store, *tallies: ExposureCount, user_id: str = "u") -> bool:
    version = store.users.read(user_id).version
    counted_page = DecisionRecord(
        answer=StoredAnswer(
            request_id=f"r{version}", user_id=user_id, at=NOW, body_hash="", answer=b"", decision=b""
        ),
        deliveries=(), tallies=tallies,
    )  # fmt: skip
    return store.users.write_if(user_id, UserState(), version, counted_page)


class TestTallies:
    """What is counted of creators names nobody, and is written with the page or not at all."""

    def test_equal_tallies_add_up_and_different_ones_stand_apart(self, store: Store) -> None:
        counting(store, tally("c"), tally("c", way="floor", n=2), tally("d", is_local=False))
        counting(store, tally("c", n=3), user_id="v")
        assert store.users.tallies("c") == (tally("c", way="floor", n=2), tally("c", n=4))
        assert store.users.reach() == {"c": 6, "d": 1}
        assert store.users.tallies("nobody") == ()
        assert store.users.tallies() == (*store.users.tallies("c"), *store.users.tallies("d"))

    def test_a_page_that_lost_the_race_counts_nothing(self, store: Store) -> None:
        counting(store, tally("c"))
        lost = DecisionRecord(answer=record("u", "x").answer, deliveries=(), tallies=(tally("c"),))
        assert not store.users.write_if("u", UserState(), 0, lost)
        assert store.users.reach() == {"c": 1}

    def test_a_markets_local_share_is_counted_from_a_day_on(self, store: Store) -> None:
        today = NOW // DAY
        counting(store, tally("c", n=3), tally("d", n=5, is_local=False), tally("c", n=7, day=today - 9))
        counting(store, tally("c", n=11, country="FR"), user_id="v")
        assert store.users.local_share("MA", today - 6) == (3, 8)
        assert store.users.local_share("MA", 0) == (10, 15)
        assert store.users.local_share("EG", 0) == (0, 0)

    def test_erasing_a_person_leaves_what_names_nobody(self, store: Store) -> None:
        counting(store, tally("c", n=2))
        store.users.erase("u", NOW, None)
        assert store.users.reach() == {"c": 2}

    def test_old_days_become_one_and_nothing_is_lost(self, store: Store) -> None:
        today = NOW // DAY
        counting(store, *(tally("c", day=today - age) for age in (0, 89, 90, 91, 200)))
        store.prune(NOW)
        assert [(t.day, t.n) for t in store.users.tallies("c")] == [(0, 2), *((today - age, 1) for age in (90, 89, 0))]
        store.prune(NOW + DAY)
        assert store.users.tallies("c")[0].n == 3
        assert store.users.reach() == {"c": 5}

    def test_of_two_who_steer_from_one_state_the_first_wins(self, store: Store) -> None:
        assert store.users.steering("MA") is None
        assert store.users.steer("MA", None, b"one")
        assert not store.users.steer("MA", None, b"two")
        assert store.users.steer("MA", b"one", b"two") and store.users.steer("FR", None, b"three")
        assert (store.users.steering("MA"), store.users.steering("FR")) == (b"two", b"three")


class TestClusters:
    def test_near_duplicates_share_the_number_of_the_first(self, store: Store) -> None:
        put(store, change("x"), change("a", cluster="k"))
        put(store, change("b", cluster="k"), change("y"))
        assert [cluster(store, i) for i in "xaby"] == [1, 2, 2, 4]

    def test_a_cluster_keeps_its_number_when_its_first_member_leaves(self, store: Store) -> None:
        put(store, change("a", cluster="k"), change("b", cluster="k"))
        put(store, change("a", cluster="m"))
        put(store, change("c", cluster="k"), change("d"))
        assert cluster(store, "b") == cluster(store, "c") == 1
        numbers = [cluster(store, i) for i in "abcd"] + [number(store, i) for i in "bcd"]
        assert cluster(store, "a") not in numbers[1:]
        assert number(store, "a") == 1


class TestRaises:
    """A raise is a revision after which an item that was there counts higher."""

    def test_new_items_and_lowered_items_are_no_raise(self, store: Store) -> None:
        put(store, change("a", "R2"), change("b", "R1"))
        put(store, change("a", "R0"))
        assert store.catalogue.since(0).newest_raise == 0

    def test_a_label_that_rises_again_after_it_was_lowered_is_a_raise(self, store: Store) -> None:
        """What was delivered while it was low counts as it is now."""
        put(store, change("a", "R2"))
        put(store, change("a", "R0"))
        again = put(store, change("a", "R2", title="not above its peak"))
        assert store.catalogue.since(0).newest_raise == again

    def test_a_higher_label_is_a_raise(self, store: Store) -> None:
        put(store, change("a", "R0"))
        raised = put(store, change("a", "R1"))
        put(store, change("b", "R4"))
        assert store.catalogue.since(0).newest_raise == raised

    def test_a_worse_copy_raises_its_cluster(self, store: Store) -> None:
        put(store, change("a", "R1", "k"))
        put(store, change("b", "R1", "k"))
        assert store.catalogue.since(0).newest_raise == 0
        raised = put(store, change("c", "R2", "k"))
        assert store.catalogue.since(0).newest_raise == raised

    def test_moving_to_a_worse_cluster_is_a_raise_and_to_a_milder_one_is_not(self, store: Store) -> None:
        put(store, change("a", "R0"), change("b", "R2", "k"), change("c", "R0"))
        assert put(store, change("a", "R0", "c")) > 0
        assert store.catalogue.since(0).newest_raise == 0
        raised = put(store, change("a", "R0", "k"))
        assert store.catalogue.since(0).newest_raise == raised

    def test_a_calm_label_for_the_unlabelled_is_no_raise_and_losing_it_is(self, store: Store) -> None:
        put(store, change("a", None), change("b", None), change("c", "R0"))
        put(store, change("a", "R0"))
        assert store.catalogue.since(0).newest_raise == 0
        lost = put(store, change("c", None))
        assert store.catalogue.since(0).newest_raise == lost
        raised = put(store, change("b", "R3"))
        assert store.catalogue.since(0).newest_raise == raised

    def test_a_surer_label_of_the_model_is_a_raise_and_a_weaker_one_is_not(self, store: Store) -> None:
        """It may have come to a market's threshold, whatever the peak was."""
        for confidence in (0.9, 0.7):
            put(store, change("a", "R2", predicted_tier="R2", label_confidence=confidence))
        assert store.catalogue.since(0).newest_raise == 0
        raised = put(store, change("a", "R2", predicted_tier="R2", label_confidence=0.8))
        assert store.catalogue.since(0).newest_raise == raised


def ids(store: Store, revision: int) -> Sequence[str]:
    return [row.fields["item_id"] for row in store.catalogue.since(revision).rows]


def number(store: Store, item_id: str) -> int:
    row = store.catalogue.get(item_id)
    assert row is not None
    return row.item_no


def cluster(store: Store, item_id: str) -> int:
    row = store.catalogue.get(item_id)
    assert row is not None
    return row.cluster_no


def peak(store: Store, item_id: str) -> int:
    row = store.catalogue.get(item_id)
    assert row is not None
    return row.peak_tier
