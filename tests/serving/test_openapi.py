"""The description of the interface is true: it names what the engine sends, and what the data contract holds."""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from hypothesis import example as tried
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from recsys import messages
from recsys.columns import CREATORS, EVENTS, ID_PATTERN, ITEMS
from recsys.types import Event
from recsys.user.state import Profile
from serving import bodies, openapi, reports, responses


def test_what_may_be_left_out_of_a_request_has_the_same_default() -> None:
    assert bodies.FeedBody(user_id="u").to_request() == messages.FeedRequest(user_id="u")


@pytest.mark.parametrize(
    ("struct", "name"),
    [(messages.FeedRequest, "FeedBody"), (messages.Context, "ContextBody"), (messages.PauseChoice, "PauseChoiceBody")],
)
def test_a_request_is_described_by_the_fields_of_its_struct(
    struct: type[msgspec.Struct], name: str, shared_client: TestClient
) -> None:
    described = shared_client.get("/openapi.json").json()["components"]["schemas"][name]
    assert list(described["properties"]) == list(struct.__struct_fields__)
    required = [field.name for field in msgspec.structs.fields(struct) if field.required]
    assert described.get("required", []) == required
    assert described["additionalProperties"] is False


@given(st.text(st.characters(exclude_categories=["Cn", "Cs"]), min_size=1, max_size=4))
@tried("u/1 é 🙂 بنت")
@tried("   ")
@tried("a\u00a0b")
@tried("a\u202eb")
def test_the_pattern_of_an_id_matches_exactly_what_is_accepted(text: str) -> None:
    """With another engine of expressions than the one that checks ids, which knows no classes of characters."""
    is_accepted = text.isprintable() and not text.isspace()
    assert _matches(ID_PATTERN, text) == is_accepted == (_id_of(text) is not None)


def test_every_id_is_described_with_its_pattern(shared_client: TestClient) -> None:
    described = shared_client.get("/openapi.json").json()
    parameters = [
        p for path in described["paths"].values() for call in path.values() for p in call.get("parameters", ())
    ]
    in_paths = [p["schema"]["pattern"] for p in parameters if p["in"] == "path" and p["name"].endswith("_id")]
    assert len(in_paths) > 10 and set(in_paths) == {ID_PATTERN}
    bodies_of = described["components"]["schemas"]
    assert bodies_of["FeedBody"]["properties"]["user_id"]["pattern"] == ID_PATTERN
    assert bodies_of["EventBody"]["properties"]["event_id"]["pattern"] == ID_PATTERN


def _matches(pattern: str, text: str) -> bool:
    try:
        TypeAdapter(Annotated[str, Field(pattern=pattern)]).validate_python(text)
    except ValidationError:
        return False
    return True


def _id_of(text: str) -> str | None:
    try:
        return bodies.FeedBody(user_id=text).user_id
    except ValidationError:
        return None


def test_items_and_people_have_the_fields_of_the_data_contract() -> None:
    assert tuple(bodies.ItemPatch.model_fields) == tuple(column.name for column in ITEMS.columns)
    assert set(bodies.ItemBody.model_fields) == set(bodies.ItemPatch.model_fields)
    assert tuple(bodies.CreatorPatch.model_fields) == tuple(column.name for column in CREATORS.columns)
    assert set(bodies.CreatorBody.model_fields) == set(bodies.CreatorPatch.model_fields)
    assert set(bodies.UserBody.model_fields) == set(Profile.__struct_fields__)
    columns = {column.name for column in EVENTS.columns}
    assert set(bodies.EventBody.model_fields) - columns == {"tracking_token"}


def test_what_is_sent_is_what_is_described(shared_client: TestClient) -> None:
    for explain in ("none", "reasons", "full"):
        page = shared_client.post("/v1/feed", json={"user_id": "u0", "explain": explain}).json()
        assert is_exactly(page, messages.FeedResponse)
    receipt = shared_client.post("/v1/events", json={"events": [{}]}).json()
    assert receipt["rejected"] and is_exactly(receipt, messages.EventsResponse)
    for path, struct in (
        ("/v1/version", responses.Version),
        ("/", responses.Index),
        ("/health/live", responses.Liveness),
        ("/health/ready", responses.Readiness),
        ("/nowhere", responses.ProblemDetail),
        ("/v1/feed/u0?size=0", responses.ProblemDetail),
    ):
        assert is_exactly(shared_client.get(path).json(), struct)
    clock = shared_client.post("/v1/operator/confirm-clock").json()
    assert is_exactly(clock, responses.ConfirmedClock)


def is_exactly(body: Any, struct: type[msgspec.Struct]) -> bool:
    """Whether a body holds the fields of a struct, of its types, and no others."""
    return bool(msgspec.json.decode(msgspec.json.encode(msgspec.convert(body, struct, strict=False))) == body)


