"""Feeds and events. Plain functions: the framework runs them in its thread pool."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from recsys.errors import StoreError
from recsys.feed.engine import Page, feed, safe_page
from recsys.messages import EventsResponse, FeedRequest, FeedResponse
from recsys.services.events import accept_events
from serving.bodies import EventBody, EventsBody, FeedBody, ShortForm
from serving.dependencies import PathId, Service, StrictRoute, bytes_answer, struct_answer
from serving.openapi import response
from serving.problems import MAX_ERRORS

_EVENT_FIELDS: Final = frozenset(EventBody.model_fields)
_RETRY: Final = {"Retry-After": {"description": "Seconds; comes with an empty page.", "schema": {"type": "integer"}}}


def feed_routes(service: Service) -> APIRouter:
    """`/v1/feed` and `/v1/events`."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute)

    @routes.post(
        "/feed",
        tags=["feed"],
        summary="One page for a person",
        response_class=Response,
        responses={200: response(FeedResponse, "A page.", headers=_RETRY)},
    )
    def post_feed(body: FeedBody) -> Response:
        return _answer(_page(service, body.to_request()))

    @routes.get(
        "/feed/{user_id}",
        tags=["feed"],
        summary="One page for a person, the short form",
        response_class=Response,
        responses={200: response(FeedResponse, "A page.", headers=_RETRY)},
    )
    def get_feed(user_id: PathId, query: Annotated[ShortForm, Query()]) -> Response:
        return _answer(_page(service, FeedRequest(user_id=user_id, size=query.size)))

    @routes.post(
        "/events",
        tags=["events"],
        summary="What people did, in batches",
        response_class=Response,
        responses={200: response(EventsResponse, "Accepted events are on disk.")},
    )
    def post_events(request: Request, body: EventsBody) -> Response:
        _check_fields(body.events)
        time = service.clock.read()
        if time.ahead:
            raise StoreError("events wait until the clock is put right or confirmed; send them again later")
        receipt = accept_events(service.engine(), body.events, time.at)
        answer = EventsResponse(
            request_id=request.state.request_id,
            accepted=receipt.accepted,
            duplicates=receipt.duplicates,
            rejected=receipt.rejected,
        )
        return struct_answer(answer)

    return routes


def _page(service: Service, request: FeedRequest) -> Page:
    """A page; while the clock is not believed, one from the safe list, which no window has to count."""
    engine, time = service.engine(), service.clock.read()
    if not time.ahead:
        return feed(engine, request, time.at)
    named = msgspec.structs.replace(request, request_id=request.request_id or engine.new_id())
    return safe_page(engine, named, time.at)


def _answer(page: Page) -> Response:
    """The page as it is. Hot path: the framework never serialises it."""
    if page.retry_after_s is None:
        return bytes_answer(page.answer)
    return bytes_answer(page.answer, {"Retry-After": str(page.retry_after_s)})


def _check_fields(events: Sequence[Mapping[str, Any]]) -> None:
    """A field that no event has is a typo: the batch is refused, as every other request with one."""
    unknown = (
        {"type": "extra_forbidden", "loc": ("body", "events", index, name), "msg": "", "input": event[name]}
        for index, event in enumerate(events)
        for name in event
        if name not in _EVENT_FIELDS
    )
    first = list(islice(unknown, MAX_ERRORS))
    if first:
        raise RequestValidationError(first)
