"""What every route works with, and how routes read and answer."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from fastapi import Path, Request, Response
from fastapi.routing import APIRoute
from pydantic import BeforeValidator

from recsys.feed.engine import Engine
from recsys.messages import Wire
from serving.body_fields import Id
from serving.clock_guard import SteadyClock
from serving.problems import SLASH_OF_ID, Problem

PathId = Annotated[Id, BeforeValidator(lambda text: text.replace(SLASH_OF_ID, "/")), Path()]
_JSON: Final = "application/json"
MAX_FIELDS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """`engine` gives the engine of the moment; a request keeps the one it started with."""

    engine: Callable[[], Engine]
    clock: SteadyClock


class StrictRequest(Request):
    """A request whose JSON is JSON: no NaN, no second encoding, no half characters."""

    async def json(self) -> Any:
        """The parsed body. Raises Problem."""
        try:
            return _with_few_fields(msgspec.json.decode(await self.body()))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(400, f"Found a body that is not JSON in UTF-8 ({error}); correct it.") from error
        except RecursionError as error:
            raise Problem(400, "Found a body nested too deep; no request needs that.") from error


def _with_few_fields(body: Any) -> Any:
    """The body, when no object in it has more fields than any request has: to name a million typos takes long."""
    objects = [body, *body.values()] if isinstance(body, dict) else []
    most = max((len(found) for found in objects if isinstance(found, dict)), default=0)
    if most > MAX_FIELDS:
        raise Problem(422, f"Found an object of {most:,} fields, expected at most {MAX_FIELDS}; see /openapi.json.")
    return body


class StrictRoute(APIRoute):
    """A route that reads `StrictRequest`s, and asks for the media type before it reads."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handler = super().get_route_handler()
        has_body = self.body_field is not None

        async def strict(request: Request) -> Response:
            if has_body and request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
                raise Problem(
                    415, "Found a body of another type; send it with the header Content-Type: application/json."
                )
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def json_answer(request: Request, fields: Mapping[str, Any]) -> Response:
    """An answer with the id of its request first."""
    body = {"request_id": request.state.request_id, **fields}
    return Response(msgspec.json.encode(body), media_type=_JSON)


def struct_answer(struct: Wire, status: int = 200) -> Response:
    """A struct as JSON."""
    return Response(msgspec.json.encode(struct), status, media_type=_JSON)


def bytes_answer(body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that is encoded already."""
    return Response(body, headers=headers, media_type=_JSON)
