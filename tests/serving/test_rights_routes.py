"""What a person and a guardian can set, see, take along and have erased, over HTTP."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from recsys.clock import DAY, HOUR, MINUTE, SECOND, Millis, from_text
from recsys.feed.engine import Engine
from recsys.services import rights
from recsys.types import Fields, JsonObject
from serving.settings import Settings

from .conftest import StillClock

Open = Callable[..., AbstractContextManager[TestClient]]
R2 = [f"v{n}" for n in range(120) if n % 10 == 9]
DEFAULTS = {
    "muted_topics": [], "muted_creators": [], "muted_words": [], "calm_mode": False, "personalised": True,
    "daily_minutes": None, "local_weight": None, "languages": [], "night_rules": True,
}  # fmt: skip


def ids(page: Fields) -> list[str]:
    return [item["item_id"] for item in page["items"]]


def ask(client: TestClient, user_id: str = "u0", **body: object) -> Fields:
    answer = client.post("/v1/feed", json={"user_id": user_id, **body})
    assert answer.status_code == 200, answer.text
    page: Fields = answer.json()
    return page


def put(client: TestClient, what: str, user_id: str = "u0", **fields: object) -> Fields:
    answer = client.put(f"/v1/users/{user_id}/{what}", json=fields)
    assert answer.status_code == 200, answer.text
    stored: Fields = answer.json()
    return stored


def get(client: TestClient, what: str, user_id: str = "u0") -> Fields:
    answer = client.get(f"/v1/users/{user_id}/{what}")
    assert answer.status_code == 200, answer.text
    found: Fields = answer.json()
    return found


def tell(client: TestClient, *events: Fields, user_id: str = "u0") -> None:
    numbered = [{"event_id": f"{n}-{event}", "user_id": user_id, **event} for n, event in enumerate(events)]
    numbered = [{**event, "event_id": event["event_id"][:100]} for event in numbered]
    answer = client.post("/v1/events", json={"events": numbered}).json()
    assert answer["accepted"] == len(events), answer


def stroll(client: TestClient, clock: StillClock, minutes: int, user_id: str = "u0") -> None:
    """Activity for so many minutes, with a page of one item every 4."""
    for _ in range(0, minutes, 4):
        clock.at += 4 * MINUTE
        ask(client, user_id, size=1)


# Controls


def test_controls_have_defaults_and_are_replaced_whole(client: TestClient) -> None:
    found = get(client, "controls")
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS
    stored = put(client, "controls", muted_topics=["S3"], daily_minutes=45)
    assert stored["muted_topics"] == ["S3"] and stored["daily_minutes"] == 45
    assert put(client, "controls", local_weight=1.5)["muted_topics"] == []
    assert get(client, "controls")["local_weight"] == 1.5


@pytest.mark.parametrize(
    "body",
    [
        {"muted_topics": ["S13"]}, {"muted_topics": "S1"}, {"muted_words": [""]}, {"daily_minutes": 0},
        {"daily_minutes": -1}, {"daily_minutes": 1441}, {"local_weight": 2.1}, {"local_weight": "1"},
        {"calm_mode": "yes"}, {"mutedtopics": ["S1"]}, {"languages": ["arabic!"]}, {"local_weight": -0.1},
    ],
)  # fmt: skip
def test_controls_that_make_no_sense_are_refused_and_nothing_changes(client: TestClient, body: object) -> None:
    answer = client.put("/v1/users/u0/controls", json=body)
    assert answer.status_code == 422 and answer.json()["errors"]
    found = get(client, "controls")
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS


def test_muted_topics_creators_and_words_are_on_no_page_and_on_no_repeat(client: TestClient) -> None:
    before = ask(client, size=15, request_id="r")
    creator = before["items"][0]["creator_id"]
    put(client, "controls", muted_topics=["S3"], muted_creators=[creator], muted_words=["THING 1"])
    for page in (ask(client), ask(client, size=15, request_id="r"), ask(client, size=5, surface="local")):
        assert page["items"] or page["replayed"]
        for item in page["items"]:
            number = item["item_id"].removeprefix("v")
            assert "S3" not in item["topics"] and item["creator_id"] != creator and not number.startswith("1")
    assert ids(ask(client, size=5, candidate_ids=["v1", "v10", "v113"])) == []


def test_languages_set_by_the_person_are_those_understood(client: TestClient) -> None:
    put(client, "controls", languages=["en"])
    assert ids(ask(client, size=20)) == []  # every item is in French
    put(client, "controls", languages=["fr"])
    assert len(ids(ask(client, size=20))) == 20


def test_calm_mode_tightens_at_once_and_loosens_only_after_clean_days(client: TestClient, clock: StillClock) -> None:
    assert ask(client)["safety"]["loop_level"] == 0
    put(client, "controls", calm_mode=True)
    assert ask(client)["safety"]["loop_level"] == 1
    put(client, "controls", calm_mode=False)
    clock.at += 6 * DAY
    assert ask(client)["safety"]["loop_level"] == 1
    clock.at += DAY + SECOND
    assert ask(client)["safety"]["loop_level"] == 0


def test_switching_calm_mode_on_twice_raises_once(client: TestClient) -> None:
    for _ in range(3):
        put(client, "controls", calm_mode=True)
    assert ask(client)["safety"]["loop_level"] == 1


def test_non_personalised_uses_no_history_whoever_says_no(client: TestClient) -> None:
    place = {"country": "MA", "languages": ["fr"]}
    tell(client, {"kind": "like", "item_id": "v7"}, {"kind": "follow", "creator_id": "c3"})
    put(client, "controls", personalised=False)
    client.put("/v1/users/u1", json={"age_band": "18+", "age_source": "verified", "consent": False, **place})
    seen = sorted({f"v{(7 * u + 11 * k) % 120}" for u in range(4) for k in range(1, 11)} | {"v7"})  # by the log, and v7
    pages = [
        ask(client, user, size=15, request_id="same", context=place, mode=mode, explain="full", exclude_ids=seen)
        for user, mode in (("u0", "personalised"), ("u1", "personalised"), ("u2", "non_personalised"))
    ]
    assert ids(pages[0]) == ids(pages[1]) == ids(pages[2]) and len(ids(pages[0])) == 15
    for item in (item for page in pages for item in page["items"]):
        assert not {"cf", "content", "followed"} & set(item["sources"])
        assert not item["score_parts"]["cf"] and not item["score_parts"]["followed"]


def test_a_local_weight_orders_and_never_lets_anything_in(client: TestClient) -> None:
    def share(weight: float) -> float:
        put(client, "controls", local_weight=weight)
        page = ask(client, size=20, dry_run=True)
        return sum(item["locality"]["match"] == "country" for item in page["items"]) / 20

    assert share(2.0) >= share(0.0) >= 0.3  # the market's floor holds at weight 0


# Screen time


def test_a_daily_budget_pauses_until_an_active_choice(client: TestClient, clock: StillClock) -> None:
    put(client, "controls", daily_minutes=20)
    ask(client)
    stroll(client, clock, 24)
    page = ask(client)
    assert page["items"] == [] and page["pause"]["kind"] == "budget" and page["pause"]["needs_choice"]
    assert page["pause"]["until"] == "2026-11-21T12:04:00.001Z"  # when 4 of the 24 minutes are a day old
    assert page["shortfall"]["because"] == {"pause": 20}
    pause_id = page["pause"]["pause_id"]
    assert ask(client, pause_choice={"pause_id": "budget-0", "choice": "continue"})["items"] == []
    assert ask(client, pause_choice={"pause_id": pause_id, "choice": "continue"})["items"]
    assert ask(client)["items"]
    clock.at += 31 * MINUTE  # the next session asks again
    assert ask(client)["pause"]["kind"] == "budget"


def test_who_stops_at_a_pause_gets_empty_pages_until_it_ends(client: TestClient, clock: StillClock) -> None:
    put(client, "controls", daily_minutes=20)
    ask(client)
    stroll(client, clock, 24)
    pause_id = ask(client)["pause"]["pause_id"]
    ask(client, pause_choice={"pause_id": pause_id, "choice": "stop"})
    clock.at += 12 * HOUR
    assert ask(client)["items"] == []
    clock.at += 12 * HOUR
    assert ask(client)["items"]


def test_a_minors_budget_is_the_markets_and_no_control_raises_it(client: TestClient, clock: StillClock) -> None:
    put(client, "controls", "teen", daily_minutes=600, night_rules=False)
    ask(client, "teen", size=1)
    stroll(client, clock, 64, "teen")
    assert ask(client, "teen")["pause"]["kind"] == "budget"
    assert get(client, "exposure", "teen")["daily_minutes"] == 60
    clock.at = from_text("2026-11-21T22:30:00Z")
    page = ask(client, "teen")
    assert page["safety"]["is_night"] and page["items"] == [] and page["pause"]["kind"] == "night"


def test_a_minors_page_ends_at_the_soft_stop(client: TestClient) -> None:
    page = ask(client, "teen", size=30)
    assert len(page["items"]) == 20 and page["pause"]["kind"] == "break" and not page["pause"]["needs_choice"]
    assert page["shortfall"]["because"]["pause"] == 10
    assert len(ask(client, "teen", size=5)["items"]) > 0


# Guardian


@pytest.fixture
def paired(client: TestClient) -> TestClient:
    """The service, with a guardian in the teen's profile."""
    fields = {"age_band": "13-15", "age_source": "verified", "country": "MA", "languages": ["fr"], "guardian_id": "u1"}
    assert client.put("/v1/users/teen", json=fields).status_code == 200
    return client


