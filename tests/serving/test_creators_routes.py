"""Creators over HTTP: what is written binds the next page, and what is counted of them names nobody."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from recsys.clock import DAY
from recsys.services.creators import days_to, put_creator
from recsys.stores.memory import MemoryCatalogue, MemoryStore
from recsys.stores.protocols import CreatorChange, CreatorRow, ExposureCount
from recsys.types import Fields


def ask(client: TestClient, user_id: str = "u0", **body: object) -> list[Fields]:
    answer = client.post("/v1/feed", json={"user_id": user_id, **body})
    assert answer.status_code == 200, answer.text
    items: list[Fields] = answer.json()["items"]
    return items


def test_a_creator_comes_back_as_it_was_put(client: TestClient) -> None:
    fields = {
        "country": "MA", "region": "MA-09", "languages": ["zgh", "ary"], "kind": "organisation", "verified": True,
        "followers": 12, "joined_at": "2026-01-01T00:00:00.000Z", "place_source": "partner", "audience": "MA",
    }  # fmt: skip
    stored = client.put("/v1/creators/new", json=fields)
    assert stored.status_code == 200, stored.text
    found = client.get("/v1/creators/new").json()
    assert {name: found[name] for name in fields} == fields
    assert (found["creator_id"], found["is_hidden"]) == ("new", None)
    patched = client.patch("/v1/creators/new", json={"followers": 13}).json()
    assert (patched["followers"], patched["region"]) == (13, "MA-09")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("get", "/v1/creators/nobody", None, 404),
        ("patch", "/v1/creators/nobody", {"followers": 1}, 404),
        ("delete", "/v1/creators/nobody", None, 404),
        ("get", "/v1/creators/nobody/exposure", None, 404),
        ("put", "/v1/creators/c1", {}, 422),
        ("put", "/v1/creators/c1", {"country": "Morocco"}, 422),
        ("put", "/v1/creators/c1", {"country": "MA", "followers": -1}, 422),
        ("put", "/v1/creators/c1", {"country": "MA", "followers": 2**70}, 422),
        ("put", "/v1/creators/c1", {"country": "MA", "followers": 10**12}, 422),  # more than there are people
        ("put", "/v1/creators/c1", {"country": "MA", "place_source": "hearsay"}, 422),
        ("put", "/v1/creators/c1", {"country": "MA", "creator_id": "c2"}, 422),
        ("patch", "/v1/creators/c1", {"colour": "red"}, 422),
        ("get", "/v1/local?kind=singer", None, 422),
        ("get", "/v1/local?country=FR&region=MA-06", None, 422),
        ("get", "/v1/trending?size=51", None, 422),
        ("get", "/v1/trending?contry=MA", None, 422),
        ("get", "/v1/similar/nothing", None, 404),
        ("get", "/v1/families/u0/together", None, 422),
        ("get", "/v1/families/u0/together?child_id=u1", None, 404),
    ],
)
def test_what_breaks_the_contract_is_refused_with_a_sentence(
    shared_client: TestClient, method: str, path: str, body: Any, status: int
) -> None:
    answer = shared_client.request(method, path, **({} if body is None else {"json": body}))
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_where_a_creator_lives_acts_on_the_next_page(client: TestClient) -> None:
    """v1 is by c1 of France. Once a partner says otherwise, it is local; word against the partner's changes nothing."""
    page = ask(client, candidate_ids=["v1"], dry_run=True)
    assert (page[0]["locality"]["match"], page[0]["locality"]["source"]) == ("language", "platform")
    client.put("/v1/creators/c1", json={"country": "MA", "place_source": "partner"})
    near = ask(client, candidate_ids=["v1"], dry_run=True)[0]["locality"]
    assert near == {"score": 0.7, "match": "country", "source": "partner", "confidence": 1.0}
    client.patch("/v1/items/v1", json={"country": "FR"})
    assert ask(client, candidate_ids=["v1"], dry_run=True)[0]["locality"]["match"] == "country"


def test_who_is_taken_down_is_on_no_page_and_comes_back_as_they_were(client: TestClient) -> None:
    client.patch("/v1/items/v16", json={"is_hidden": True})  # one of c1's own that is down already
    assert ask(client, candidate_ids=["v1", "v31"], dry_run=True)
    assert client.delete("/v1/creators/c1").json()["is_hidden"] is True
    assert ask(client, candidate_ids=["v1", "v31"], dry_run=True) == []
    assert client.put("/v1/creators/c1", json={"country": "FR"}).json()["is_hidden"] is True  # as with items
    client.patch("/v1/creators/c1", json={"is_hidden": False})
    shown = ask(client, candidate_ids=["v1", "v16", "v31"], dry_run=True)
    assert sorted(item["item_id"] for item in shown) == ["v1", "v31"]


