"""Lists without a person, and the page for a guardian and a child."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from recsys.errors import StoreError
from recsys.services import lists
from recsys.services.family import is_guardian, together
from serving.bodies import ListQuery, LocalQuery, TogetherQuery, TrendingQuery
from serving.dependencies import PathId, Service, StrictRoute, json_answer
from serving.openapi import Description, response
from serving.problems import Problem
from serving.responses import Record

_RESPONSES: Final[dict[int | str, Description]] = {200: response(Record, "A list.")}


def list_routes(service: Service) -> APIRouter:
    """
    Lists, not feeds: no ledger counts them, so they hold labelled R0 items only. Show nobody a feed made of them.
    """
    routes = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["lists"], responses=dict(_RESPONSES))

    @routes.get("/local", summary="Creators near a place", response_class=Response)
    def local(request: Request, query: Annotated[LocalQuery, Query()]) -> Response:
        """
        A list, not a feed. Professionals, organisations, peers and creators who have something labelled R0 to show:
        from the region, from one beside it, from the country, the surest places first.
        """
        found = lists.local(
            service.engine(), country=query.country, region=query.region, language=query.language, kind=query.kind,
            size=query.size, at=service.clock.read().at,
        )  # fmt: skip
        return json_answer(request, found)

    @routes.get("/similar/{item_id}", summary="Items like an item", response_class=Response)
    def similar(request: Request, item_id: PathId, query: Annotated[ListQuery, Query()]) -> Response:
        """A list, not a feed: labelled R0 items only. An item that is not labelled R0 has none."""
        found = lists.similar(service.engine(), item_id, query.size, service.clock.read().at)
        if found is None:
            raise Problem(404, f"Found no item {item_id!a} in the catalogue; ask for another.")
        return json_answer(request, found)

    @routes.get("/trending", summary="What a market acts on", response_class=Response)
    def trending(request: Request, query: Annotated[TrendingQuery, Query()]) -> Response:
        """A list, not a feed: labelled R0 items only, one of each group of copies, two of a creator at most."""
        found = lists.trending(
            service.engine(), country=query.country, region=query.region, language=query.language, size=query.size,
            at=service.clock.read().at,
        )  # fmt: skip
        return json_answer(request, found)

    return routes


def family_routes(service: Service) -> APIRouter:
    """`/v1/families/{guardian_id}/together`."""
    routes = APIRouter(prefix="/v1/families", route_class=StrictRoute, tags=["families"], responses=dict(_RESPONSES))

    @routes.get("/{guardian_id}/together", summary="Something to watch and talk about", response_class=Response)
    def for_both(request: Request, guardian_id: PathId, query: Annotated[TogetherQuery, Query()]) -> Response:
        """
        Labelled R0 items on supportive topics, starters for families (S6) first, that the child's and the guardian's
        policy both accept. Counted for the child, then for the guardian; if that fails, `degraded` says so and the page
        stands. Nothing in it comes from what either of them watched.
        """
        engine, time = service.engine(), service.clock.read()
        if time.ahead:
            raise StoreError("pages for two wait until the clock is put right or confirmed; ask again later")
        if query.child_id == guardian_id or not is_guardian(engine, guardian_id, query.child_id):
            raise Problem(404, "Found no such pair; the child's profile has to name the guardian in guardian_id.")
        found = together(engine, guardian_id, query.child_id, size=query.size, request_id=query.request_id, at=time.at)
        return json_answer(request, found)

    return routes