def test_limits_need_a_pair_and_a_minor_or_the_persons_consent(client: TestClient) -> None:
    for user_id, found in (("teen", "a profile that names no guardian"), ("u0", "an adult")):
        answer = client.put(f"/v1/users/{user_id}/guardian", json={"daily_minutes": 30})
        assert answer.status_code == 422 and f"found {found}" in answer.json()["detail"]
        assert get(client, "guardian", user_id)["daily_minutes"] is None
    put(client, "guardian", "u0")  # taking limits back needs nobody
    put(client, "controls", guardian_consent=True)
    stored = put(client, "guardian", daily_minutes=30, night=["21:00-23:00", "22:30-07:00"])
    assert stored["in_force"]["daily_minutes"] == 30 and stored["in_force"]["max_tier"] == "R2"
    assert stored["in_force"]["night"] == ["21:00-07:00"]
    put(client, "controls")
    assert get(client, "exposure")["daily_minutes"] == 30  # limits that stand stay


def test_a_guardian_only_tightens(client: TestClient, paired: TestClient) -> None:
    assert get(client, "guardian", "teen")["daily_minutes"] is None
    stored = put(client, "guardian", "teen", daily_minutes=30, night=["20:00-08:00"], max_tier="R0", labelled_only=True)
    assert stored["night"] == ["20:00-08:00"] and stored["max_tier"] == "R0"
    assert get(client, "exposure", "teen")["daily_minutes"] == 30
    put(client, "guardian", "teen", daily_minutes=1_440, max_tier="R4", night=[])
    assert get(client, "exposure", "teen")["daily_minutes"] == 60  # the market's


