"""Laws of the service on its happy paths: the real engine over a real state file, called as HTTP calls it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from fastapi.testclient import TestClient

from recsys.clock import DAY, HOUR
from recsys.types import Fields
from serving.app import create_app
from serving.run import open_engine
from serving.settings import Settings

Open = Callable[..., AbstractContextManager[TestClient]]
AT = "2026-11-20T11:00:00Z"


def ids(page: Fields) -> list[str]:
    return [item["item_id"] for item in page["items"]]


def ask(client: TestClient, **body: object) -> Fields:
    answer = client.post("/v1/feed", json={"user_id": "u0", **body})
    assert answer.status_code == 200, answer.text
    page: Fields = answer.json()
    return page


def test_a_page_holds_as_many_items_as_asked_in_order(client: TestClient) -> None:
    page = ask(client, size=7)
    assert [item["position"] for item in page["items"]] == [1, 2, 3, 4, 5, 6, 7]
    assert len(set(ids(page))) == 7
    assert page["user_id"] == "u0"
    assert page["served_at"] == "2026-11-20T12:00:00.000Z"
    assert page["safety"]["age_band"] == "18+"
    assert not page["replayed"]
    assert not page["degraded"]


def test_two_pages_share_no_item(client: TestClient) -> None:
    first = ask(client, size=10)
    second = ask(client, size=10, cursor=first["cursor"])
    assert len(ids(second)) == 10
    assert not set(ids(first)) & set(ids(second))


def test_the_short_form_is_the_long_form(settings: Settings, local: Callable[..., TestClient], clock: Any) -> None:
    pages = []
    for name in ("short", "long"):
        chosen = replace(settings, state=settings.state_file.with_name(name))
        with open_engine(chosen, clock=clock) as engine:
            same = replace(engine, new_id=lambda: "same-id")
            with local(create_app(same, settings=chosen, clock=clock)) as client:
                short = name == "short"
                answer = client.get("/v1/feed/u0?size=9") if short else client.post(
                    "/v1/feed", json={"user_id": "u0", "size": 9}
                )  # fmt: skip
                pages.append(answer.json())
    assert ids(pages[0]) == ids(pages[1])
    assert len(ids(pages[0])) == 9


def test_the_same_request_gives_the_same_page_and_reserves_nothing_again(client: TestClient) -> None:
    first = ask(client, request_id="r1", size=10)
    again = ask(client, request_id="r1", size=10)
    assert again["replayed"]
    assert ids(again) == ids(first)
    assert again["safety"] == first["safety"]


def test_the_same_request_id_for_another_request_is_a_conflict(client: TestClient) -> None:
    ask(client, request_id="r1", size=10)
    answer = client.post("/v1/feed", json={"user_id": "u0", "request_id": "r1", "size": 11})
    assert answer.status_code == 409
    assert "request_id" in answer.json()["detail"]


def test_an_old_cursor_is_gone(client: TestClient, clock: Any) -> None:
    cursor = ask(client)["cursor"]
    clock.at += DAY + HOUR
    answer = client.post("/v1/feed", json={"user_id": "u0", "cursor": cursor})
    assert answer.status_code == 410


def test_a_forged_cursor_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/feed", json={"user_id": "u0", "cursor": ask(client, user_id="u1")["cursor"]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "cursor"]


def test_a_dry_run_leaves_nothing_behind(client: TestClient) -> None:
    dry = ask(client, size=10, dry_run=True, request_id="r1")
    wet = ask(client, size=10, request_id="r1")
    assert dry["dry_run"]
    assert not wet["replayed"]
    assert ids(dry) == ids(wet)


def test_people_nobody_knows_and_people_without_history_get_pages(client: TestClient) -> None:
    for user_id in ("stranger", "quiet"):
        assert len(ids(ask(client, user_id=user_id, size=10))) == 10


def test_somebody_whose_age_nobody_said_is_served_as_13_to_15(client: TestClient) -> None:
    page = ask(client, user_id="stranger", size=20)
    assert page["safety"]["age_band"] == "13-15"


def test_a_page_holds_only_the_candidates_that_were_named(client: TestClient) -> None:
    page = ask(client, candidate_ids=["v1", "v2", "no such item"], size=5)
    assert set(ids(page)) <= {"v1", "v2"}
    assert page["shortfall"]["missing"] == 5 - len(ids(page))


def test_a_takedown_binds_the_next_page_and_the_repeated_one(client: TestClient) -> None:
    first = ask(client, request_id="r1", size=10)
    gone = ids(first)[0]
    assert client.delete(f"/v1/items/{gone}").json()["is_hidden"] is True
    assert ids(ask(client, request_id="r1", size=10)) == ids(first)[1:]
    assert gone not in ids(ask(client, user_id="u1", size=50))
    assert client.get(f"/v1/items/{gone}").json()["is_hidden"] is True


def test_with_everything_taken_down_a_page_is_empty_and_says_so(client: TestClient) -> None:
    for number in range(120):
        assert client.patch(f"/v1/items/v{number}", json={"is_hidden": True}).status_code == 200
    page = ask(client, size=20)
    assert page["items"] == []
    assert page["shortfall"]["missing"] == 20


def test_a_new_item_can_be_on_the_next_page(client: TestClient) -> None:
    item = {"creator_id": "c0", "published_at": AT, "title": "جديد", "language": "fr", "risk_tier": "R0",
            "risk_source": "human"}  # fmt: skip
    stored = client.put("/v1/items/new", json=item)
    assert stored.status_code == 200
    assert stored.json()["title"] == "جديد"
    assert ids(ask(client, candidate_ids=["new"], size=1)) == ["new"]


def test_an_item_can_be_read_and_written_back(client: TestClient) -> None:
    fields = client.get("/v1/items/v3").json()
    fields.pop("request_id")
    again = client.put("/v1/items/v3", json=fields)
    assert again.status_code == 200, again.text
    assert {**again.json(), "request_id": ""} == {**fields, "request_id": ""}


def test_a_patch_changes_what_it_names(client: TestClient) -> None:
    before = client.get("/v1/items/v3").json()
    after = client.patch("/v1/items/v3", json={"risk_tier": "R1"}).json()
    assert {name for name in after if after[name] != before[name]} == {"risk_tier", "request_id"}


def test_an_event_counts_once_and_acts_on_the_next_page(client: TestClient) -> None:
    creators = {item["creator_id"] for item in ask(client, size=10)["items"]}
    hidden = sorted(creators)[0]
    event = {"event_id": "e1", "user_id": "u0", "kind": "hide_creator", "creator_id": hidden, "at": AT}
    told = client.post("/v1/events", json={"events": [event, event]}).json()
    assert (told["accepted"], told["duplicates"], told["rejected"]) == (1, 1, [])
    again = client.post("/v1/events", json={"events": [event]}).json()
    assert (again["accepted"], again["duplicates"]) == (0, 1)
    assert hidden not in {item["creator_id"] for item in ask(client, size=50)["items"]}


def test_a_wrong_event_does_not_hold_up_the_others(client: TestClient) -> None:
    good = {"event_id": "e1", "user_id": "u0", "kind": "like", "item_id": "v1", "at": AT}
    wrong = [
        {**good, "event_id": "e2", "kind": "lik"},
        {**good, "event_id": "e3", "item_id": "nowhere"},
        {**good, "event_id": "e4", "at": "2026-10-20T11:00:00Z"},
        {**good, "event_id": "e5", "creator_id": "c1"},
        {**good, "event_id": "", "watch_s": 3},
        {**good, "event_id": "e6", "watch_s": -1},
        {**good, "event_id": "e7", "watch_fraction": "all"},
        {**good, "event_id": "e\u200f8"},
        {},
    ]
    told = client.post("/v1/events", json={"events": [*wrong, good]}).json()
    assert told["accepted"] == 1
    assert [refusal["index"] for refusal in told["rejected"]] == list(range(len(wrong)))
    assert all("expected" in refusal["reason"] for refusal in told["rejected"])


def test_an_empty_batch_is_fine(client: TestClient) -> None:
    assert client.post("/v1/events", json={"events": []}).json()["accepted"] == 0


def test_a_profile_is_replaced_and_read_back(client: TestClient) -> None:
    profile = {"country": "MA", "region": "MA-09", "languages": ["ary", "fr"], "age_band": "16-17",
               "age_source": "verified", "guardian_id": "g1", "consent": False}  # fmt: skip
    assert client.put("/v1/users/new", json=profile).status_code == 200
    stored = client.get("/v1/users/new").json()
    assert {name: stored[name] for name in profile} == profile
    assert ask(client, user_id="new")["safety"]["age_band"] == "16-17"


def test_a_restart_keeps_profiles_pages_events_takedowns_and_tokens(open_service: Open) -> None:
    with open_service() as client:
        client.put("/v1/users/u0", json={"country": "MA", "languages": ["fr"], "age_band": "18+",
                                         "age_source": "verified", "region": "MA-04"})  # fmt: skip
        first = ask(client, request_id="r1", size=10)
        hidden = first["items"][0]["creator_id"]
        event = {"event_id": "e1", "user_id": "u0", "kind": "hide_creator", "creator_id": hidden, "at": AT}
        client.post("/v1/events", json={"events": [event]})
        client.delete("/v1/items/v5")
    with open_service() as client:
        assert client.get("/v1/users/u0").json()["region"] == "MA-04"
        assert client.get("/v1/items/v5").json()["is_hidden"] is True
        again = ask(client, request_id="r1", size=10)
        assert again["replayed"]
        kept = [item for item in first["items"] if item["creator_id"] != hidden]  # a mute binds a page sent before
        assert ids(again) == [item["item_id"] for item in kept if item["item_id"] != "v5"]
        assert client.post("/v1/events", json={"events": [event]}).json()["duplicates"] == 1
        second = ask(client, cursor=first["cursor"], size=10)
        assert not set(ids(first)) & set(ids(second))
        assert hidden not in {item["creator_id"] for item in second["items"]}


def test_every_answer_carries_its_request_id(client: TestClient) -> None:
    for method, path in (("GET", "/v1/version"), ("GET", "/v1/users/u0"), ("GET", "/nowhere"), ("PUT", "/v1/feed")):
        answer = client.request(method, path, headers={"X-Request-ID": "call-7"})
        assert answer.headers["x-request-id"] == "call-7"
        assert answer.json()["request_id"] == "call-7"
    assert len(client.get("/v1/version", headers={"X-Request-ID": "two words"}).json()["request_id"]) == 16
    assert ask(client, request_id="mine")["request_id"] == "mine"


def test_health_says_what_is_served(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    ready = client.get("/health/ready")
    version = client.get("/v1/version").json()
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert ready.json()["store"] == "reachable"
    assert version["model_version"] == ask(client)["model_version"]
    assert version["policy_version"] in ready.json()["policy"]


def test_without_its_state_file_the_service_serves_the_safe_feed_and_refuses_events(
    settings: Settings, clock: Any, local: Callable[..., TestClient]
) -> None:
    with open_engine(settings, clock=clock) as engine:
        pass  # the file is closed now: every call of the store raises StoreError
    with local(create_app(engine, settings=settings, clock=clock)) as client:
        page = ask(client, size=5)
        assert page["degraded"] == ["ledger"]
        assert {item["tier"] for item in page["items"]} == {"R0"}
        event = {"event_id": "e1", "user_id": "u0", "kind": "like", "item_id": "v1", "at": AT}
        for method, path, body in (
            ("POST", "/v1/events", {"events": [event]}),
            ("PUT", "/v1/users/u0", {}),
            ("DELETE", "/v1/items/v1", None),
        ):
            answer = client.request(method, path, json=body)
            assert answer.status_code == 503, path
            assert int(answer.headers["retry-after"]) >= 1
            assert str(settings.state_file) not in answer.text
        assert "safe feed armed" in client.get("/health/ready").json()["store"]


def test_the_state_and_its_keys_are_their_owners_alone(settings: Settings, open_service: Open) -> None:
    with open_service() as client:
        ask(client)
        files = list(settings.state_file.parent.glob("state.db*"))
        assert {path.suffix for path in files} >= {".db", ".key"}
        assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_the_root_leads_to_the_description_and_to_a_feed(shared_client: TestClient) -> None:
    index = shared_client.get("/").json()
    for name in ("description", "ready"):
        assert shared_client.get(index[name]).status_code == 200
    assert shared_client.get(index["feed"].format(user_id="u0")).json()["items"]
