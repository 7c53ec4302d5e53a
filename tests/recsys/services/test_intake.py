"""What comes in beside feeds: every wrong field a sentence, everything accepted durable, nothing lost."""

import pytest

from recsys.clock import DAY, MINUTE, to_text
from recsys.errors import Conflict, DataError, StoreError
from recsys.services.intake import (
    MAX_EVENTS,
    accept,
    delete_item,
    get_item,
    get_profile,
    patch_item,
    put_item,
    put_profile,
    update,
)
from recsys.stores.protocols import ItemChange


@pytest.fixture(scope="session")
def known_item(tiny):
    return tiny.items["item_id"][0]


def event(item, **fields):
    return {"event_id": "e1", "user_id": "u", "kind": "like", "item_id": item, **fields}


def test_a_good_event_is_in_the_log_once(service, known_item, evening):
    first = accept(service.engine, [event(known_item), event(known_item)], evening)
    assert (first.accepted, first.duplicates, first.rejected) == (1, 1, [])
    assert accept(service.engine, [event(known_item)], evening).duplicates == 1
    assert len(service.store.events.since("u", 0)) == 1


WRONG = [
    ({"kind": "dance"}, "kind"),
    ({"kind": None}, "kind"),
    ({"kind": ["like"]}, "kind"),
    ({"event_id": ""}, "event_id"),
    ({"event_id": "x" * 129}, "event_id"),
    ({"event_id": "a\u202eb"}, "event_id"),
    ({"event_id": 7}, "event_id"),
    ({"user_id": None}, "user_id"),
    ({"user_id": "\ud800"}, "user_id"),
    ({"item_id": None}, "like"),
    ({"item_id": "never"}, "item_id"),
    ({"item_id": ["v00001"]}, "item_id"),
    ({"item_id": {"a": 1}}, "item_id"),
    ({"item_id": 5}, "item_id"),
    ({"creator_id": "c1"}, "like"),
    ({"kind": "follow"}, "follow"),
    ({"kind": "undo", "item_id": None}, "undo"),
    ({"watch_s": -1}, "watch_s"),
    ({"watch_s": float("nan")}, "watch_s"),
    ({"watch_s": float("inf")}, "watch_s"),
    ({"watch_s": True}, "watch_s"),
    ({"watch_fraction": 1.01}, "watch_fraction"),
    ({"watch_fraction": "all"}, "watch_fraction"),
    ({"position": 0}, "position"),
    ({"position": 51}, "position"),
    ({"value": "x" * 10_000_000}, "value"),
    ({"at": "yesterday"}, "at"),
    ({"at": "2026-11-20T10:00:00"}, "at"),
    ({"at": True}, "at"),
    ({"kind": "search", "item_id": None, "query": "x" * 201}, "query"),
]


@pytest.mark.parametrize(("fields", "name"), WRONG)
def test_a_wrong_event_is_rejected_alone_with_a_short_sentence(service, known_item, evening, fields, name):
    good = event(known_item, event_id="good")
    answer = accept(service.engine, [event(known_item, **fields), good], evening)
    assert answer.accepted == 1 and [r["index"] for r in answer.rejected] == [0]
    reason = answer.rejected[0]["reason"]
    assert reason.startswith(name) and "found" in reason and "expected" in reason and len(reason) < 400


def test_an_event_may_be_7_days_late_and_clocks_5_minutes_apart(service, known_item, evening):
    def is_accepted(at):
        return accept(service.engine, [event(known_item, event_id=f"{at}", at=to_text(at))], evening).accepted == 1

    assert is_accepted(evening - 7 * DAY) and is_accepted(evening + 5 * MINUTE)
    assert not is_accepted(evening - 7 * DAY - 1) and not is_accepted(evening + 5 * MINUTE + 1)


def test_too_many_events_are_refused_as_a_whole(service, known_item, evening):
    with pytest.raises(DataError, match="1001"):
        accept(service.engine, [event(known_item)] * (MAX_EVENTS + 1), evening)
    assert accept(service.engine, [], evening).accepted == 0


def test_an_item_that_came_a_moment_ago_can_be_liked_by_a_worker_that_has_not_seen_it(make_service, evening):
    one = make_service()
    other = make_service(one.store)
    fields = {"creator_id": "c", "title": "new", "risk_tier": "R0"}
    put_item(one.store.catalogue, "new-item", fields, evening)
    assert accept(other.engine, [event("new-item")], evening).accepted == 1


def test_a_log_that_fails_accepts_nothing(service, known_item, evening):
    class Broken:
        def append(self, events, at):
            raise StoreError("no disk")

    with pytest.raises(StoreError):
        accept(service.broken(log=Broken()).engine, [event(known_item)], evening)
    assert service.store.events.since("u", 0) == ()


def test_a_profile_is_read_back_and_every_problem_is_named_at_once(service, evening):
    put_profile(service.engine, "u", {"country": "MA", "languages": ["ary"], "age_band": "16-17"}, evening)
    assert list(get_profile(service.engine, "u")["languages"]) == ["ary"]
    with pytest.raises(DataError) as error:
        put_profile(service.engine, "u", {"age": 3, "age_band": "19", "age_source": "mother"}, evening)
    assert len(error.value.problems) == 3
    with pytest.raises(DataError):
        put_profile(service.engine, "u", {"languages": "ary"}, evening)
    with pytest.raises(DataError):
        put_profile(service.engine, "", {}, evening)


