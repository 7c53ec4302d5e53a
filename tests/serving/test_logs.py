"""The log: a line can be followed from the call to the reservation, and none tells who a person is."""

import io
import json
import logging
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from recsys.errors import ConfigError, StoreError, where_raised
from recsys.services.live_votes import VoteCount
from serving import logs
from serving.app import create_app
from serving.auth.keys import change_keys, new_key
from serving.calls import CALL, Call, Follower, follower_of
from serving.run import open_service
from serving.settings import Settings
from serving.stores.sqlite.store import SqliteStore
from serving.swap import Models
from serving.upkeep import count_votes, prune
from tests.serving.conftest import NOON, Open

PERSON = "somebody-77"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the service logs at its highest level of detail."""
    root, sanad = logging.getLogger(), logging.getLogger("sanad")
    before, level, own = root.handlers[:], root.level, sanad.level
    out = io.StringIO()
    logs.configure("debug", out)
    yield out
    root.handlers[:] = before
    root.setLevel(level)
    sanad.setLevel(own)


def read(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_call_can_be_followed_to_its_reservation(lines: io.StringIO, open_service: Open) -> None:
    with open_service() as client:
        client.post("/v1/feed", json={"user_id": PERSON, "size": 4}, headers={"X-Request-ID": "call-1"})
        client.get(f"/v1/feed/{PERSON}?size=4", headers={"X-Request-ID": "call-2"})
    for name, method, route in (("call-1", "POST", "/v1/feed"), ("call-2", "GET", "/v1/feed/{user_id}")):
        reserved, answered = (x for x in read(lines) if x.get("request_id") == name and x["level"] == "info")
        assert (reserved["event"], reserved["items"], reserved["level"]) == ("page reserved", 4, "info")
        assert (answered["event"], answered["method"], answered["route"]) == ("call answered", method, route)
        assert answered["status"] == 200 and answered["who"] == "local" and answered["took_ms"] > 0


def test_no_line_holds_a_key_or_an_id_of_a_person(
    lines: io.StringIO, open_service: Open, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that a person's id passes through, also where it fails with the id in the message."""
    text, key = new_key("app", ["feed", "events", "export", "admin", "audit"], None, NOON)
    change_keys(tmp_path / "keys.json", lambda keys: (key,))
    event = {"event_id": f"e-{PERSON}", "user_id": PERSON, "kind": "search", "query": f"words of {PERSON}",
             "at": "2026-11-20T11:00:00Z"}  # fmt: skip
    with open_service(key_file=tmp_path / "keys.json") as client:
        client.headers["X-API-Key"] = text
        _use_everything(client, event)
        for target in ("serving.routes.feed.feed", "recsys.services.rights.export", "recsys.services.rights.erase"):
            with monkeypatch.context() as broken:
                broken.setattr(target, _failing)
                _use_everything(client, event)
        client.get("/v1/version", headers={"X-API-Key": f"{text}x"})
    logged = lines.getvalue()
    assert logged.count("call answered") > 40 and logged.count("call failed") >= 4
    assert PERSON not in logged and text not in logged and key.digest not in logged
    assert logging.getLogger("sanad").isEnabledFor(logging.DEBUG)


def _failing(*_: object, **__: object) -> None:
    raise KeyError(PERSON)


def _use_everything(client: TestClient, event: dict[str, Any]) -> None:
    user = f"/v1/users/{PERSON}"
    page = {"user_id": PERSON, "request_id": f"r-{PERSON}", "size": 3}
    calls: tuple[tuple[str, str, Any], ...] = (
        ("POST", "/v1/feed", page), ("POST", "/v1/feed", {**page, "size": 4}), ("POST", "/v1/feed", {**page, "x": 1}),
        ("GET", f"/v1/feed/{PERSON}?size=99", None), ("POST", "/v1/events", {"events": [event, {**event, "kind": 1}]}),
        ("PUT", user, {"age_band": "18+", "age_source": "verified", "guardian_id": f"g-{PERSON}"}), ("GET", user, None),
        ("PUT", f"{user}/controls", {"muted_words": [PERSON]}), ("GET", f"{user}/export", None),
        ("GET", f"/v1/requests/r-{PERSON}", None), ("POST", f"/v1/requests/r-{PERSON}/replay", None),
        ("GET", f"/v1/why?request_id=r-{PERSON}&item_id=v1", None), ("GET", f"/{PERSON}/{PERSON}", None),
        ("GET", f"{user}/exposure", None), ("DELETE", user, None),
    )  # fmt: skip
    for method, path, body in calls:
        client.request(method, path, json=body)


