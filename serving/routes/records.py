"""Profiles of users, and items of the live catalogue."""

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from recsys.services import items
from recsys.services.profiles import get_profile, put_profile
from recsys.services.reviews import ask_review, label_item
from recsys.stores.protocols import Catalogue
from serving.bodies import ItemBody, ItemPatch, ItemsQuery, UserBody
from serving.dependencies import Dependencies, PathId, answer, existing, strict_router, struct_response, who
from serving.openapi import WRITTEN_MEANWHILE, Description, ok, response
from serving.responses import Item, ItemPage, ItemTakenDown, Review, User

_USER: Final[dict[int | str, Description]] = {200: response(User, "The profile.")}
_ITEM: Final[dict[int | str, Description]] = {200: response(Item, "As stored.")}


def user_routes(deps: Dependencies) -> APIRouter:
    """`/v1/users/{user_id}`."""
    routes = strict_router("/v1/users", "users", _USER)

    @routes.get("/{user_id}", summary="The profile in force")
    def get_user(request: Request, user_id: PathId) -> Response:
        """What nobody stated is null. An unknown user has a profile of nulls, and is served."""
        return answer(request, User, get_profile(deps.engine(), user_id))

    @routes.put("/{user_id}", summary="Replace a profile")
    def put_user(request: Request, user_id: PathId, body: UserBody) -> Response:
        fields = body.model_dump(exclude_unset=True)
        return answer(request, User, put_profile(deps.engine(), user_id, fields, deps.clock()))

    return routes


def item_routes(deps: Dependencies) -> APIRouter:
    """`/v1/items/{item_id}`. A change holds from the next page on."""
    routes = strict_router("/v1/items", "items", _ITEM | WRITTEN_MEANWHILE)

    def catalogue() -> Catalogue:
        return deps.engine().resources.catalogue_cache.catalogue

    @routes.get("", summary="All items, page by page", responses=ok(ItemPage))
    def list_items(request: Request, query: Annotated[ItemsQuery, Query()]) -> Response:
        """In order of their arrival, hidden ones too. `next` is null on the last page."""
        return answer(request, ItemPage, items.list_items(deps.engine(), query.after, query.size))

    @routes.get("/{item_id}", summary="One item, also a hidden one")
    def get_item(request: Request, item_id: PathId) -> Response:
        return answer(request, Item, existing(items.get_item(catalogue(), item_id), "item", item_id))

    @routes.put("/{item_id}", summary="Add or replace an item")
    def put_item(request: Request, item_id: PathId, body: ItemBody) -> Response:
        fields = body.stated("item_id", item_id)
        return answer(request, Item, items.put_item(catalogue(), item_id, fields, deps.clock(), who(request)))

    @routes.patch("/{item_id}", summary="Change some fields of an item")
    def patch_item(request: Request, item_id: PathId, body: ItemPatch) -> Response:
        fields = body.stated("item_id", item_id)
        stored = label_item(deps.engine(), item_id, fields, deps.clock(), who(request))
        return answer(request, Item, existing(stored, "item", item_id))

    @routes.delete("/{item_id}", summary="Take an item down", responses=ok(ItemTakenDown))
    def delete_item(request: Request, item_id: PathId) -> Response:
        """No page holds it from now on, not even a repeated one. PATCH with `is_hidden` false restores it."""
        if not items.delete_item(catalogue(), item_id, deps.clock(), who(request)):
            existing(None, "item", item_id)
        return answer(request, ItemTakenDown, {"item_id": item_id, "is_hidden": True})

    described: dict[int | str, Description] = {200: response(Review, "The latest review of the item.")}

    @routes.post("/{item_id}/review", summary="Ask for a review", responses=described)
    def request_review(request: Request, item_id: PathId) -> Response:
        """
        A person is to look at the label of the item, or at its takedown. The review waits in the operator's queue and
        is due within the policy's `review_hours`. An item has one open review: who asks again gets the standing one.

        An answer holds for 30 days, unless the item counts another tier since. Until the answer the label stays.
        """
        fields = existing(ask_review(deps.engine(), item_id, deps.clock(), who(request)), "item", item_id)
        return struct_response(msgspec.convert({"request_id": request.state.request_id, **fields}, Review))

    return routes
