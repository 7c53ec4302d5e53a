"""Each address names the scope of a key that it needs; a key without it gets nowhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from recsys.services.bulk import Bulk
from serving.auth.keys import change_keys, new_key
from serving.auth.scopes import ANY, MEANINGS, SCOPES, Scope, scope_of
from serving.openapi import Description
from tests.serving.conftest import NOON, Open

OPEN = ("/health/live", "/health/ready")
DOCS = Path(__file__).parents[3] / "docs" / "running.md"


def calls(description: Description) -> Iterator[tuple[str, str]]:
    """Every call of the interface, with made-up ids."""
    for template, methods in description["paths"].items():
        for method in methods:
            tables = get_args(Bulk) if "{table}" in template else ("",)
            for table in tables:
                parts = template.replace("{table}", table).split("/")
                yield method.upper(), "/".join("0123456789ab" if part.startswith("{") else part for part in parts)


@pytest.fixture
def description(shared_client: TestClient) -> Description:
    answer: Description = shared_client.get("/openapi.json").json()
    return answer


def test_every_route_needs_a_scope(description: Description) -> None:
    without = [call for call in calls(description) if scope_of(*call) is None and call[1] not in OPEN]
    assert without == []


@pytest.mark.parametrize(
    ("face", "own"),
    [
        ("POST /rank", "POST /v1/rank"),
        ("GET /api/recommend/x", "GET /v1/feed/x"),
        ("GET /api/recommend/x/S3", "GET /v1/feed/x"),
        ("GET /api/popular", "GET /v1/trending"),
        ("GET /api/item/x/neighbors", "GET /v1/similar/x"),
        ("POST /api/feedback", "POST /v1/events"),
        ("PUT /api/feedback", "POST /v1/events"),
        ("GET /api/user/x/feedback", "GET /v1/users/x/export"),
        ("GET /api/user/x", "GET /v1/users/x"),
        ("POST /api/user", "PUT /v1/users/x"),
        ("POST /api/users", "POST /v1/bulk/users"),
        ("PATCH /api/user/x", "PUT /v1/users/x"),
        ("DELETE /api/user/x", "DELETE /v1/users/x"),
        ("POST /api/items", "POST /v1/bulk/items"),
        ("GET /api/items", "GET /v1/items"),
        ("PATCH /api/item/x", "PATCH /v1/items/x"),
        ("DELETE /api/item/x", "DELETE /v1/items/x"),
    ],
)
def test_a_face_needs_the_scope_of_the_address_that_does_the_same(face: str, own: str) -> None:
    method, path = face.split()
    own_method, own_path = own.split()
    assert scope_of(method, path) == scope_of(own_method, own_path) not in (None, ANY)


def test_every_scope_opens_something(description: Description) -> None:
    assert {scope_of(*call) for call in calls(description)} == {*SCOPES, ANY, None}
    assert set(MEANINGS) == set(SCOPES)


def test_the_description_names_the_scopes(description: Description) -> None:
    assert description["paths"]["/v1/feed"]["post"]["security"] == [{"service_key": ["feed"]}, {}]
    bulk = description["paths"]["/v1/bulk/{table}"]["post"]
    assert bulk["security"] == [{"service_key": ["catalogue", "events"]}, {}]
    assert description["paths"]["/v1/version"]["get"]["security"] == [{"service_key": []}, {}]


def test_the_page_says_what_each_scope_is_for() -> None:
    text = DOCS.read_text("utf-8")
    assert all(f"| `{scope}` | {meaning} |" in text for scope, meaning in MEANINGS.items())


def test_a_key_opens_the_addresses_of_its_scopes_and_no_other(open_service: Open, tmp_path: Path) -> None:
    texts: dict[Scope, str] = {}
    for scope in SCOPES:
        texts[scope], kept = new_key(f"for-{scope}", [scope], None, NOON)
        change_keys(tmp_path / "keys.json", lambda keys, kept=kept: (*keys, kept))
    with open_service(key_file=tmp_path / "keys.json") as client:
        description = client.get("/openapi.json", headers={"X-API-Key": texts["audit"]}).json()
        for method, path in calls(description):
            for scope, text in texts.items():
                answer = client.request(method, path, headers={"X-API-Key": text})
                is_refused = "expected one for" in answer.text and answer.status_code == 403
                is_open = path in OPEN or scope_of(method, path) in (scope, ANY)
                assert is_refused != is_open, (method, path, scope, answer.text)
            if path not in OPEN:
                assert client.request(method, path).status_code == 401


TRICKS = ("%0A", "%0D", "/", "//", "%2F", ";x", "%00", "%20", "/%2E%2E", "%252F")


@given(
    st.sampled_from(["/v1/audit", "/v1/users/u0/export", "/v1/operator/confirm-clock", "/metrics", "/v1/models"]),
    st.lists(st.sampled_from(TRICKS), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_no_spelling_of_an_address_gets_around_its_scope(
    narrow: TestClient, path: str, tricks: list[str], is_before: bool, method: str
) -> None:
    spelled = "".join(tricks) + path if is_before else path + "".join(tricks)
    answer = narrow.request(method, f"http://127.0.0.1:8000/{spelled.lstrip('/')}")
    assert answer.status_code in (400, 403, 404, 405), (spelled, answer.text)


@pytest.fixture(scope="module")
def narrow(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client whose key is for pages only."""
    from serving.app import create_app
    from serving.run import open_engine
    from serving.settings import Settings

    folder = tmp_path_factory.mktemp("narrow")
    text, kept = new_key("app", ["feed"], None, NOON)
    change_keys(folder / "keys.json", lambda keys: (kept,))
    chosen = Settings(artifact=artifact, state=folder / "state.db", port=0, key_file=folder / "keys.json")
    with open_engine(chosen, clock=lambda: NOON) as engine:
        app = create_app(engine, settings=chosen, clock=lambda: NOON)
        yield TestClient(app, "http://127.0.0.1:8000", headers={"X-API-Key": text})
