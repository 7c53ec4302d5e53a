"""Many rows at once: each line is written or named, and what is repeated changes nothing; lists page through them."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence

import pytest
from fastapi.testclient import TestClient

from recsys.clock import DAY, Millis, to_text
from recsys.errors import StoreError
from recsys.services.bulk import MAX_LINES
from recsys.stores.protocols import AppendResult
from recsys.types import Event, Fields
from serving.stores.sqlite.events import SqliteEvents
from tests.serving.conftest import N_CREATORS, N_ITEMS, NOON

LINES = {"Content-Type": "application/x-ndjson"}


def send(client: TestClient, table: str, rows: Sequence[Fields | str], query: str = "") -> Fields:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    answer = client.post(f"/v1/bulk/{table}{query}", content=text.encode(), headers=LINES)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_items_are_written_or_named_by_their_line(client: TestClient) -> None:
    item = {"creator_id": "c1", "title": "new", "language": "fr"}
    told = send(client, "items", [
        {"item_id": "n1", **item}, "", "{", {"item_id": "n2", **item, "risk_tier": "R9"}, {**item}, "[1]",
        {"item_id": "n3", **item, "size": 1}, {"item_id": "n4", **item}, {"item_id": "n1", **item, "title": "newer"},
    ])  # fmt: skip
    assert (told["accepted"], told["duplicates"]) == (3, 0)
    assert [problem["line"] for problem in told["rejected"]] == [3, 4, 5, 6, 7]
    reasons = [problem["reason"] for problem in told["rejected"]]
    assert "risk_tier: found 'R9'" in reasons[1]
    assert "item_id" in reasons[2]
    assert "size: found an unknown field" in reasons[4]
    assert client.get("/v1/items/n1").json()["title"] == "newer"
    assert client.get("/v1/items/n2").status_code == 404


def test_more_lines_than_an_answer_can_name_are_refused_whole(client: TestClient) -> None:
    """Ten megabytes of `1` were five million lines, and half a gigabyte of answer."""
    row = b'{"item_id":"n1","creator_id":"c1","title":"new"}\n'
    answer = client.post("/v1/bulk/items", content=row + b"1\n" * MAX_LINES, headers=LINES)
    assert (answer.status_code, len(answer.content) < 1_000) == (422, True)
    assert "lines: found 200,001, expected at most 200,000" in answer.json()["detail"]
    assert client.get("/v1/items/n1").status_code == 404
    event = b'{"event_id":"1","user_id":"2","kind":"like","item_id":"3"}\n'
    assert 10 * 2**20 // len(event) < MAX_LINES, "the limit of bytes comes first where rows are rows"


@pytest.mark.parametrize("value", ["1" * 5_000, "0" * 5_000 + "1", 10**30, -(10**30), 1e300])
def test_a_number_that_nothing_can_hold_is_refused_alone(client: TestClient, value: object) -> None:
    item = {"creator_id": "c1", "title": "new"}
    told = send(client, "items", [{"item_id": "n1", **item}, {"item_id": "n2", **item, "duration_s": value}])
    assert (told["accepted"], [problem["line"] for problem in told["rejected"]]) == (1, [2])
    told = send(client, "creators", [{"creator_id": "n", "country": "MA", "followers": value}])
    assert [problem["line"] for problem in told["rejected"]] == [1]
    event = {"event_id": "e", "user_id": "u0", "kind": "view", "item_id": "v1", "watch_s": value}
    answer = client.post("/v1/events", json={"events": [event, {**event, "event_id": "f", "watch_s": 3}]})
    assert (answer.json()["accepted"], len(answer.json()["rejected"])) == (1, 1)


def test_no_bulk_row_brings_back_what_was_taken_down(client: TestClient) -> None:
    row = {"item_id": "v1", "creator_id": "c1", "title": "again"}
    client.delete("/v1/items/v1")
    assert send(client, "items", [row])["accepted"] == 1
    assert client.get("/v1/items/v1").json()["is_hidden"] is True
    send(client, "items", [{**row, "is_hidden": False}, {**row, "is_hidden": True}, row])
    assert client.get("/v1/items/v1").json()["is_hidden"] is True


def test_creators_and_users_are_written_as_by_single_calls(client: TestClient) -> None:
    told = send(client, "creators", [
        {"creator_id": f"n{n}", "country": "MA" if n != 7 else "Morocco"} for n in range(20)
    ])  # fmt: skip
    assert (told["accepted"], [problem["line"] for problem in told["rejected"]]) == (19, [8])
    profile = {"country": "MA", "languages": ["fr"], "age_band": "18+", "age_source": "verified"}
    bad = [{"user_id": ""}, {"user_id": "x", "country": "nowhere"}, {"user_id": "x", "guardian_id": "a\u202eb"}]
    told = send(client, "users", [{"user_id": f"n{n}", **profile} for n in range(30)] + bad)
    assert (told["accepted"], [problem["line"] for problem in told["rejected"]]) == (30, [31, 32, 33])
    assert client.get("/v1/users/n29").json()["languages"] == ["fr"]
    assert client.get("/v1/creators/n19").json()["country"] == "MA"


def test_of_rows_with_one_id_the_last_one_holds(client: TestClient) -> None:
    rows = [{"creator_id": f"n{n % 5}", "country": "MA", "followers": n} for n in range(200)]
    assert send(client, "creators", rows)["accepted"] == 200
    assert [client.get(f"/v1/creators/n{n}").json()["followers"] for n in range(5)] == [195, 196, 197, 198, 199]


def test_events_count_once_and_at_most_7_days_back(client: TestClient) -> None:
    rows = [{"event_id": f"e{n}", "user_id": "u0", "kind": "like", "item_id": f"v{n}"} for n in range(5)]
    old = {"event_id": "old", "user_id": "u0", "kind": "like", "item_id": "v9", "at": to_text(NOON - 8 * DAY)}
    told = send(client, "events", [*rows, old, rows[0]])
    assert (told["accepted"], told["duplicates"]) == (5, 1)
    assert "7 days" in told["rejected"][0]["reason"]


def test_rows_before_a_failure_stay_and_nobody_says_otherwise(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand events are one commit: the second thousand finds no disk."""
    rows = [{"event_id": f"e{n}", "user_id": "u0", "kind": "like", "item_id": f"v{n % 9}"} for n in range(1_500)]
    append, n_calls = SqliteEvents.append, itertools.count(1)

    def fails(events: SqliteEvents, new: Sequence[Event], at: Millis) -> AppendResult:
        if next(n_calls) == 2:
            raise StoreError("the disk is full")
        return append(events, new, at)

    monkeypatch.setattr(SqliteEvents, "append", fails)
    body = "\n".join(map(json.dumps, rows)).encode()
    answer = client.post("/v1/bulk/events", content=body, headers=LINES)
    assert answer.status_code == 503 and "some rows of this request may be stored" in answer.json()["detail"]
    told = send(client, "events", rows)
    assert (told["accepted"], told["duplicates"]) == (500, 1_000)