@pytest.mark.parametrize("method", ["put", "patch"])
def test_saying_nothing_of_a_takedown_ends_none(client: TestClient, method: str) -> None:
    """Null is no answer to whether they are hidden; only false puts them back."""
    client.delete("/v1/creators/c1")
    answer = client.request(method, "/v1/creators/c1", json={"country": "FR", "is_hidden": None})
    assert answer.json()["is_hidden"] is True
    assert ask(client, candidate_ids=["v1", "v31"], dry_run=True) == []


def test_a_takedown_during_another_write_of_the_creator_holds() -> None:
    class Racing(MemoryCatalogue):
        """Takes the creator down between another writer's reading and writing, once."""

        def creator(self, creator_id: str) -> CreatorRow | None:
            row = super().creator(creator_id)
            if row and not row.fields.get("is_hidden"):
                super().put_creators([CreatorChange(fields={**row.fields, "is_hidden": True})], 0)
            return row

    store = MemoryStore()
    put_creator(store.catalogue, "c", {"country": "MA"}, 0)
    racing = Racing(store.catalogue._tables)
    assert put_creator(racing, "c", {"country": "MA", "followers": 3}, 0)["is_hidden"] is True


def test_every_delivery_is_counted_once_for_its_creator(client: TestClient, clock: Any) -> None:
    page = ask(client, size=20, request_id="r")
    ask(client, size=20, request_id="r")  # a repeat is no delivery
    ask(client, size=5, dry_run=True)  # nor is this
    clock.at += DAY
    later = ask(client, "u1", size=20, context={"region": "MA-06"})
    creators = {item["creator_id"] for item in (*page, *later)}
    total = 0
    for creator_id in creators:
        report = client.get(f"/v1/creators/{creator_id}/exposure").json()
        mine = [item for item in (*page, *later) if item["creator_id"] == creator_id]
        assert report["impressions"]["all"] == len(mine) == sum(report["slots"].values())
        assert report["impressions"]["by_market"] == {"MA": len(mine)}
        assert sum(report["impressions"]["by_region"].values()) == len(mine)
        assert report["slots"]["exploration"] == sum(item["is_exploration"] for item in mine)
        assert report["is_new"] and report["new_until_impressions"] == 1_000
        assert report["days_to_new_until"] is None
        total += report["impressions"]["all"]
    assert total == len(page) + len(later)


def test_a_region_with_few_impressions_is_not_named(client: TestClient) -> None:
    page = ask(client, size=20, context={"region": "MA-06"})
    for creator_id in {item["creator_id"] for item in page}:
        found = client.get(f"/v1/creators/{creator_id}/exposure").json()["impressions"]["by_region"]
        assert set(found) == {"few"}


def test_another_country_with_few_impressions_is_not_named(client: TestClient) -> None:
    """Who watches from Iceland may be the only one there."""
    page = ask(client, "abroad", size=20, context={"country": "IS", "languages": ["fr"]})
    for creator_id in {item["creator_id"] for item in page}:
        found = client.get(f"/v1/creators/{creator_id}/exposure").json()["impressions"]
        assert found["by_market"] == {"few": found["all"]}


def test_every_label_of_a_creators_items_has_its_reason(client: TestClient) -> None:
    client.put("/v1/items/raw", json={"creator_id": "c4", "published_at": "2026-11-20T10:00:00Z", "title": "raw"})
    labels = {label["item_id"]: label for label in client.get("/v1/creators/c4/exposure").json()["labels"]}
    assert labels["raw"]["tier"] == "R2" and "nobody labelled it" in labels["raw"]["reason"]
    assert labels["v4"] == {
        "item_id": "v4", "tier": "R0", "family": None, "source": "partner", "evidence": "label", "reason": "labelled",
        "is_reviewed": True, "is_hidden": False, "expires_at": None, "until": "another label", "review": None,
    }  # fmt: skip


