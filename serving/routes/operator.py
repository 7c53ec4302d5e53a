"""What an operator decides."""

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from recsys.clock import to_text
from recsys.services import reviews
from serving.bodies import ReviewAnswer, ReviewsQuery
from serving.dependencies import Dependencies, PathId, strict_router, struct_response, who
from serving.openapi import Description, ok, response
from serving.problems import Problem
from serving.responses import ConfirmedClock, Review, ReviewPage

_RESPONSES: Final[dict[int | str, Description]] = {200: response(ConfirmedClock, "The clock is confirmed.")}


def operator_routes(deps: Dependencies) -> APIRouter:
    """`/v1/operator`."""
    routes = strict_router("/v1/operator", "operator", _RESPONSES)

    @routes.post("/confirm-clock", summary="Confirm the server's clock")
    def confirm_clock(request: Request) -> Response:
        """
        For a clock that is not believed, because it runs ahead of the last committed time or behind it. From now on
        it is, in every process on this state file.

        Check the clock first. If it is wrong, every window is freed by as much as the clock is ahead. A clock that is
        behind sets the last committed time back, and frees nothing.
        """
        time = deps.clock.confirm(who(request))
        confirmed = ConfirmedClock(
            request_id=request.state.request_id, at=to_text(time.at), was_ahead_s=time.ahead_ms / 1_000
        )
        return struct_response(confirmed)

    @routes.get("/reviews", summary="The reviews that wait", responses=ok(ReviewPage))
    def list_reviews(request: Request, query: Annotated[ReviewsQuery, Query()]) -> Response:
        """
        Reviews that creators asked for, each with its age, its due time and where the label comes from. The counts are
        those of all reviews of the last 400 days.
        """
        page = reviews.waiting_reviews(deps.engine(), deps.clock(), query.after, query.size)
        return struct_response(msgspec.convert({"request_id": request.state.request_id, **page}, ReviewPage))

    @routes.post("/reviews/{item_id}", summary="Answer a review", responses=ok(Review))
    def answer_review(request: Request, item_id: PathId, body: ReviewAnswer) -> Response:
        """
        A tier becomes the label of a person, and our own label gives way to it. An empty object upholds the label.
        `PATCH` of an item with a tier from the source `human` answers its review too. 404 where no review is open.
        """
        fields = body.model_dump(exclude_none=True)
        answered = reviews.answer_review(deps.engine(), item_id, fields, deps.clock(), who(request))
        if answered is None:
            raise Problem(
                404, f"Found no open review of item {item_id!a}; GET /v1/operator/reviews lists those there are."
            )
        return struct_response(msgspec.convert({"request_id": request.state.request_id, **answered}, Review))

    return routes
