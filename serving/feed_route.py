"""
`POST /v1/feed` in front of the framework, for requests that are plainly right.

A request that reads without a doubt is answered here. Every other goes on to the framework's route with its body, so
that each refusal, and the description of the interface, has one source. What is read here is read there to the same
request: the bounds of both come from the structs in `recsys.messages`.
"""

import asyncio
import contextvars
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.errors import SanadError
from recsys.feed.engine import Page
from recsys.messages import Context, FeedRequest, PauseChoice
from serving.dependencies import Dependencies, is_json
from serving.problems import error_response
from serving.routes.feed import make_page, page_response

PATH: Final = "/v1/feed"


def _names_of(struct: type[msgspec.Struct], **inner: object) -> type[msgspec.Struct]:
    """A struct with the names of another one, which refuses other names and reads no value but those of `inner`."""
    names = [(name, inner.get(name, msgspec.Raw), None) for name in struct.__struct_fields__]
    return msgspec.defstruct(f"{struct.__name__}Names", names, forbid_unknown_fields=True)


_NAMES: Final = msgspec.json.Decoder(
    _names_of(FeedRequest, context=_names_of(Context), pause_choice=_names_of(PauseChoice) | None)
)
_FIELDS: Final = msgspec.json.Decoder(FeedRequest)


@dataclass(frozen=True, slots=True)
class FeedRoute:
    """
    Answers `POST /v1/feed` with the help of `pool`, and passes everything else on to `app`. Raises what is no
    SanadError.

    Expects the body in one message, as `RequestGuard` gives it.
    """

    app: ASGIApp
    deps: Dependencies
    pool: Executor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST" or not is_json(scope):
            await self.app(scope, receive, send)
            return
        scope["state"]["route"] = PATH
        message = await receive()
        request = read_request(message.get("body", b""))
        if request is None:
            await self.app(scope, _once_more(message, receive), send)
            return
        try:
            in_context = contextvars.copy_context().run
            page = await asyncio.get_running_loop().run_in_executor(
                self.pool, in_context, self._page, request, time.perf_counter()
            )
        except SanadError as error:
            await error_response(error, scope)(scope, receive, send)
        else:
            await page_response(page)(scope, receive, send)

    def _page(self, request: FeedRequest, asked: float) -> Page:
        self.deps.metrics.took("wait", time.perf_counter() - asked)
        return make_page(self.deps, request)


def _once_more(message: Message, receive: Receive) -> Receive:
    """A message that was received, then what follows it."""
    waiting = [message]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def read_request(body: bytes) -> FeedRequest | None:
    """The request in a body, or None for a body that somebody else has to judge."""
    try:
        _NAMES.decode(body)
        request: FeedRequest = _FIELDS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return request if _is_plain(request) else None


def _is_plain(request: FeedRequest) -> bool:
    """Whether a request keeps the rules that its struct does not hold: see `serving.bodies` and `body_fields`."""
    context, choice = request.context, request.pause_choice
    single: tuple[Any, ...] = (request.user_id, request.request_id, request.session_id, request.anchor_item_id)
    ids = [name for name in single if name is not None]
    ids += request.exclude_ids
    ids += request.candidate_ids or ()
    ids += () if choice is None else (choice.pause_id,)
    places = (
        context.country or "", context.region or "", *(context.languages or ()), *(request.languages_only or ()),
    )  # fmt: skip
    return (
        (request.query is not None) == (request.surface == "search")
        and (request.anchor_item_id is not None) == (request.surface == "related")
        and all(name.isprintable() and not name.isspace() for name in ids)
        and not any(place.endswith("\n") for place in places)  # `$` of Python's expressions lets one end a line
    )
