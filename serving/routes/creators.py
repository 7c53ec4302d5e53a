"""Creators: their records, and the report of their deliveries."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from recsys.services import creators as records
from recsys.stores.protocols import Catalogue
from serving.bodies import CreatorBody, CreatorPatch, CreatorsQuery
from serving.dependencies import Dependencies, PathId, StrictRoute, answer, existing, record_response, who
from serving.openapi import WRITTEN_MEANWHILE, Description, response
from serving.responses import Creator, CreatorPage, CreatorTakenDown, Record

_RESPONSES: Final[dict[int | str, Description]] = {200: response(Creator, "As stored.")}


def creator_routes(deps: Dependencies) -> APIRouter:
    """`/v1/creators/{creator_id}`. A change holds from the next page on."""
    routes = APIRouter(
        prefix="/v1/creators", route_class=StrictRoute, tags=["creators"], responses=_RESPONSES | WRITTEN_MEANWHILE
    )

    def catalogue() -> Catalogue:
        return deps.engine().resources.catalogue_cache.catalogue

    @routes.get(
        "", summary="All creators, page by page", response_class=Response,
        responses={200: response(CreatorPage, "A page of creators.")},
    )  # fmt: skip
    def every(request: Request, query: Annotated[CreatorsQuery, Query()]) -> Response:
        """By their ids, hidden ones too. `next` is null on the last page."""
        cache, users = deps.engine().resources.catalogue_cache, deps.engine().stores.users
        cache.at_least(users.read("").revision)
        return answer(request, CreatorPage, records.list_creators(catalogue(), cache.creators, query.after, query.size))

    @routes.get("/{creator_id}", summary="One creator, also a hidden one", response_class=Response)
    def get(request: Request, creator_id: PathId) -> Response:
        return answer(request, Creator, existing(records.get_creator(catalogue(), creator_id), "creator", creator_id))

    @routes.put("/{creator_id}", summary="Add or replace a creator", response_class=Response)
    def put(request: Request, creator_id: PathId, body: CreatorBody) -> Response:
        """The places where their items count as local change at once."""
        return answer(
            request,
            Creator,
            records.put_creator(
                catalogue(), creator_id, body.stated("creator_id", creator_id), deps.clock(), who(request)
            ),
        )

    @routes.patch("/{creator_id}", summary="Change some fields of a creator", response_class=Response)
    def patch(request: Request, creator_id: PathId, body: CreatorPatch) -> Response:
        fields = body.stated("creator_id", creator_id)
        stored = records.patch_creator(catalogue(), creator_id, fields, deps.clock(), who(request))
        return answer(request, Creator, existing(stored, "creator", creator_id))

    @routes.delete(
        "/{creator_id}", summary="Take a creator and all their items down", response_class=Response,
        responses={200: response(CreatorTakenDown, "Their items are on no page from now on.")},
    )  # fmt: skip
    def delete(request: Request, creator_id: PathId) -> Response:
        """No page holds an item of theirs from now on. The id stays in use, and their counts stay."""
        if not records.delete_creator(catalogue(), creator_id, deps.clock(), who(request)):
            existing(None, "creator", creator_id)
        return answer(request, CreatorTakenDown, {"creator_id": creator_id, "is_hidden": True})

    @routes.get(
        "/{creator_id}/exposure", summary="What was delivered of a creator", response_class=Response,
        responses={200: response(Record, "The report.")},
    )  # fmt: skip
    def exposure(request: Request, creator_id: PathId) -> Response:
        """
        Impressions by market and region of the viewers, slots by attribution (local floor, exploration, score), and
        the label of each item with its reason.

        It names no viewer. Regions and other countries with fewer than five impressions are added up.
        """
        report = records.exposure(deps.engine(), creator_id, deps.clock())
        return record_response(request, existing(report, "creator", creator_id))

    return routes