def test_a_guardians_limit_is_an_empty_page_that_no_choice_opens(
    client: TestClient, paired: TestClient, clock: StillClock
) -> None:
    put(client, "guardian", "teen", daily_minutes=0)
    page = ask(client, "teen")
    assert page["items"] == [] and page["pause"]["kind"] == "guardian" and not page["pause"]["needs_choice"]
    choice = {"pause_id": page["pause"]["pause_id"], "choice": "continue"}
    assert ask(client, "teen", pause_choice=choice)["items"] == []


def test_a_guardians_hours_lengthen_the_night(client: TestClient, paired: TestClient, clock: StillClock) -> None:
    put(client, "guardian", "teen", night=["11:00-13:00"])
    assert ask(client, "teen")["pause"]["kind"] == "night"  # it is noon
    clock.at += HOUR
    assert ask(client, "teen")["items"]


def test_a_guardian_never_sees_topics_tastes_or_cards(client: TestClient, paired: TestClient) -> None:
    put(client, "controls", "teen", muted_topics=["S6"], muted_words=["secret"])
    ask(client, "teen")
    tell(client, {"kind": "support_requested"}, {"kind": "too_much", "item_id": "v1"}, user_id="teen")
    seen = put(client, "guardian", "teen", calm_mode=True)
    allowed = {"request_id", "user_id", "daily_minutes", "night", "calm_mode", "max_tier", "labelled_only"}
    assert set(seen) - {"in_force"} == allowed == set(get(client, "guardian", "teen"))
    assert ask(client, "teen", surface="together")["cards"] == []
    assert next(card["card_id"] for card in ask(client, "teen")["cards"]) == "support"  # still due, for the teen alone


def test_a_guardian_who_turns_calm_mode_on_tightens(client: TestClient, paired: TestClient) -> None:
    put(client, "guardian", "teen", calm_mode=True)
    assert ask(client, "teen")["safety"]["loop_level"] == 1


