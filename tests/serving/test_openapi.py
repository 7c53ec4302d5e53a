"""The description of the interface is true: it names what the engine sends, and what the data contract holds."""

import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from recsys import messages
from recsys.columns import CREATORS, EVENTS, ITEMS
from recsys.user.state import Profile
from serving import bodies as schemas
from serving import openapi, responses

TWINS = [
    (messages.FeedRequest, schemas.FeedBody),
    (messages.Context, schemas.ContextBody),
    (messages.PauseChoice, schemas.PauseChoiceBody),
]
NAMES = {struct: struct.__name__ for struct, _ in TWINS} | {model: struct.__name__ for struct, model in TWINS}


def shape(kind: Any) -> Any:
    """A type as plain words: bounds and patterns left out, tuples as lists, twins by one name."""
    if kind in NAMES:
        return NAMES[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is None:
        return "unset" if kind is msgspec.UnsetType else kind
    if origin is Literal:
        return ("one of", *sorted(inner))
    if origin in (Union, types.UnionType):
        parts = {shape(part) for part in inner} - {"unset"}
        return parts.pop() if len(parts) == 1 else frozenset(parts)
    if origin in (list, tuple):
        return ("list", shape(inner[0]))
    return (origin, *map(shape, inner))


@pytest.mark.parametrize(("struct", "model"), TWINS, ids=[struct.__name__ for struct, _ in TWINS])
def test_a_struct_and_its_description_have_the_same_fields_of_the_same_types(
    struct: type[msgspec.Struct], model: type[BaseModel]
) -> None:
    expected = get_type_hints(struct)
    found = get_type_hints(model)
    assert list(model.model_fields) == list(struct.__struct_fields__)
    for name in struct.__struct_fields__:
        assert shape(found[name]) == shape(expected[name]), name


@pytest.mark.parametrize(("struct", "model"), TWINS, ids=[struct.__name__ for struct, _ in TWINS])
def test_what_may_be_left_out_is_the_same(struct: type[msgspec.Struct], model: type[BaseModel]) -> None:
    required = {field.name for field in msgspec.structs.fields(struct) if field.required}
    assert {name for name, field in model.model_fields.items() if field.is_required()} == required


def test_what_may_be_left_out_of_a_request_has_the_same_default() -> None:
    assert schemas.FeedBody(user_id="u").to_request() == messages.FeedRequest(user_id="u")


def test_items_and_people_have_the_fields_of_the_data_contract() -> None:
    assert tuple(schemas.ItemPatch.model_fields) == tuple(column.name for column in ITEMS.columns)
    assert set(schemas.ItemBody.model_fields) == set(schemas.ItemPatch.model_fields)
    assert tuple(schemas.CreatorPatch.model_fields) == tuple(column.name for column in CREATORS.columns)
    assert set(schemas.CreatorBody.model_fields) == set(schemas.CreatorPatch.model_fields)
    assert set(schemas.UserBody.model_fields) == set(Profile.__struct_fields__)
    columns = {column.name for column in EVENTS.columns}
    assert set(schemas.EventBody.model_fields) - columns == {"tracking_token"}


def test_what_is_sent_is_what_is_described(shared_client: TestClient) -> None:
    for explain in ("none", "reasons", "full"):
        page = shared_client.post("/v1/feed", json={"user_id": "u0", "explain": explain}).json()
        assert is_exactly(page, messages.FeedResponse)
    receipt = shared_client.post("/v1/events", json={"events": [{}]}).json()
    assert receipt["rejected"] and is_exactly(receipt, messages.EventsResponse)
    for path, struct in (
        ("/v1/version", responses.Version),
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
    }
    for name, call in calls.items():
        assert call["summary"], name
        assert "application/json" in call["responses"]["200"]["content"], name
        assert list(call["responses"]["422"]["content"]) == ["application/problem+json"], name
    assert "HTTPValidationError" not in described["components"]["schemas"]


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
        schemas.FeedBody,
        schemas.UserBody,
        schemas.ItemBody,
        schemas.ItemPatch,
        schemas.EventsBody,
        schemas.CreatorBody,
        schemas.CreatorPatch,
    ],
)
def test_the_examples_are_accepted(model: type[BaseModel]) -> None:
    extra: Any = model.model_config["json_schema_extra"]
    assert extra["examples"]
    for example in extra["examples"]:
        model.model_validate(example)
        for event in example.get("events", []):
            schemas.EventBody.model_validate(event)