def test_growing_older_frees_nothing(service, evening):
    service.ask("u", size=20)
    before = service.store.users.read("u").state.safety
    service.is_adult("u")
    assert service.store.users.read("u").state.safety == before


def test_an_update_that_always_loses_says_so(service):
    class Busy:
        read = service.store.users.read
        write_if = staticmethod(lambda *_: False)

    with pytest.raises(StoreError, match="try again") as error:
        update(service.broken(users=Busy()).engine, "somebody", lambda state: state)
    assert "somebody" not in str(error.value)  # it goes to a log that no erasure reaches


BAD_ITEMS = [
    ({"colour": "red"}, "colour"),
    ({"creator_id": None}, "creator_id"),
    ({"title": 7}, "title"),
    ({"title": "x" * 10_000_000}, "title"),
    ({"risk_tier": "R9"}, "risk_tier"),
    ({"topics": "S3"}, "topics"),
    ({"topics": ["S13"]}, "topics"),
    ({"risk_confidence": float("nan")}, "risk_confidence"),
    ({"risk_confidence": 1.5}, "risk_confidence"),
    ({"duration_s": -1}, "duration_s"),
    ({"min_age": 12.5}, "min_age"),
    ({"is_hidden": "no"}, "is_hidden"),
    ({"published_at": "soon"}, "published_at"),
    ({"published_at": 5}, "published_at"),
    ({"country": "Morocco"}, "country"),
]


@pytest.mark.parametrize(("fields", "name"), BAD_ITEMS)
def test_a_wrong_item_is_refused_with_a_short_sentence_and_changes_nothing(service, evening, fields, name):
    catalogue = service.store.catalogue
    before = catalogue.since(0).revision
    with pytest.raises(DataError, match=f"^{name}: found") as error:
        put_item(catalogue, "new", {"creator_id": "c", "title": "t", **fields}, evening)
    assert len(str(error.value)) < 400 and catalogue.since(0).revision == before


def test_an_item_is_put_changed_taken_down_and_never_forgotten(service, evening):
    catalogue = service.store.catalogue
    put_item(catalogue, "new", {"creator_id": "c", "title": "t", "risk_tier": "R0"}, evening)
    assert get_item(catalogue, "new")["published_at"] == to_text(evening)
    assert patch_item(catalogue, "new", {"topics": ["S3"]}, evening)["risk_tier"] == "R0"
    assert patch_item(catalogue, "new", {"title": "better"}, evening)["risk_tier"] is None  # new words, new label
    assert patch_item(catalogue, "new", {"title": "best", "risk_tier": "R0"}, evening)["risk_tier"] == "R0"
    assert delete_item(catalogue, "new", evening)
    assert get_item(catalogue, "new")["is_hidden"] is True
    put_item(catalogue, "new", {"creator_id": "c", "title": "t", "risk_tier": "R0"}, evening)
    assert get_item(catalogue, "new")["is_hidden"] is True  # a routine upload brings nothing back
    assert patch_item(catalogue, "never", {}, evening) is None and not delete_item(catalogue, "never", evening)
    assert get_item(catalogue, "never") is None


def test_the_words_of_a_search_are_written_nowhere(service) -> None:
    service.tell({"kind": "search", "query": "sirri klma"}, user_id="u")
    assert [entry.event.query for entry in service.engine.log.since("u", 0)] == [""]


def test_a_patch_beside_a_takedown_never_brings_the_item_back(service) -> None:
    catalogue = service.engine.resources.catalogue_cache.catalogue
    item_id = service.engine.resources.catalogue_cache.items.item_ids[1]
    row = catalogue.get(item_id)
    delete_item(catalogue, item_id, 1)
    late = ItemChange(fields=row.fields, cluster_id="c", expects=row.revision)
    with pytest.raises(Conflict):
        catalogue.put([late], 2)
    assert patch_item(catalogue, item_id, {"title": "a new title"}, 3)["is_hidden"] is True


def test_only_a_false_brings_back_what_was_taken_down(service, evening) -> None:
    """A client that sends every field sends null for those it does not know."""
    catalogue, fields = service.store.catalogue, {"creator_id": "c", "title": "t", "risk_tier": "R0"}
    put_item(catalogue, "new", fields, evening)
    delete_item(catalogue, "new", evening)
    assert put_item(catalogue, "new", {**fields, "is_hidden": None}, evening)["is_hidden"] is True
    assert patch_item(catalogue, "new", {"is_hidden": None}, evening)["is_hidden"] is True
    assert put_item(catalogue, "new", {**fields, "is_hidden": False}, evening)["is_hidden"] is False


def test_an_upload_beside_a_takedown_never_brings_the_item_back(service, evening) -> None:
    store, fields = service.store.catalogue, {"creator_id": "c", "title": "t", "risk_tier": "R0"}
    put_item(store, "new", fields, evening)

    class TakenDownMeanwhile:
        def __getattr__(self, name):
            return getattr(store, name)

        def put(self, changes, at):
            if not store.get("new").fields.get("is_hidden"):
                delete_item(store, "new", at)
            return store.put(changes, at)

    assert put_item(TakenDownMeanwhile(), "new", {**fields, "title": "better"}, evening)["is_hidden"] is True
    assert get_item(store, "new")["title"] == "better"
