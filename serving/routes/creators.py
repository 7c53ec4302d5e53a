"""Creators: their records, and the report of what was delivered of them."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from recsys.services import creators as records
from recsys.stores.protocols import Catalogue
from serving.bodies import CreatorBody, CreatorPatch
from serving.dependencies import PathId, Service, StrictRoute, json_answer
from serving.openapi import Description, response
from serving.problems import Problem
from serving.responses import Record

_RESPONSES: Final[dict[int | str, Description]] = {200: response(Record, "As stored.")}


def creator_routes(service: Service) -> APIRouter:
    """`/v1/creators/{creator_id}`. What is written binds the next page."""
    routes = APIRouter(prefix="/v1/creators", route_class=StrictRoute, tags=["creators"], responses=dict(_RESPONSES))

    def catalogue() -> Catalogue:
        return service.engine().resources.catalogue_cache.catalogue

    @routes.get("/{creator_id}", summary="One creator, also a hidden one", response_class=Response)
    def get(request: Request, creator_id: PathId) -> Response:
        return json_answer(request, _found(records.get_creator(catalogue(), creator_id), creator_id))

    @routes.put("/{creator_id}", summary="Add or replace a creator", response_class=Response)
    def put(request: Request, creator_id: PathId, body: CreatorBody) -> Response:
        """Where their items count as local follows from it at once."""
        return json_answer(
            request,
            records.put_creator(catalogue(), creator_id, body.stated("creator_id", creator_id), service.clock()),
        )

    @routes.patch("/{creator_id}", summary="Change some fields of a creator", response_class=Response)
    def patch(request: Request, creator_id: PathId, body: CreatorPatch) -> Response:
        stored = records.patch_creator(catalogue(), creator_id, body.stated("creator_id", creator_id), service.clock())
        return json_answer(request, _found(stored, creator_id))

    @routes.delete("/{creator_id}", summary="Take a creator and all their items down", response_class=Response)
    def delete(request: Request, creator_id: PathId) -> Response:
        """No page holds anything of theirs from now on. The id stays taken; what was counted of them stays counted."""
        if not records.delete_creator(catalogue(), creator_id, service.clock()):
            _found(None, creator_id)
        return json_answer(request, {"creator_id": creator_id, "is_hidden": True})

    @routes.get("/{creator_id}/exposure", summary="What was delivered of a creator", response_class=Response)
    def exposure(request: Request, creator_id: PathId) -> Response:
        """
        Impressions by the viewers' market and region, slots won by the local floor, by exploration and by score, and
        each item's label with its reason. Nobody is named; regions, and other countries, with fewer than five
        impressions are one number.
        """
        found = records.exposure(service.engine(), creator_id, service.clock())
        return json_answer(request, _found(found, creator_id))

    return routes


def _found(fields: Mapping[str, Any] | None, creator_id: str) -> Mapping[str, Any]:
    if fields is None:
        raise Problem(404, f"Found no creator {creator_id!a} in the catalogue; add it with PUT, or ask for another.")
    return fields
