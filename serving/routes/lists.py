"""Lists that are for nobody in particular, and the family feed."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from recsys.services import lists
from recsys.services.family import is_guardian, together
from serving.bodies import LatestQuery, ListQuery, LocalQuery, TogetherQuery, TrendingQuery
from serving.dependencies import Dependencies, PathId, answer, strict_router
from serving.openapi import ok, refused
from serving.problems import Problem, waiting_for_clock
from serving.reports import FamilyPage
from serving.responses import LatestItems, LocalCreators, SimilarItems, TrendingItems


def list_routes(deps: Dependencies) -> APIRouter:
    """Lists. No ledger counts them, so they hold labelled R0 items only, and no feed may be made of them."""
    routes = strict_router("/v1", "lists")

    @routes.get("/local", summary="Creators near a place", responses=ok(LocalCreators))
    def list_local_creators(request: Request, query: Annotated[LocalQuery, Query()]) -> Response:
        """
        A list, not a feed. It holds professionals, organisations, peers and creators with a labelled R0 item.

        The region comes first, then its neighbours, then the country; within each, the best-confirmed places.
        """
        fields = lists.local(
            deps.engine(), country=query.country, region=query.region, language=query.language, kind=query.kind,
            size=query.size, at=deps.clock.read().at,
        )  # fmt: skip
        return answer(request, LocalCreators, fields)

    @routes.get("/similar/{item_id}", summary="Items like an item", responses=ok(SimilarItems))
    def list_similar_items(request: Request, item_id: PathId, query: Annotated[ListQuery, Query()]) -> Response:
        """A list, not a feed: labelled R0 items only. For an item that is not labelled R0 it is empty."""
        fields = lists.similar(deps.engine(), item_id, query.size, deps.clock.read().at)
        if fields is None:
            raise Problem(404, f"Found no item {item_id!a} in the catalogue; ask for another.")
        return answer(request, SimilarItems, fields)

    @routes.get("/trending", summary="Items that a market acts on most", responses=ok(TrendingItems))
    def list_trending_items(request: Request, query: Annotated[TrendingQuery, Query()]) -> Response:
        """A list, not a feed: labelled R0 items only, one of each group of copies, at most two of a creator."""
        fields = lists.trending(
            deps.engine(), country=query.country, region=query.region, language=query.language, size=query.size,
            at=deps.clock.read().at,
        )  # fmt: skip
        return answer(request, TrendingItems, fields)

    @routes.get("/latest", summary="Items that were published last", responses=ok(LatestItems))
    def list_latest_items(request: Request, query: Annotated[LatestQuery, Query()]) -> Response:
        """A list, not a feed: labelled R0 items only, one of each group of copies, at most two of a creator."""
        fields = lists.latest(
            deps.engine(), region=query.region, language=query.language, size=query.size, at=deps.clock.read().at
        )
        return answer(request, LatestItems, fields)

    return routes


def family_routes(deps: Dependencies) -> APIRouter:
    """`/v1/families/{guardian_id}/together`."""
    routes = strict_router("/v1/families", "families")

    @routes.get(
        "/{guardian_id}/together",
        summary="One page for a child and a guardian to watch together",
        responses=ok(FamilyPage) | refused(409, "The request_id was used within 24 h for another request."),
    )
    def make_family_page(request: Request, guardian_id: PathId, query: Annotated[TogetherQuery, Query()]) -> Response:
        """
        Labelled R0 items on supportive topics, those for families (S6) first, that the limits of both accept.

        The page counts for the child, then for the guardian. If the second fails, `degraded` says so and the page
        stands. Nothing in it comes from what either of them watched.
        """
        engine, time = deps.engine(), deps.clock.read()
        if time.is_ahead:
            raise waiting_for_clock("Family feeds")
        if query.child_id == guardian_id or not is_guardian(engine, guardian_id, query.child_id):
            raise Problem(404, "Found no such pair; set guardian_id in the profile of the child.")
        page = together(engine, guardian_id, query.child_id, size=query.size, request_id=query.request_id, at=time.at)
        return answer(request, FamilyPage, page)

    return routes
