"""The description of the interface: what the framework knows of the routes, and the structs that are sent."""

from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from recsys.messages import EventsResponse, FeedResponse, Wire
from recsys.services.bulk import Bulk
from serving import reports, responses
from serving.auth.scopes import ANY, scope_of
from serving.bodies import EventBody
from serving.problems import MEDIA_TYPE
from serving.responses import EXAMPLE_PROBLEM, Answer, ProblemDetail

Description = dict[str, Any]
RESPONSES: Final = (
    FeedResponse,
    EventsResponse,
    *(
        struct for name, struct in {**vars(responses), **vars(reports)}.items()
        if isinstance(struct, type) and issubclass(struct, Wire) and struct.__name__ == name
        and struct not in (Wire, Answer)
    ),
)  # fmt: skip
"""Every struct that a route answers with; their parts are found from them."""

_REF: Final = "#/components/schemas/"
_REFUSALS: Final = {
    400: "The request cannot be read: no HTTP, an address that is not encoded, or a body that is not JSON in UTF-8.",
    401: "No known service key.",
    403: "The key is not for this address; or no service keys are set, and the call is not local.",
    404: "No such address, or nothing under this id.",
    405: "The address has other methods; the header Allow names them.",
    408: "The head or the body took too long to arrive.",
    413: "The body is larger than 512 kB (feed), 2 MB (rank), 10 MB (events, bulk) or 1 MB (other addresses).",
    415: "The body is not application/json.",
    422: "The request breaks the contract.",
    429: "This key makes more requests than it may. Retry-After says when to ask.",
    431: "The head is larger than 32 kB or has more than 100 headers.",
    503: "Too many requests, the state cannot be written, or the clock is not believed. Retry-After says when to ask.",
}


def response(
    struct: type[Wire], text: str, *, media_type: str = "application/json", headers: Description | None = None
) -> Description:
    """The description of one response of a route, whose body is `struct`."""
    schema = {"$ref": _REF + struct.__name__}
    described: Description = {"description": text, "content": {media_type: {"schema": schema}}}
    return described if headers is None else described | {"headers": headers}


def ok(struct: type[Wire]) -> dict[int | str, Description]:
    """The answer of a route that is no problem, described by the first sentence of its struct."""
    text = " ".join((struct.__doc__ or "").split())
    return {200: response(struct, text.partition(". ")[0].rstrip(".") + ".")}


def refused(status: int, text: str) -> dict[int | str, Description]:
    """A problem that one route answers with beside those of every route."""
    return {status: response(ProblemDetail, text, media_type=MEDIA_TYPE)}


WRITTEN_MEANWHILE: Final = refused(409, "Somebody else wrote the row meanwhile. Read it again.")


def refusals() -> dict[int | str, Description]:
    """The problems that any route may answer with, by status."""
    return {status: of for code, text in _REFUSALS.items() for status, of in refused(code, text).items()}


def describe(app: FastAPI) -> Description:
    """The description, made once: routes and bodies by the framework, responses from their structs, events, the key."""
    if app.openapi_schema is None:
        whole = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = whole.setdefault("components", {})
        components["schemas"] = dict(sorted({**components.get("schemas", {}), **_events(), **_responses()}.items()))
        components["securitySchemes"] = {"service_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
        whole["security"] = [{"service_key": []}, {}]
        for path, calls in whole["paths"].items():
            for method, call in calls.items():
                needed = _scopes(method, path)
                call["security"] = [{"service_key": needed}, {}] if needed else whole["security"]
        app.openapi_schema = whole
    return app.openapi_schema


def _scopes(method: str, path: str) -> list[str]:
    """The scopes of a key for a call; for one of bulk they depend on the table."""
    tables = [path.replace("{table}", table) for table in get_args(Bulk)]
    needed = {scope_of(method.upper(), place) for place in (tables if "{table}" in path else [path])}
    return sorted(scope for scope in needed if scope is not None and scope != ANY)


def _responses() -> Mapping[str, Description]:
    _, schemas = msgspec.json.schema_components(RESPONSES, ref_template=_REF + "{name}")
    schemas[ProblemDetail.__name__]["examples"] = [msgspec.to_builtins(EXAMPLE_PROBLEM)]
    return {name: _without_closed_tuples(schema) for name, schema in schemas.items()}


def _without_closed_tuples(schema: Any) -> Any:
    """The schema with tuples bounded by their length alone: generators of clients read no `items: false`."""
    if isinstance(schema, dict):
        return {
            name: _without_closed_tuples(part)
            for name, part in schema.items()
            if not (name == "items" and part is False)
        }
    return [_without_closed_tuples(part) for part in schema] if isinstance(schema, list) else schema


def _events() -> Mapping[str, Description]:
    """The body of one event: the framework does not see it, because events are checked one by one."""
    _, more = models_json_schema([(EventBody, "validation")], ref_template=_REF + "{model}")
    schemas: Mapping[str, Description] = more["$defs"]
    return schemas