@pytest.mark.parametrize(
    "body",
    [{"daily_minutes": -1}, {"night": ["25:00-07:00"]}, {"night": "22-7"}, {"max_tier": "R9"}, {"muted_topics": ["S1"]},
     {"daily_minutes": 30.5}],
)  # fmt: skip
def test_guardian_limits_that_make_no_sense_are_refused(client: TestClient, body: object) -> None:
    answer = client.put("/v1/users/teen/guardian", json=body)
    assert answer.status_code == 422
    assert get(client, "guardian", "teen")["max_tier"] is None


# Exposure, export, reset, erasure


def test_exposure_shows_every_counter_against_every_window(client: TestClient) -> None:
    shown = ask(client, size=20, candidate_ids=[*R2, *(f"v{n}" for n in range(12))])
    n = sum(item["tier"] == "R2" for item in shown["items"])
    assert n >= 1
    tell(client, {"kind": "too_much", "item_id": "v1"})
    found = get(client, "exposure")
    families = {"R2:despair", "R2:body", "R2:aggression", "R2:self_diagnosis", "R2:unlabelled"}
    assert set(found["counters"]) == {"R1", "R2", "R1+R2", "S4", *families}
    for counter in ("R2", "R2:despair", "R1+R2"):
        for window in ("last_20", "session", "rolling_24h", "rolling_7d"):
            assert found["counters"][counter][window]["used"] == n
    assert found["counters"]["R2"]["rolling_24h"]["allowed"] == 2  # level 1, though no page came since
    assert found["loop"]["level"] == 1 and found["loop"]["reasons"][0]["signal"] == "said_too_much"
    assert found["loop"]["expires_at"] == "2026-11-27T12:00:00.000Z"
    assert found["deliveries"] == len(shown["items"])


def test_an_export_holds_everything(client: TestClient) -> None:
    page = ask(client, size=5, request_id="mine")
    tell(client, {"kind": "like", "item_id": "v7"}, {"kind": "hide_creator", "creator_id": "c2"})
    put(client, "controls", muted_words=["word"], guardian_consent=True)
    put(client, "guardian", daily_minutes=30)
    found = get(client, "export")
    assert found["controls"]["muted_words"] == ["word"] and found["guardian"]["daily_minutes"] == 30
    assert [d["item_id"] for d in found["deliveries"]] == ids(page)
    assert [event["kind"] for event in found["events"]] == ["like", "hide_creator"]
    assert [answer["request_id"] for answer in found["answers"]] == ["mine"]
    assert found["profile"]["age_band"] == "18+" and len(found["trained_on"]) == 9
    assert {"item_id", "weight", "at"} == set(found["trained_on"][0])
    assert found["ledger"]["n_delivered"] == 5 and found["loop"]["level"] == 0
    assert len(found["seen"]["item_nos"]) == 5


def test_a_reset_forgets_tastes_and_keeps_ledger_level_and_mutes(client: TestClient, clock: StillClock) -> None:
    before = ask(client, size=10, candidate_ids=[*R2, *(f"v{n}" for n in range(12))])
    tell(client, {"kind": "like", "item_id": "v7"}, {"kind": "hide_creator", "creator_id": "c2"},
         {"kind": "too_much", "item_id": "v9"})  # fmt: skip
    counters = get(client, "exposure")["counters"]
    answer = client.post("/v1/users/u0/reset").json()
    assert answer["reset_at"] == "2026-11-20T12:00:00.000Z" and "ledger" in answer["kept"]
    after = get(client, "exposure")
    assert after["counters"] == counters and after["loop"]["level"] == 1
    assert get(client, "export")["interactions"]["items"] == []
    clock.at += MINUTE
    page = ask(client, size=10, explain="full")
    assert not set(ids(before)) & set(ids(page)) and "c2" not in {item["creator_id"] for item in page["items"]}
    assert not any("cf" in item["sources"] for item in page["items"])  # what was trained is not used either


def test_a_reset_brings_no_card_a_second_time_in_a_session(client: TestClient) -> None:
    put(client, "controls", calm_mode=True)
    assert [card["card_id"] for card in ask(client, size=1)["cards"]] == ["level-1"]
    assert client.post("/v1/users/u0/reset").status_code == 200
    assert ask(client, size=1)["cards"] == []


