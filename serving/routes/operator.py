"""What an operator decides."""

from typing import Final

from fastapi import APIRouter, Request, Response

from recsys.clock import to_text
from serving.dependencies import Dependencies, StrictRoute, struct_response, who
from serving.openapi import Description, response
from serving.responses import ConfirmedClock

_RESPONSES: Final[dict[int | str, Description]] = {200: response(ConfirmedClock, "The clock is confirmed.")}


def operator_routes(deps: Dependencies) -> APIRouter:
    """`/v1/operator`."""
    routes = APIRouter(prefix="/v1/operator", route_class=StrictRoute, tags=["operator"], responses=dict(_RESPONSES))

    @routes.post("/confirm-clock", summary="Confirm the server's clock", response_class=Response)
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

    return routes
