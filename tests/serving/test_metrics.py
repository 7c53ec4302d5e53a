"""What the service counts of itself, and that the page about it names just that."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from recsys.errors import StoreError
from recsys.feed.engine import Page
from serving.metrics import STAGES, MeasuredUsers, Metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/running.md").read_text("utf-8")
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
DASHBOARD = ROOT / "deploy/grafana/sanad.json"
Open = Callable[..., AbstractContextManager[TestClient]]


def values(client: TestClient) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and the values of its labels."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def own_names() -> dict[str, tuple[str, ...]]:
    """Name -> labels of each metric of the service, as Prometheus stores them."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): vars(collector)["_labelnames"]
        for collector in vars(Metrics()).values()
        if hasattr(collector, "_labelnames")
        for family in collector.collect()
    }


def test_a_page_is_counted_once_with_its_stages(client: TestClient) -> None:
    before = values(client)
    for _ in range(2):  # the second is the first again
        page = client.post("/v1/feed", json={"user_id": "u0", "size": 7, "request_id": "r"}).json()
    client.post("/v1/feed", json={"user_id": "u0", "size": 0})
    client.get("/nobody/knows/this")
    after = values(client)

    def grown(name: str, *labels: str) -> float:
        return after.get((name, labels), 0.0) - before.get((name, labels), 0.0)

    assert grown("sanad_requests_total", "/v1/feed", "200") == 2
    assert grown("sanad_requests_total", "/v1/feed", "422") == 1
    assert grown("sanad_requests_total", "none", "404") == 1
    assert grown("sanad_pages_total", "fresh") == grown("sanad_pages_total", "replayed") == 1
    assert grown("sanad_page_items_total") == len(page["items"]) == 7
    delivered = {labels: n for (name, labels), n in after.items() if name == "sanad_items_delivered_total"}
    assert sum(delivered.values()) == 7
    for stage in ("wait", "page"):
        assert grown("sanad_stage_seconds_count", stage) == 2
    assert grown("sanad_stage_seconds_count", "read") >= 2
    assert grown("sanad_stage_seconds_count", "commit") >= 1
    assert after["sanad_model_trained_timestamp_seconds", ()] > 0
    assert after["sanad_catalogue_items", ("yes",)] == 120


def test_what_an_alert_waits_for_is_there_before_it_comes(client: TestClient) -> None:
    before = values(client)
    for outcome in ("accepted", "duplicate", "rejected"):
        assert before["sanad_events_total", (outcome,)] == 0
    for kind in ("supply", "safe_feed", "other"):
        assert before["sanad_alerts_total", (kind,)] == 0
    assert before["sanad_pages_degraded_total", ("ledger",)] == 0


def test_events_count_whichever_way_they_come_and_history_does_not(open_service: Open) -> None:
    told = {"user_id": "u0", "kind": "like", "item_id": "v1"}
    with open_service(faces=("gorse",)) as client:
        client.post("/v1/events", json={"events": [{**told, "event_id": "a"}, {**told, "event_id": "a"}, {}]})
        for address, event_id, at in (("", "b", None), ("?history=true", "c", "2026-10-01T00:00:00Z")):
            line = msgspec.json.encode({**told, "event_id": event_id, "at": at})
            headers = {"Content-Type": "application/jsonl"}
            answer = client.post(f"/v1/bulk/events{address}", content=line, headers=headers)
            assert answer.json()["accepted"] == 1, answer.text
        one = {"FeedbackType": "like", "UserId": "u0", "ItemId": "v2"}
        rows = [one, {**one, "Timestamp": "2026-10-01T00:00:00Z"}]
        assert client.post("/api/feedback", json=rows).json()["RowAffected"] == 2
        after = values(client)
    counted = {labels[0]: n for (name, labels), n in after.items() if name == "sanad_events_total"}
    assert counted == {"accepted": 3, "duplicate": 1, "rejected": 1}


def test_a_page_that_lacks_items_says_why(client: TestClient) -> None:
    risky = [f"v{n}" for n in range(9, 120, 10)]
    page = client.post("/v1/feed", json={"user_id": "u0", "size": 12, "candidate_ids": risky}).json()
    after = values(client)
    assert after["sanad_page_items_missing_total", ()] == page["shortfall"]["missing"] > 0
    lost = {labels[0]: n for (name, labels), n in after.items() if name == "sanad_candidates_lost_total"}
    assert lost == page["shortfall"]["because"] and any(reason.endswith(":R2") for reason in lost)


