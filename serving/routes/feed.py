"""Feeds and events. The routes are no coroutines, so the framework runs them in its thread pool."""

from collections.abc import Mapping, Sequence
from itertools import islice
from time import perf_counter
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from recsys.feed.engine import Page, feed, safe_page
from recsys.messages import EventsResponse, FeedRequest, FeedResponse
from recsys.services.events import accept_events
from recsys.types import Fields
from serving.bodies import EventBody, EventsBody, FeedBody, RankBody, ShortForm
from serving.deadline import DEADLINE
from serving.dependencies import Dependencies, PathId, encoded_response, strict_router, struct_response
from serving.field_errors import MAX_ERRORS
from serving.openapi import ok, refused, response
from serving.problems import shed, waiting_for_clock

_EVENT_FIELDS: Final = tuple(EventBody.model_fields)
_RETRY: Final = {
    "Retry-After": {"description": "Seconds. Comes with an empty page only.", "schema": {"type": "integer"}}
}
_USED: Final = "The request_id was used within 24 h for another request."
_OF_A_PAGE: Final = {
    **refused(409, _USED),
    **refused(410, "The cursor has expired. Ask for a page without one."),
}


def feed_routes(deps: Dependencies) -> APIRouter:
    """`/v1/feed`, `/v1/rank` and `/v1/events`."""
    routes = strict_router("/v1", None)

    @routes.post(
        "/feed",
        tags=["feed"],
        summary="One page for a user",
        responses={200: response(FeedResponse, "A page.", headers=_RETRY), **_OF_A_PAGE},
    )
    def make_feed(body: FeedBody) -> Response:
        return page_response(make_page(deps, body.to_request()))

    @routes.get(
        "/feed/{user_id}",
        tags=["feed"],
        summary="One page for a user, with defaults",
        responses={200: response(FeedResponse, "A page.", headers=_RETRY)},
    )
    def get_feed(user_id: PathId, query: Annotated[ShortForm, Query()]) -> Response:
        return page_response(make_page(deps, query.to_request(user_id)))

    @routes.post(
        "/rank",
        tags=["feed"],
        summary="One page of the caller's candidates",
        responses={200: response(FeedResponse, "A page.", headers=_RETRY), **refused(409, _USED)},
    )
    def rank(body: RankBody) -> Response:
        """
        A feed of the given items alone: the same rules, ledger and record, and it counts like any page.

        A score is the sum of Sanad's parts and of the caller's features, each by its weight; R2 has a constant score.
        Items that the catalogue does not hold come last, in the caller's order. They count as unlabelled: within the
        caps of R2, and never for minors. What is not on the page is counted for nobody.
        """
        return page_response(make_page(deps, body.to_request()))

    @routes.post(
        "/events",
        tags=["events"],
        summary="Report events, in batches",
        responses=ok(EventsResponse),
    )
    def report_events(request: Request, body: EventsBody) -> Response:
        _check_fields(body.events)
        time = deps.clock.read()
        if not time.is_believed:
            raise waiting_for_clock("Events")
        receipt = accept_events(deps.engine(), body.events, time.at)
        deps.metrics.count_events(receipt)
        answer = EventsResponse(
            request_id=request.state.request_id,
            accepted=receipt.accepted,
            duplicates=receipt.duplicates,
            rejected=receipt.rejected,
        )
        return struct_response(answer)

    return routes


def make_page(deps: Dependencies, request: FeedRequest) -> Page:
    """
    A page; while the clock runs ahead one from the safe list, which no window has to count. Raises Problem when it is
    too late to begin one.
    """
    if DEADLINE.get().left_s() < 0:
        raise shed("The page could not be begun in time")
    started = perf_counter()
    engine, time = deps.engine(), deps.clock.read()
    if time.is_ahead:
        identified = msgspec.structs.replace(request, request_id=request.request_id or engine.new_id())
        page = safe_page(engine, identified, time.at)
    else:
        page = feed(engine, request, time.at)
    deps.metrics.took("page", perf_counter() - started)
    deps.metrics.count_page(page)
    return page


def page_response(page: Page) -> Response:
    """The page as it was encoded: the framework does not serialise it again."""
    return encoded_response(page.answer, retry_headers(page))


def retry_headers(page: Page) -> Mapping[str, str] | None:
    """When to ask again, where a page is empty because others of the same person came first."""
    return None if page.retry_after_s is None else {"Retry-After": str(page.retry_after_s)}


def _check_fields(events: Sequence[Fields]) -> None:
    """Raise for a field that no event has: it is a typo, and every request with one is refused."""
    known = {"fields": _EVENT_FIELDS}
    unknown = (
        {
            "type": "extra_forbidden",
            "loc": ("body", "events", index, name),
            "msg": "",
            "input": event[name],
            "ctx": known,
        }
        for index, event in enumerate(events)
        for name in event
        if name not in _EVENT_FIELDS
    )
    errors = list(islice(unknown, MAX_ERRORS))
    if errors:
        raise RequestValidationError(errors)
