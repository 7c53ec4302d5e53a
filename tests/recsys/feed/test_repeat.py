"""A repeated request is the same page, a cursor is one page, and neither can be forged."""

import msgspec
import pytest

from recsys.clock import DAY, MINUTE
from recsys.errors import Conflict, DataError, Gone
from recsys.services.explain import replay
from recsys.services.items import delete_item
from recsys.services.profiles import update_state
from recsys.services.rights import put_controls, put_guardian


def ids(page):
    return [item.item_id for item in page.items]


def test_a_repeated_request_returns_the_same_page_and_reserves_nothing(service):
    first = service.ask(request_id="once")
    state = service.store.users.read("casa-adult")
    again = service.ask(request_id="once")
    assert ids(again) == ids(first)
    assert again.items == first.items
    assert again.replayed and not first.replayed
    assert service.store.users.read("casa-adult").state == state.state


def test_another_question_under_the_same_id_is_a_conflict(service):
    service.ask(request_id="once", size=5)
    with pytest.raises(Conflict, match="once"):
        service.ask(request_id="once", size=6)


def test_the_same_id_may_be_used_by_two_people(service):
    assert ids(service.ask("u0005", request_id="x")) and ids(service.ask("u0006", request_id="x", size=3))


def test_after_a_day_an_id_asks_again(service, evening):
    first = service.ask(request_id="once")
    at_24h = service.ask(request_id="once", at=evening + DAY)
    later = service.ask(request_id="once", at=evening + DAY + 1)
    assert at_24h.replayed and not later.replayed
    assert not set(ids(first)) & set(ids(later))


def test_a_repeat_leaves_out_what_is_forbidden_by_now_and_adds_nothing(service, evening):
    service.is_adult("casa-adult")
    first = service.ask(request_id="once", size=20)
    taken_down, raised, muted, older = first.items[0], first.items[1], first.items[2], first.items[3]
    delete_item(service.store.catalogue, taken_down.item_id, evening)
    service.edit(raised.item_id, risk_tier="R2", risk_family="despair")
    service.edit(older.item_id, min_age=18)
    service.tell({"kind": "hide_creator", "creator_id": muted.creator_id})
    again = service.ask(request_id="once", size=20)
    gone = {i.item_id for i in first.items if i.creator_id == muted.creator_id} | {taken_down.item_id, raised.item_id}
    assert ids(again) == [item_id for item_id in ids(first) if item_id not in gone]


def test_a_repeat_of_a_page_with_r2_has_none_when_the_cap_is_zero_by_now(service, by_tier, evening):
    service.is_adult("casa-adult")
    asked = {"request_id": "once", "candidate_ids": tuple(by_tier["R2"])}
    assert len(service.ask(**asked).items) == 1

    def raise_level(state):
        counted = state.safety
        loop = msgspec.structs.replace(counted.loop, level=2, raised_at=evening, clean_since=evening)
        return msgspec.structs.replace(state, safety=msgspec.structs.replace(counted, loop=loop))

    update_state(service.engine, "casa-adult", raise_level)
    assert service.ask(**asked).items == []


def test_a_cursor_sent_twice_is_one_page_and_the_next_page_repeats_nothing(service, evening):
    first = service.ask()
    second = service.ask(cursor=first.cursor, at=evening + MINUTE)
    again = service.ask(cursor=first.cursor, at=evening + 2 * MINUTE)
    assert ids(again) == ids(second) and again.replayed
    assert not set(ids(first)) & set(ids(second))


def test_however_deep_the_paging_ids_and_cursors_stay_short(service, evening):
    page = service.ask(size=1, request_id="x" * 128)
    longest = len(page.cursor)
    for n in range(150):
        page = service.ask(size=1, cursor=page.cursor, at=evening + n * MINUTE)
        if page.cursor is None:
            break
    assert n > 100 and len(page.request_id) <= 128 and len(page.cursor or "") <= longest


def test_an_edited_or_foreign_or_malleable_cursor_is_refused(service):
    cursor = service.ask().cursor
    swapped = ("A" if cursor[0] != "A" else "B") + cursor[1:]
    for forged in (swapped, cursor + "!", cursor + "==", cursor[:-4], "", "é"):
        with pytest.raises(DataError, match="cursor"):
            service.ask(cursor=forged)
    with pytest.raises(DataError, match="cursor"):
        service.ask("u0005", cursor=cursor)


def test_a_tracking_token_is_no_cursor(service):
    with pytest.raises(DataError, match="cursor"):
        service.ask(cursor=service.ask().items[0].tracking_token)


def test_an_old_cursor_is_gone(service, evening):
    cursor = service.ask().cursor
    assert service.ask(cursor=cursor, at=evening + DAY)
    with pytest.raises(Gone):
        service.ask(cursor=service.ask(at=evening + DAY).cursor, at=evening + 2 * DAY + 1)


@pytest.mark.parametrize("is_dry", [True, False], ids=["dry run", "repeat"])
def test_asking_again_every_16_minutes_keeps_the_session_and_its_caps(service, by_tier, evening, is_dry):
    service.is_adult("casa-adult")
    first = service.ask(request_id="q", candidate_ids=tuple(by_tier["R2"]))
    before = service.store.users.read("casa-adult").state.safety.ledger
    for n in range(1, 6):
        at = evening + n * 16 * MINUTE
        again = service.ask(at=at, request_id="q", candidate_ids=tuple(by_tier["R2"]), dry_run=is_dry)
        assert is_dry or ids(again) == ids(first)
    after = service.store.users.read("casa-adult").state.safety.ledger
    assert after.session_started_at == before.session_started_at
    assert (after.active_at, after.n_delivered) == (evening + 80 * MINUTE, before.n_delivered)
    left = service.ask(at=evening + 90 * MINUTE, request_id="r").safety.remaining["R2"]["session"]
    assert left == 3 - len(first.items)


def test_an_audit_replay_is_no_activity_and_writes_nothing(service, evening):
    service.ask(request_id="q")
    before = service.store.users.read("casa-adult")
    assert replay(service.engine, "q")["identical"]
    assert service.store.users.read("casa-adult") == before


def test_another_question_is_a_conflict_also_where_a_pause_emptied_the_page(service, evening):
    put_controls(service.engine, "casa-adult", {"guardian_consent": True}, evening)
    put_guardian(service.engine, "casa-adult", {"daily_minutes": 0}, evening)
    paused = service.ask(request_id="q")
    assert paused.items == [] and paused.pause.kind == "guardian"
    with pytest.raises(Conflict):
        service.ask(request_id="q", size=5)
    assert service.ask(request_id="q").pause.kind == "guardian"