def test_an_erasure_leaves_counters_under_a_keyed_hash_and_nothing_else(
    open_service: Open, settings: Settings, clock: StillClock
) -> None:
    secret = "a-very-unusual-person-4711"
    with open_service() as client:
        client.put(f"/v1/users/{secret}", json={"age_band": "18+", "age_source": "verified", "languages": ["fr"]})
        put(client, "controls", secret, muted_words=["xyzzy-word"])
        ask(client, secret, size=10, candidate_ids=[*R2, *(f"v{n}" for n in range(12))], request_id="rq-plugh")
        tell(client, {"kind": "like", "item_id": "v7"}, user_id=secret)
        used = get(client, "exposure", secret)["counters"]["R2"]["rolling_7d"]["used"]
        assert used >= 1
        receipt = client.delete(f"/v1/users/{secret}").json()
        assert receipt["rows"] == {"users": 1, "deliveries": 10, "decisions": 1, "events": 1}
        assert receipt["kept"]["until"] == "2026-11-28T12:00:00.000Z" and receipt["training"]
        for path in ("/v1/requests/rq-plugh", "/v1/why?request_id=rq-plugh&item_id=v1"):
            assert client.get(path).status_code == 404
        held = get(client, "export", secret)
        assert held["events"] == held["deliveries"] == held["answers"] == []
        assert held["profile"]["age_band"] is None and held["controls"]["muted_words"] == []
        assert get(client, "exposure", secret)["counters"]["R2"]["rolling_7d"]["used"] == used  # no way around a cap
        assert get(client, "exposure", secret)["age_band"] == "13-15"
    for path in settings.state_file.parent.glob(f"{settings.state_file.name}*"):
        held_bytes = Path(path).read_bytes()
        assert not any(word in held_bytes for word in (secret.encode(), b"xyzzy", b"plugh"))


def test_an_erased_person_who_comes_back_is_not_remembered(client: TestClient, clock: StillClock) -> None:
    assert len(get(client, "export")["trained_on"]) == 9
    client.delete("/v1/users/u0")
    clock.at += MINUTE
    page = ask(client, size=10, context={"languages": ["fr"]})
    assert page["safety"]["age_band"] == "13-15"  # the profile from training is not used any more
    assert page["items"] and not any("cf" in item["sources"] for item in page["items"])
    assert get(client, "export")["trained_on"] == []


def test_an_id_with_a_slash_is_one_person_and_no_door_to_another(client: TestClient) -> None:
    """`u0/export` may be somebody's id; what is asked about them must never be answered about u0."""
    for user_id in ("u0/export", "u0/controls", "u0/", "/", "a%2Fb", "u0/reset"):
        path = f"/v1/users/{quote(user_id, safe='')}"
        assert client.get(path).json()["user_id"] == user_id
        assert client.put(f"{path}/controls", json={"muted_topics": ["S3"]}).json()["user_id"] == user_id
        assert client.post(f"{path}/reset").json()["user_id"] == user_id
        assert client.get(f"{path}/export").json()["controls"]["muted_topics"] == ["S3"]
        assert client.delete(path).json()["rows"]["users"] == 1
    assert client.get("/v1/users/u0/controls").json()["muted_topics"] == []
    assert client.get("/v1/items/none%2fof%2Fthem").json()["instance"] == "/v1/items/none%2Fof%2Fthem"


def test_erasing_twice_or_somebody_unknown_is_fine(client: TestClient) -> None:
    for _ in range(2):
        receipt = client.delete("/v1/users/nobody-at-all").json()
        assert set(receipt["rows"].values()) == {0}


@pytest.mark.parametrize("what", ["controls", "guardian", "exposure", "export"])
def test_somebody_unknown_has_defaults_and_no_error(client: TestClient, what: str) -> None:
    assert get(client, what, "nobody-knows")["user_id"] == "nobody-knows"


def test_erasures_wait_for_each_other_and_all_are_answered(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise clients that erase in a loop hold every thread, and feeds wait."""
    running, most = 0, 0
    erase = rights.erase

    def watched(engine: Engine, user_id: str, at: Millis, who: str) -> JsonObject:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        receipt = erase(engine, user_id, at, who)
        running -= 1
        return receipt

    monkeypatch.setattr(rights, "erase", watched)
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(client.delete, [f"/v1/users/u{n}" for n in range(8)]))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert most == 1