def test_a_cap_is_counted_where_it_decided_a_slot_of_a_full_page(client: TestClient) -> None:
    """There are eight calm videos: where R2 would come next, the gap after an R2 keeps it out."""
    ids = [f"v{n}" for n in range(9, 120, 10)] + [f"v{n}" for n in range(8)]
    adult = {"age_band": "18+", "age_source": "verified", "languages": ["fr"]}
    assert client.put("/v1/users/capped", json=adult).status_code == 200
    pages = [
        client.post(
            "/v1/feed", json={"user_id": "capped", "size": 3, "candidate_ids": ids, "request_id": f"r{n}"}
        ).json()
        for n in range(4)
    ]
    tiers = [[item["tier"] for item in page["items"]] for page in pages]
    assert tiers == [["R0"] * 3, ["R0"] * 3, ["R0", "R2", "R0"], []]
    after = values(client)
    assert after["sanad_page_slots_capped_total", ()] == 2  # after the R2 of the third page, and in the fourth
    assert after["sanad_stage_seconds_count", ("plan",)] == 4


def test_overlap_is_the_share_of_a_page_that_the_one_before_held() -> None:
    metrics = Metrics()
    for ids in (["a", "b"], ["b", "c"], ["x", "y", "b", "c"]):
        items = [{"item_id": name, "family": None, "language": "fr"} for name in ids]
        fields = {"items": items, "shortfall": {"missing": 0, "because": {}}, "degraded": [], "replayed": False}
        metrics.count_page(Page(msgspec.json.encode(fields)))
    [family] = [family for family in metrics.registry.collect() if family.name == "sanad_page_overlap"]
    assert family.samples[0].value == pytest.approx(0.01 * 0.5 * 0.99 + 0.01 * 0.5)


def test_a_safe_page_and_its_alert_are_counted(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise StoreError("gone")

    monkeypatch.setattr(MeasuredUsers, "read", broken)
    assert client.post("/v1/feed", json={"user_id": "u0"}).json()["degraded"] == ["ledger"]
    after = values(client)
    assert after["sanad_pages_degraded_total", ("ledger",)] == 1


def test_a_refused_commit_is_a_retry(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MeasuredUsers.write_if
    tries: list[int] = []

    def late(users: MeasuredUsers, *args: Any) -> bool:
        tries.append(1)
        return original(users, args[0], args[1], args[2] + 1 if len(tries) == 1 else args[2], *args[3:])

    monkeypatch.setattr(MeasuredUsers, "write_if", late)
    assert client.post("/v1/feed", json={"user_id": "u0"}).status_code == 200
    assert values(client)["sanad_ledger_retries_total", ()] == 1


def test_addresses_that_callers_make_up_make_no_counters(client: TestClient) -> None:
    for n in range(50):
        client.get(f"/v1/{n}")
        client.get(f"/v1/feed/somebody-{n}?size=1")
        client.post(f"/v1/feed?x={n}", json={"user_id": f"somebody-{n}", "dry_run": True})
    text = client.get("/metrics").text
    assert "somebody" not in text and len(re.findall("^sanad_requests_total", text, re.MULTILINE)) < 8


def test_metrics_need_a_key(open_service: Open) -> None:
    with open_service(keys=("0" * 64,)) as client:
        assert client.get("/metrics").status_code == 401


def test_the_page_names_every_metric_with_its_labels() -> None:
    rows = re.findall(r"^\| `(sanad_\w+)` \|([^|]*)\|[^|]+\|$", PAGE, re.MULTILINE)
    described = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert described == own_names()
    assert all(f"`{stage}`" in PAGE for stage in STAGES)


def test_alerts_and_the_dashboard_use_metrics_that_there_are() -> None:
    known = set(own_names()) | {f"sanad_stage_seconds_{part}" for part in ("bucket", "sum", "count")}
    used = re.findall(r"\bsanad_\w+", DASHBOARD.read_text("utf-8"))
    rules = [rule for group in YAML(typ="safe").load(ALERTS)["groups"] for rule in group["rules"]]
    assert rules and all(rule["annotations"]["runbook"].endswith(".") and rule["labels"]["severity"] for rule in rules)
    used += [name for rule in rules for name in re.findall(r"\bsanad_\w+", rule["expr"])]
    assert used and set(used) <= known
