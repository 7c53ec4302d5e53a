"""Creators: their records, and the report of their deliveries."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from recsys.services import creators as records
from recsys.stores.protocols import Catalogue
from serving.bodies import CreatorBody, CreatorPatch, CreatorsQuery
from serving.dependencies import Dependencies, PathId, answer, existing, strict_router, who
from serving.openapi import WRITTEN_MEANWHILE, Description, ok, response
from serving.reports import CreatorExposureReport
from serving.responses import Creator, CreatorPage, CreatorTakenDown

_RESPONSES: Final[dict[int | str, Description]] = {200: response(Creator, "As stored.")}


def creator_routes(deps: Dependencies) -> APIRouter:
    """`/v1/creators/{creator_id}`. A change holds from the next page on."""
    routes = strict_router("/v1/creators", "creators", _RESPONSES | WRITTEN_MEANWHILE)

    def catalogue() -> Catalogue:
        return deps.engine().resources.catalogue_cache.catalogue

    @routes.get("", summary="All creators, page by page", responses=ok(CreatorPage))
    def list_creators(request: Request, query: Annotated[CreatorsQuery, Query()]) -> Response:
        """By their ids, hidden ones too. `next` is null on the last page."""
        return answer(request, CreatorPage, records.list_creators(deps.engine(), query.after, query.size))

    @routes.get("/{creator_id}", summary="One creator, also a hidden one")
    def get_creator(request: Request, creator_id: PathId) -> Response:
        return answer(request, Creator, existing(records.get_creator(catalogue(), creator_id), "creator", creator_id))

    @routes.put("/{creator_id}", summary="Add or replace a creator")
    def put_creator(request: Request, creator_id: PathId, body: CreatorBody) -> Response:
        """The places where their items count as local change at once."""
        fields = body.stated("creator_id", creator_id)
        stored = records.put_creator(catalogue(), creator_id, fields, deps.clock(), who(request))
        return answer(request, Creator, stored)

    @routes.patch("/{creator_id}", summary="Change some fields of a creator")
    def patch_creator(request: Request, creator_id: PathId, body: CreatorPatch) -> Response:
        fields = body.stated("creator_id", creator_id)
        stored = records.patch_creator(catalogue(), creator_id, fields, deps.clock(), who(request))
        return answer(request, Creator, existing(stored, "creator", creator_id))

    @routes.delete("/{creator_id}", summary="Take a creator and all their items down", responses=ok(CreatorTakenDown))
    def delete_creator(request: Request, creator_id: PathId) -> Response:
        """No page holds an item of theirs from now on. The id stays in use, and their counts stay."""
        if not records.delete_creator(catalogue(), creator_id, deps.clock(), who(request)):
            existing(None, "creator", creator_id)
        return answer(request, CreatorTakenDown, {"creator_id": creator_id, "is_hidden": True})

    @routes.get(
        "/{creator_id}/exposure", summary="What was delivered of a creator", responses=ok(CreatorExposureReport)
    )
    def get_creator_exposure(request: Request, creator_id: PathId) -> Response:
        """
        Impressions by market and region of the viewers, slots by attribution (local floor, exploration, score), and
        the label of each item with its reason.

        It names no viewer. Regions and other countries with fewer than five impressions are added up.
        """
        report = records.exposure(deps.engine(), creator_id, deps.clock())
        return answer(request, CreatorExposureReport, existing(report, "creator", creator_id))

    return routes