def test_every_response_of_a_route_is_described_from_its_struct(shared_client: TestClient) -> None:
    described = shared_client.get("/openapi.json").json()["components"]["schemas"]
    for struct in openapi.RESPONSES:
        schema = described[struct.__name__]
        assert list(schema["properties"]) == list(struct.__struct_fields__)
        assert schema["required"] == [field.name for field in msgspec.structs.fields(struct) if field.required]
        assert schema["description"]


def test_every_call_is_described_with_its_refusals(shared_client: TestClient) -> None:
    described = shared_client.get("/openapi.json").json()
    calls = {(method, path): call for path, calls in described["paths"].items() for method, call in calls.items()}
    assert calls.keys() >= {
        ("post", "/v1/feed"),
        ("get", "/v1/feed/{user_id}"),
        ("post", "/v1/events"),
        ("get", "/v1/users/{user_id}"),
        ("put", "/v1/users/{user_id}"),
        ("get", "/v1/items/{item_id}"),
        ("put", "/v1/items/{item_id}"),
        ("patch", "/v1/items/{item_id}"),
        ("delete", "/v1/items/{item_id}"),
        ("get", "/v1/creators/{creator_id}"),
        ("put", "/v1/creators/{creator_id}"),
        ("patch", "/v1/creators/{creator_id}"),
        ("delete", "/v1/creators/{creator_id}"),
        ("get", "/v1/creators/{creator_id}/exposure"),
        ("get", "/v1/local"),
        ("get", "/v1/similar/{item_id}"),
        ("get", "/v1/trending"),
        ("get", "/v1/families/{guardian_id}/together"),
        ("get", "/health/live"),
        ("get", "/health/ready"),
        ("get", "/v1/version"),
        ("get", "/metrics"),
    }
    for name, call in calls.items():
        assert call["summary"], name
        kind = "text/plain" if name == ("get", "/metrics") else "application/json"
        assert kind in call["responses"]["200"]["content"], name
        for status in ("404", "405", "408", "422"):
            assert list(call["responses"][status]["content"]) == ["application/problem+json"], name
    assert {"409", "410"} <= calls["post", "/v1/feed"]["responses"].keys()
    assert "409" in calls["put", "/v1/items/{item_id}"]["responses"]
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_every_address_on_the_page_is_one_of_the_service(shared_client: TestClient) -> None:
    page = (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z]+) (/[^`]*)` \| (.+) \|$", page, re.MULTILINE)
    described = shared_client.get("/openapi.json").json()["paths"]
    assert len(rows) > 40
    assert rows == [(m, p, described.get(p, {}).get(m.lower(), {}).get("summary")) for m, p, _ in rows]


def test_every_reference_of_the_description_leads_somewhere(shared_client: TestClient) -> None:
    described = shared_client.get("/openapi.json").json()

    def references(tree: Any) -> set[str]:
        if isinstance(tree, dict):
            own = {tree["$ref"]} if isinstance(tree.get("$ref"), str) else set()
            return own.union(*map(references, tree.values()))
        return set().union(*map(references, tree)) if isinstance(tree, list) else set()

    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert references(described) <= known


@pytest.mark.parametrize(
    "model",
    [
        bodies.FeedBody,
        bodies.UserBody,
        bodies.ItemBody,
        bodies.ItemPatch,
        bodies.EventsBody,
        bodies.CreatorBody,
        bodies.CreatorPatch,
    ],
)
def test_the_examples_are_accepted(model: type[BaseModel]) -> None:
    extra: Any = model.model_config["json_schema_extra"]
    assert extra["examples"]
    for example in extra["examples"]:
        model.model_validate(example)
        for event in example.get("events", []):
            bodies.EventBody.model_validate(event)


def test_every_call_has_a_name_of_its_own_that_generators_of_clients_can_use(shared_client: TestClient) -> None:
    described = shared_client.get("/openapi.json").json()
    names = [call["operationId"] for calls in described["paths"].values() for call in calls.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)


def test_every_answer_is_typed(shared_client: TestClient) -> None:
    """No answer is an open object: each names a schema with properties, or is text."""
    described = shared_client.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    for path, calls in described["paths"].items():
        for method, call in calls.items():
            assert call["tags"], (method, path)
            for media_type, content in call["responses"]["200"]["content"].items():
                if media_type == "application/json":
                    schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
                    assert schema["properties"] and not schema.get("additionalProperties"), (method, path)


def test_a_stored_event_has_the_fields_of_an_event() -> None:
    assert {*reports.StoredEvent.__struct_fields__} == {"seq", "received_at", *Event.__dataclass_fields__}
