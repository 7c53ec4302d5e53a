"""Why a page is as it is."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from recsys import explain
from recsys.policy.limits import flatten
from serving.answers import RecordAnswer
from serving.problems import Problem
from serving.schemas import Id
from serving.service import PathId, Service, StrictRoute, json_answer

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {200: {"model": RecordAnswer, "description": "From the record."}}


def explain_routes(service: Service) -> APIRouter:
    """Decision records, why and why not, replay, and the policy in force."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["explanations"], responses=dict(_ANSWERS))

    @routes.get("/requests/{request_id}", summary="The decision record", response_class=Response)
    def record(request: Request, request_id: PathId) -> Response:
        _known(service, request_id)
        return json_answer(request, explain.record_of(service.engine(), request_id))

    @routes.post("/requests/{request_id}/replay", summary="Choose the page again", response_class=Response)
    def replay(request: Request, request_id: PathId) -> Response:
        """From the record alone, compared byte for byte; and what asking again now would change."""
        _known(service, request_id)
        return json_answer(request, explain.replay(service.engine(), request_id))

    @routes.get("/why", summary="Why an item is on a page, or is not", response_class=Response)
    def why(request: Request, request_id: Annotated[Id, Query()], item_id: Annotated[Id, Query()]) -> Response:
        _known(service, request_id)
        return json_answer(request, explain.why(service.engine(), request_id, item_id))

    @routes.get("/policies", summary="The policy in force", response_class=Response)
    def policies(request: Request) -> Response:
        """The effective limits of every age band, loop level, day and night."""
        book = service.engine().known.book
        limits = [
            {"age_band": band, "loop_level": level, "is_night": night, "limits": _plain(flatten(found))}
            for (band, level, night), found in book.limits.items()
        ]
        market = book.market
        return json_answer(
            request,
            {
                "market": market.market,
                "version": market.version,
                "signed_off": None if market.signed_off is None else market.signed_off.name,
                "limits": limits,
            },
        )

    return routes


def _known(service: Service, request_id: str) -> None:
    if service.engine().users.decision(request_id) is None:
        raise Problem(404, f"Found no record of request {request_id!a}; records are kept for a limited time.")


def _plain(values: Any) -> dict[str, Any]:
    return {path: sorted(value) if isinstance(value, frozenset) else value for path, value in values.items()}
