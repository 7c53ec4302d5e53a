"""Reported events: every wrong field a sentence, everything accepted durable, once each."""

import pytest

from recsys.clock import DAY, MINUTE, to_text
from recsys.errors import DataError, StoreError
from recsys.services.events import MAX_EVENTS, accept_events
from recsys.services.items import put_item
from recsys.tokens import sign


@pytest.fixture(scope="session")
def known_item(tiny):
    return tiny.items["item_id"][0]


def event(item, **fields):
    return {"event_id": "e1", "user_id": "u", "kind": "like", "item_id": item, **fields}


def test_a_good_event_is_in_the_log_once(service, known_item, evening):
    first = accept_events(service.engine, [event(known_item), event(known_item)], evening)
    assert (first.accepted, first.duplicates, first.rejected) == (1, 1, ())
    assert accept_events(service.engine, [event(known_item)], evening).duplicates == 1
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
    ({"item_id": None}, "item_id"),
    ({"item_id": "never"}, "item_id"),
    ({"item_id": ["v00001"]}, "item_id"),
    ({"item_id": {"a": 1}}, "item_id"),
    ({"item_id": 5}, "item_id"),
    ({"creator_id": "c1"}, "creator_id"),
    ({"kind": "follow"}, "creator_id"),
    ({"kind": "undo", "item_id": None}, "value"),
    ({"watch_s": -1}, "watch_s"),
    ({"watch_s": float("nan")}, "watch_s"),
    ({"watch_s": float("inf")}, "watch_s"),
    ({"watch_s": True}, "watch_s"),
    ({"watch_fraction": 1.01}, "watch_fraction"),
    ({"watch_fraction": "all"}, "watch_fraction"),
    ({"position": 0}, "position"),
    ({"position": 10_001}, "position"),
    ({"position": 3.7}, "position"),
    ({"position": True}, "position"),
    ({"tracking_token": 7}, "tracking_token"),
    ({"tracking_token": "forged"}, "tracking_token"),
    ({"value": "x" * 10_000_000}, "value"),
    ({"at": "yesterday"}, "at"),
    ({"at": "2026-13-20T10:00:00Z"}, "at"),
    ({"at": True}, "at"),
    ({"kind": "search", "item_id": None, "query": "x" * 201}, "query"),
]


@pytest.mark.parametrize(("fields", "name"), WRONG)
def test_a_wrong_event_is_rejected_alone_with_a_short_sentence(service, known_item, evening, fields, name):
    good = event(known_item, event_id="good")
    answer = accept_events(service.engine, [event(known_item, **fields), good], evening)
    assert answer.accepted == 1 and [r.index for r in answer.rejected] == [0]
    reason = answer.rejected[0].reason
    assert (
        reason.startswith(name)
        and ("found" in reason or "is missing" in reason)
        and "expected" in reason
        and len(reason) < 400
    )


def test_an_event_may_be_7_days_late_and_clocks_5_minutes_apart(service, known_item, evening):
    def is_accepted(at):
        return (
            accept_events(service.engine, [event(known_item, event_id=f"{at}", at=to_text(at))], evening).accepted == 1
        )

    assert is_accepted(evening - 7 * DAY) and is_accepted(evening + 5 * MINUTE)
    assert not is_accepted(evening - 7 * DAY - 1) and not is_accepted(evening + 5 * MINUTE + 1)


def test_too_many_events_are_refused_as_a_whole(service, known_item, evening):
    with pytest.raises(DataError, match="1001"):
        accept_events(service.engine, [event(known_item)] * (MAX_EVENTS + 1), evening)
    assert accept_events(service.engine, [], evening).accepted == 0


def test_an_item_that_came_a_moment_ago_can_be_liked_by_a_worker_that_has_not_seen_it(make_service, evening):
    one = make_service()
    other = make_service(one.store)
    fields = {"creator_id": "c", "title": "new", "risk_tier": "R0"}
    put_item(one.store.catalogue, "new-item", fields, evening)
    assert accept_events(other.engine, [event("new-item")], evening).accepted == 1


def test_a_log_that_fails_accepts_nothing(service, known_item, evening):
    class Broken:
        def append(self, events, at):
            raise StoreError("no disk")

    with pytest.raises(StoreError):
        accept_events(service.broken(events=Broken()).engine, [event(known_item)], evening)
    assert service.store.events.since("u", 0) == ()


def test_the_words_of_a_search_are_written_nowhere(service) -> None:
    service.tell({"kind": "search", "query": "sirri klma"}, user_id="u")
    assert [entry.event.query for entry in service.engine.stores.events.since("u", 0)] == [""]


def test_a_token_joins_an_event_to_its_place_on_its_page(service, evening):
    item = service.ask("u", request_id="q").items[2]
    reported = event(item.item_id, tracking_token=item.tracking_token, request_id="another", position=9)
    assert accept_events(service.engine, [reported], evening).accepted == 1
    [entry] = service.store.events.since("u", 0)
    assert (entry.event.request_id, entry.event.position, entry.event.is_attributed) == ("q", 3, True)


def test_an_event_without_a_token_counts_and_is_not_attributed(service, known_item, evening):
    for n, token in enumerate((None, "")):
        reported = event(known_item, event_id=f"e{n}", tracking_token=token, request_id="q", position=3)
        assert accept_events(service.engine, [reported], evening).accepted == 1
    logged = [entry.event for entry in service.store.events.since("u", 0)]
    assert [(e.request_id, e.position, e.is_attributed) for e in logged] == [("q", 3, False)] * 2


def test_a_token_holds_for_its_person_its_item_and_its_service_only(service, evening):
    first, second = service.ask("u", request_id="q").items[:2]
    cursor = service.ask("u", request_id="q").cursor
    for fields in (
        {"user_id": "somebody else", "tracking_token": first.tracking_token},
        {"tracking_token": second.tracking_token},
        {"tracking_token": cursor},
        {"tracking_token": sign(b"another key", "t", "u", "q", 1, 1, evening)},
        {"tracking_token": first.tracking_token[:-1]},
    ):
        answer = accept_events(service.engine, [event(first.item_id, **fields)], evening)
        assert answer.accepted == 0 and answer.rejected[0].reason.startswith("tracking_token: found")
