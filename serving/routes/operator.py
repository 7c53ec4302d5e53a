"""What only an operator decides."""

from typing import Final

from fastapi import APIRouter, Request, Response

from recsys.clock import to_text
from serving.dependencies import Service, StrictRoute, struct_answer
from serving.openapi import Description, response
from serving.responses import ConfirmedClock

_RESPONSES: Final[dict[int | str, Description]] = {200: response(ConfirmedClock, "The clock is believed.")}


def operator_routes(service: Service) -> APIRouter:
    """`/v1/operator`."""
    routes = APIRouter(prefix="/v1/operator", route_class=StrictRoute, tags=["operator"], responses=dict(_RESPONSES))

    @routes.post("/confirm-clock", summary="Believe the server's clock", response_class=Response)
    def confirm_clock(request: Request) -> Response:
        """
        After the clock jumped by more than an hour: it is right now, and pages may be made by it again.

        Look at the clock first. If it is wrong, confirming frees every window by as much as it is ahead.
        """
        time = service.clock.confirm()
        confirmed = ConfirmedClock(
            request_id=request.state.request_id, at=to_text(time.at), was_ahead_s=time.ahead / 1_000
        )
        return struct_answer(confirmed)

    return routes
