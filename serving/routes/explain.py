"""Why a page is as it is, and what another policy would have made of it."""

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from recsys.errors import ConfigError, DataError
from recsys.feed.record import unpack
from recsys.policy.checks import market_of
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.limits import flatten
from recsys.services import explain
from recsys.services.preview import preview
from serving.body_fields import ClientBody, Id
from serving.dependencies import PathId, Service, StrictRoute, json_answer
from serving.openapi import Description, response
from serving.problems import Problem
from serving.responses import Record

Person = Annotated[Id | None, Query(description="Whose request, where two people used one id.")]
_RESPONSES: Final[dict[int | str, Description]] = {200: response(Record, "From the record.")}


def explain_routes(service: Service) -> APIRouter:
    """Decision records, why and why not, replay."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["explanations"], responses=dict(_RESPONSES))

    @routes.get("/requests/{request_id}", summary="The decision record", response_class=Response)
    def record(request: Request, request_id: PathId, user_id: Person = None) -> Response:
        """Two people may use one request_id: `user_id` says whose; without it the newest is meant."""
        _known(service, request_id, user_id)
        return json_answer(request, explain.record_of(service.engine(), request_id, user_id))

    @routes.post("/requests/{request_id}/replay", summary="Choose the page again", response_class=Response)
    def replay(request: Request, request_id: PathId, user_id: Person = None) -> Response:
        """From the record alone, compared byte for byte; and what asking again now would change."""
        _known(service, request_id, user_id)
        return json_answer(request, explain.replay(service.engine(), request_id, user_id))

    @routes.get("/why", summary="Why an item is on a page, or is not", response_class=Response)
    def why(
        request: Request, request_id: Annotated[Id, Query()], item_id: Annotated[Id, Query()], user_id: Person = None
    ) -> Response:
        _known(service, request_id, user_id)
        return json_answer(request, explain.why(service.engine(), request_id, item_id, user_id))

    return routes


def policy_routes(service: Service) -> APIRouter:
    """The policy in force, and another one tried."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["policies"], responses=dict(_RESPONSES))

    @routes.get("/policies", summary="The policy in force", response_class=Response)
    def policies(request: Request) -> Response:
        """The effective limits of every age band, loop level, day and night."""
        book = service.engine().resources.policy
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

    @routes.post("/policies/preview", summary="Try a policy on logged requests", response_class=Response)
    def try_policy(request: Request, body: PreviewBody) -> Response:
        """The newest pages chosen again under another policy: tiers, short pages and the pages that would differ."""
        engine = service.engine()
        try:
            book = CompiledPolicy(market_of(body.policy))
        except ConfigError as error:
            raise DataError(*error.problems) from error
        records = [unpack(stored.decision) for stored in engine.stores.decisions.newest(body.last)]
        found, ids = preview(book, records), engine.resources.catalogue_cache.items.item_ids
        changed = [
            {"request_id": c.request_id, "before": [ids[n] for n in c.before], "after": [ids[n] for n in c.after]}
            for c in found.changed
        ]
        return json_answer(request, {**asdict(found), "changed": changed})

    return routes


class PreviewBody(ClientBody):
    """A policy as YAML, and on how many of the newest requests to try it."""

    policy: Annotated[str, Field(max_length=50_000, description="A policy file, as text.")]
    last: Annotated[int, Field(ge=1, le=1_000)] = 200


def _known(service: Service, request_id: str, user_id: str | None) -> None:
    if explain.found(service.engine(), request_id, user_id) is None:
        raise Problem(404, f"Found no record of request {request_id!a}; records are kept for a limited time.")


def _plain(values: Any) -> dict[str, Any]:
    return {path: sorted(value) if isinstance(value, frozenset) else value for path, value in values.items()}