def test_the_days_to_a_number_of_impressions_are_counted_from_the_first() -> None:
    def on(day: int, n: int) -> ExposureCount:
        return ExposureCount(creator_id="c", day=day, country="MA", region="", attribution="merit", is_local=True, n=n)

    assert days_to((on(10, 400), on(12, 599), on(15, 1)), 1_000) == 5
    assert days_to((on(10, 1_000),), 1_000) == 0
    assert days_to((on(10, 999),), 1_000) is None
    assert days_to((on(0, 5_000), on(90, 1)), 1_000) is None  # days that are no longer told apart
    assert days_to((), 1_000) is None


def test_lists_hold_labelled_r0_items_only(client: TestClient) -> None:
    client.patch("/v1/items/v3", json={"min_age": 16})
    client.patch("/v1/items/v6", json={"risk_confidence": 0.5})  # R1 for minors
    for path in ("/v1/trending?size=50", "/v1/similar/v0?size=50"):
        found = client.get(path).json()["items"]
        numbers = [int(item["item_id"][1:]) for item in found]
        assert found and all(n % 10 != 9 and n not in (3, 6) for n in numbers), path
        assert len(numbers) == len(set(numbers))
        assert all(sum(item["creator_id"] == other["creator_id"] for other in found) <= 2 for item in found)


def test_nothing_is_like_an_item_of_risk(client: TestClient) -> None:
    """R2 is no door to more of it, nor to anything."""
    assert client.get("/v1/similar/v9").json()["items"] == []
    assert "v0" not in [item["item_id"] for item in client.get("/v1/similar/v0").json()["items"]]


def test_trending_is_narrowed_by_place_and_language(client: TestClient) -> None:
    client.patch("/v1/creators/c2", json={"region": "MA-06"})
    here = client.get("/v1/trending?region=MA-06").json()["items"]
    assert here and {item["creator_id"] for item in here} == {"c2"}
    assert client.get("/v1/trending?language=zgh").json()["items"] == []
    assert client.get("/v1/trending?region=MA-99").json()["items"] == []
    assert client.get("/v1/trending?country=XX").json()["items"]  # nobody known there: the world's


def test_creators_near_a_place_come_by_how_near_and_how_sure_it_is(client: TestClient) -> None:
    client.patch("/v1/creators/c2", json={"region": "MA-06", "verified": True, "kind": "professional"})
    client.patch("/v1/creators/c4", json={"region": "MA-07", "verified": True, "languages": ["zgh"]})
    client.patch("/v1/creators/c6", json={"region": "MA-06"})
    client.delete("/v1/creators/c8")
    found = client.get("/v1/local?region=MA-06").json()["creators"]
    assert [creator["creator_id"] for creator in found[:3]] == ["c2", "c4", "c6"]
    assert [creator["locality"]["score"] for creator in found[:4]] == [1.0, 0.8, 0.6, 0.42]
    assert all(creator["country"] == "MA" and creator["n_items"] > 0 for creator in found)
    assert "c8" not in [creator["creator_id"] for creator in found]
    only = client.get("/v1/local?region=MA-06&kind=professional").json()["creators"]
    assert [creator["creator_id"] for creator in only] == ["c2"]
    assert [c["creator_id"] for c in client.get("/v1/local?language=zgh").json()["creators"]] == ["c4"]
    assert client.get("/v1/local?country=EG").json()["creators"] == []


def test_a_guardian_and_a_child_get_one_page_that_counts_for_both(client: TestClient) -> None:
    profile = {"age_band": "18+", "age_source": "verified", "country": "MA", "languages": ["fr"]}
    client.put("/v1/users/parent", json=profile)
    client.put("/v1/users/teen", json={**profile, "age_band": "13-15", "guardian_id": "parent"})
    page = client.get("/v1/families/parent/together?child_id=teen&size=3&request_id=evening").json()
    assert len(page["items"]) == 3 and page["degraded"] == []
    assert all(item["tier"] == "R0" and item["topics"] == ["S3"] for item in page["items"])
    again = client.get("/v1/families/parent/together?child_id=teen&size=3&request_id=evening").json()
    assert again["items"] == page["items"]
    shown = {item["item_id"] for item in page["items"]}
    for user_id in ("parent", "teen"):
        fresh = {item["item_id"] for item in ask(client, user_id, size=20)}
        assert not fresh & shown  # delivered to both, so neither gets it again
    assert client.get("/v1/families/teen/together?child_id=parent").status_code == 404