def test_history_counts_as_seen_and_is_no_activity(client: TestClient) -> None:
    """Of twenty days before: nothing of it comes again, and no counter, loop signal or taste knows it."""
    assert client.get("/v1/feed/u0?size=5").status_code == 200
    before = client.get("/v1/users/u0/export").json()
    seen = [f"v{n}" for n in range(N_ITEMS) if n % 2]
    told = send(client, "events", [
        {"event_id": f"h{n}", "user_id": "u0", "kind": kind, "item_id": item_id, "at": to_text(NOON - 20 * DAY)}
        for n, (item_id, kind) in enumerate((item_id, kind) for item_id in seen for kind in ("complete", "too_much"))
    ], "?history=true")  # fmt: skip
    assert told["accepted"] == 2 * len(seen)
    page = client.get("/v1/feed/u0?size=20").json()
    assert page["items"]
    assert not {item["item_id"] for item in page["items"]} & set(seen)
    after = client.get("/v1/users/u0/export").json()
    for export in (before, after):
        export["loop"].pop("daily")  # what was delivered, by the pages themselves
    assert after["loop"] == before["loop"]
    assert [after["interactions"][name] for name in ("items", "weights") if name in after["interactions"]] == [
        before["interactions"][name] for name in ("items", "weights") if name in before["interactions"]
    ]
    recent = {"event_id": "r", "user_id": "u0", "kind": "too_much", "item_id": "v1"}
    for at in (to_text(NOON - 6 * DAY), None):  # it must tighten, and its id must stay free
        refused = send(client, "events", [{**recent, "at": at}], "?history=true")["rejected"]
        assert "/v1/events" in refused[0]["reason"] or "expected an instant" in refused[0]["reason"]
    assert send(client, "events", [recent])["accepted"] == 1
    ancient = {"event_id": "a", "user_id": "u0", "kind": "like", "item_id": "v1", "at": "1989-01-01T00:00:00Z"}
    assert "1990" in send(client, "events", [ancient], "?history=true")["rejected"][0]["reason"]


def test_what_is_no_bulk_body_is_refused(client: TestClient) -> None:
    assert client.post("/v1/bulk/items", json={"item_id": "n1"}).status_code == 415
    assert client.post("/v1/bulk/videos", content=b"{}", headers=LINES).status_code == 422
    assert client.post("/v1/bulk/items?historic=true", content=b"{}", headers=LINES).status_code == 422
    assert client.post("/v1/bulk/items?history=true", content=b"{}", headers=LINES).status_code == 422
    assert send(client, "items", [])["accepted"] == 0
    deep = "[" * 100_000
    assert [problem["line"] for problem in send(client, "items", [deep, '{"a":' + deep])["rejected"]] == [1, 2]


@pytest.mark.parametrize(("table", "key", "n"), [("items", "item_id", N_ITEMS), ("creators", "creator_id", N_CREATORS)])
def test_a_list_pages_through_everything_once(client: TestClient, table: str, key: str, n: int) -> None:
    if table == "items":
        client.delete("/v1/items/v3")
    ids, after = [], None
    while True:
        page = client.get(f"/v1/{table}?size=50" + (f"&after={after}" if after is not None else "")).json()
        ids += [row[key] for row in page[table]]
        after = page["next"]
        if after is None:
            break
    assert len(ids) == len(set(ids)) == n


def test_the_latest_are_the_newest_first_and_calm(client: TestClient) -> None:
    """v0 is the newest; every 10th is R2. The first 30 have each of the 15 creators twice, and nobody comes thrice."""
    items = [item["item_id"] for item in client.get("/v1/latest?size=30").json()["items"]]
    assert items[:27] == [f"v{n}" for n in range(30) if n % 10 != 9]
    assert max(Counter(int(item[1:]) % N_CREATORS for item in items).values()) == 2
    assert client.get("/v1/latest?language=en").json()["items"] == []
