"""What routes depend on: the engine, the clock, how a request is read and how a response is made."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Request, Response
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from starlette.types import Scope

from recsys.feed.engine import Engine
from recsys.messages import Wire
from recsys.types import Fields
from serving.body_fields import Id
from serving.clock_guard import GuardedClock
from serving.metrics import Metrics
from serving.problems import SLASH_OF_ID, Problem
from serving.swap import Models

PathId = Annotated[Id, BeforeValidator(lambda text: text.replace(SLASH_OF_ID, "/")), Path()]
_JSON: Final = "application/json"
MAX_FIELDS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """
    The models, one of which is in service, the clock, and what is counted. `reload_rules` reads policy and experiments
    again, and raises what is wrong with them; None = this service has no files.
    """

    models: Models
    clock: GuardedClock
    metrics: Metrics
    reload_rules: Callable[[], None] | None = None

    def engine(self) -> Engine:
        """The engine in service. A request keeps the engine that it started with."""
        return self.models.engine()


class StrictRequest(Request):
    """A request with strict JSON: no NaN, only UTF-8, no half characters."""

    async def json(self) -> object:
        """The parsed body. Raises Problem."""
        try:
            return _check_field_count(msgspec.json.decode(await self.body()))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(400, f"Found a body that is not JSON in UTF-8 ({error}); correct it.") from error
        except RecursionError as error:
            raise Problem(400, "Found a body nested too deep; no request needs that.") from error


def _check_field_count(body: object) -> object:
    """The body, if each object in it has few fields: to name a million unknown ones would take long. Raises Problem."""
    objects = [body, *body.values()] if isinstance(body, dict) else []
    n_fields = max((len(part) for part in objects if isinstance(part, dict)), default=0)
    if n_fields > MAX_FIELDS:
        raise Problem(422, f"Found an object of {n_fields:,} fields, expected at most {MAX_FIELDS}; see /openapi.json.")
    return body


class StrictRoute(APIRoute):
    """A route that reads `StrictRequest`s, after it has checked the media type."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handler = super().get_route_handler()
        has_body = self.body_field is not None

        async def strict(request: Request) -> Response:
            if has_body and not is_json(request.scope):
                raise Problem(
                    415, "Found a body of another type; send it with the header Content-Type: application/json."
                )
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def is_json(scope: Scope) -> bool:
    """Whether a request says that its body is JSON. Of several media types the first one counts."""
    given = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return given.partition(b";")[0].strip().lower() == _JSON.encode()


def strict_router(
    prefix: str, tag: str | None, responses: Mapping[int | str, dict[str, Any]] | None = None
) -> APIRouter:
    """A router of `StrictRoute`s whose answers are encoded by themselves. `responses` hold for every route of it."""
    return APIRouter(
        prefix=prefix, route_class=StrictRoute, default_response_class=Response, tags=None if tag is None else [tag],
        responses=dict(responses or {}),
    )  # fmt: skip


def who(request: Request) -> str:
    """Who calls, for the audit log: the name of a service key, or `local`."""
    name: str = request.state.who
    return name


def answer(request: Request, struct: type[Wire], fields: Fields) -> Response:
    """Fields as JSON, after the id of the request, by the struct that describes them."""
    body = {"request_id": request.state.request_id, **fields}
    return Response(msgspec.json.encode(msgspec.convert(body, struct)), media_type=_JSON)


def existing(fields: Fields | None, kind: str, row_id: str) -> Fields:
    """The fields of a row of the catalogue. Raises Problem 404 where there is none."""
    if fields is None:
        raise Problem(404, f"Found no {kind} {row_id!a} in the catalogue; add it with PUT, or ask for another.")
    return fields


def struct_response(struct: Wire, status: int = 200) -> Response:
    """A struct as JSON."""
    return Response(msgspec.json.encode(struct), status, media_type=_JSON)


def encoded_response(body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """A response whose JSON is encoded already."""
    return Response(body, headers=headers, media_type=_JSON)