def test_what_fails_beside_requests_ends_nothing_and_names_nobody(
    lines: io.StringIO, open_service: Open, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_service() as client, closing(SqliteStore(settings.state_file)) as store:
        deps = client.app.state.deps
        for owner, name in ((Models, "people"), (VoteCount, "refresh")):
            monkeypatch.setattr(owner, name, _failing)
        assert prune(store, deps.models, deps.clock)
        count_votes(VoteCount(), deps.models, deps.clock)
    told = {line["event"]: line for line in read(lines) if line.get("error") == "KeyError"}
    assert set(told) == {"nothing was pruned", "what people act on now was not counted"}
    assert all(line["frames"] for line in told.values()) and PERSON not in lines.getvalue()


def test_an_unexpected_error_is_named_by_its_place(lines: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise KeyError(PERSON)
    except KeyError as error:
        assert where_raised(error).startswith("KeyError at test_logs.py:")
        logging.getLogger("sanad.serving").exception("call failed")
    assert where_raised(StoreError("the disk is full")) == "StoreError: the disk is full"
    [line] = read(lines)
    assert line["error"] == "KeyError"
    assert line["frames"][-1].startswith("serving/test_logs.py:")


@given(st.text())
def test_a_line_is_a_line_whatever_it_says(text: str) -> None:
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    out = io.StringIO()
    try:
        logs.configure("info", out)
        logging.getLogger("sanad.serving").error("found %s", text, extra={"who": text})
    finally:
        root.handlers[:] = before
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue())["who"] == text


def test_on_a_terminal_a_line_is_for_eyes() -> None:
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    out = Terminal()
    try:
        logs.configure("info", out)
        logging.getLogger("sanad.serving").warning("no list of terms")
    finally:
        root.handlers[:] = before
    assert "no list of terms" in out.getvalue() and not out.getvalue().startswith("{")


@given(st.floats(0, 1))
def test_about_the_share_of_calls_is_followed(share: float) -> None:
    n_followed = sum(Follower(share).begin(f"call {n}", {}).is_followed for n in range(2_000))
    CALL.set(None)
    assert abs(n_followed / 2_000 - share) < 0.06


def test_few_calls_are_followed_unless_every_detail_is_asked_for() -> None:
    sanad, before = logging.getLogger("sanad"), logging.getLogger("sanad").level
    try:
        for level, expected in ((logging.INFO, False), (logging.DEBUG, True)):
            sanad.setLevel(level)
            CALL.set(Call("call"))
            assert logs.is_followed() is expected
    finally:
        CALL.set(None)
        sanad.setLevel(before)


def test_a_traced_call_has_a_span_for_each_stage_under_that_of_its_caller(
    settings: Any, clock: Any, local: Any
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with open_service(settings, clock=clock) as service:
        app = create_app(
            service.models, settings=settings, clock=service.clock, metrics=service.metrics,
            follower=Follower(1.0, provider),
        )  # fmt: skip
        with local(app) as client:
            client.post("/v1/feed", json={"user_id": PERSON}, headers={"traceparent": caller})
            spans = exporter.get_finished_spans()
    whole = next(span for span in spans if span.name == "POST /v1/feed")
    assert whole.context is not None and whole.parent is not None and whole.attributes is not None
    assert f"{whole.context.trace_id:032x}" == caller.split("-")[1]
    assert f"{whole.parent.span_id:016x}" == caller.split("-")[2]
    assert whole.attributes["http.response.status_code"] == 200
    stages = {span.name: span for span in spans if span is not whole}
    assert {"body", "wait", "page", "read", "commit"} <= set(stages)
    assert all(span.parent is not None and span.parent.span_id == whole.context.span_id for span in stages.values())
    assert PERSON not in str([span.to_json() for span in spans])


def test_without_an_address_for_traces_nothing_of_them_is_loaded() -> None:
    import subprocess
    import sys

    script = (
        "import sys, serving.run; from serving.calls import follower_of; f = follower_of(1.0, None);"
        "f.begin('x', {}); print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exp'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_the_packages_an_address_for_traces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install 'sanad\\[traces\\]'"):
        follower_of(0.01, "http://127.0.0.1:4318/v1/traces")


def test_a_collector_that_is_gone_holds_up_nothing() -> None:
    follower = follower_of(1.0, "http://127.0.0.1:9/v1/traces")
    call = follower.begin("call", {})
    assert call.trace is not None
    call.trace.end("POST", "/v1/feed", 200)
    CALL.set(None)
    started = time.monotonic()
    follower.close()
    assert time.monotonic() - started < 15
