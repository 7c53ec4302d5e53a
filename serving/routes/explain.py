"""Explanations of a page, and previews of another policy."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from recsys.errors import ConfigError, DataError
from recsys.feed.record import unpack
from recsys.policy.checks import market_of
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.limits import plain_limits
from recsys.services import explain
from recsys.services.preview import preview
from serving.body_fields import ClientBody, Id
from serving.dependencies import Dependencies, PathId, answer, strict_router
from serving.openapi import ok
from serving.problems import Problem
from serving.reports import DecisionReport, PolicyInForce, PolicyPreview, Replay, Why

UserOfRequest = Annotated[Id | None, Query(description="The user of the request, if two users chose the same id.")]


def explain_routes(deps: Dependencies) -> APIRouter:
    """Decision records, their replay, and why an item is on a page or not."""
    routes = strict_router("/v1", "explanations")

    @routes.get("/requests/{request_id}", summary="The decision record", responses=ok(DecisionReport))
    def get_decision(request: Request, request_id: PathId, user_id: UserOfRequest = None) -> Response:
        """Two users may choose the same request_id: `user_id` names the user. Without it, the newest record counts."""
        _check_record(deps, request_id, user_id)
        return answer(request, DecisionReport, explain.record_of(deps.engine(), request_id, user_id))

    @routes.post("/requests/{request_id}/replay", summary="Select the page again", responses=ok(Replay))
    def replay_decision(request: Request, request_id: PathId, user_id: UserOfRequest = None) -> Response:
        """From the record alone, compared byte by byte; and what a new request would change."""
        _check_record(deps, request_id, user_id)
        return answer(request, Replay, explain.replay(deps.engine(), request_id, user_id))

    @routes.get("/why", summary="Why an item is on a page, or is not", responses=ok(Why))
    def explain_item(
        request: Request,
        request_id: Annotated[Id, Query()],
        item_id: Annotated[Id, Query()],
        user_id: UserOfRequest = None,
    ) -> Response:
        _check_record(deps, request_id, user_id)
        return answer(request, Why, explain.why(deps.engine(), request_id, item_id, user_id))

    return routes


def policy_routes(deps: Dependencies) -> APIRouter:
    """The policy in force, and the preview of another one."""
    routes = strict_router("/v1", "policies")

    @routes.get("/policies", summary="The policy in force", responses=ok(PolicyInForce))
    def get_policy(request: Request) -> Response:
        """The effective limits of every age band, loop level, day and night."""
        policy = deps.engine().resources.policy
        limits = [
            {"age_band": band, "loop_level": level, "is_night": night, "limits": plain_limits(values)}
            for (band, level, night), values in policy.limits.items()
        ]
        market = policy.market
        return answer(
            request,
            PolicyInForce,
            {
                "market": market.market,
                "version": market.version,
                "signed_off": None if market.signed_off is None else market.signed_off.name,
                "limits": limits,
            },
        )

    @routes.post("/policies/preview", summary="Preview a policy on logged requests", responses=ok(PolicyPreview))
    def preview_policy(request: Request, body: PreviewBody) -> Response:
        """Select the newest pages again under another policy: tiers, shortfalls, and which pages would differ."""
        engine = deps.engine()
        try:
            policy = CompiledPolicy(market_of(body.policy))
        except ConfigError as error:
            raise DataError(*error.problems) from error
        records = [unpack(stored.decision) for stored in engine.stores.decisions.newest(body.last)]
        previewed, ids = preview(policy, records), engine.resources.catalogue_cache.items.item_ids
        changed = [
            {"request_id": c.request_id, "before": [ids[n] for n in c.before], "after": [ids[n] for n in c.after]}
            for c in previewed.changed
        ]
        return answer(request, PolicyPreview, {**asdict(previewed), "changed": changed})

    return routes


class PreviewBody(ClientBody):
    """A policy file, and how many of the newest requests to preview it on."""

    policy: Annotated[str, Field(max_length=50_000, description="A policy file, as text.")]
    last: Annotated[int, Field(ge=1, le=1_000)] = 200


def _check_record(deps: Dependencies, request_id: str, user_id: str | None) -> None:
    if explain.find_answer(deps.engine(), request_id, user_id) is None:
        raise Problem(404, f"Found no record of request {request_id!a}; records are kept for a limited time.")
