"""Controls and rights of users, and limits set by a guardian."""

from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from pydantic import Field

from recsys.services import rights
from recsys.types import JsonObject
from recsys.vocabulary import Tier, Topic
from serving.body_fields import ClientBody, Id, Languages
from serving.dependencies import Dependencies, PathId, answer, strict_router, who
from serving.openapi import ok
from serving.reports import UserExport, UserExposure
from serving.responses import ErasureReceipt, GuardianLimits, Reset, UserControls

Minutes = Annotated[int, Field(ge=0, le=1_440, description="Minutes in any 24 hours.")]


class ControlsBody(ClientBody):
    """What a user sets. A field that is left out returns to its default."""

    muted_topics: Annotated[list[Topic], Field(default_factory=list, max_length=12)]
    muted_creators: Annotated[list[Id], Field(default_factory=list, max_length=500)]
    muted_words: Annotated[list[Id], Field(default_factory=list, max_length=100)]
    calm_mode: bool = Field(default=False, description="Tightens at once. Loosens after clean days only.")
    personalised: bool = Field(default=True, description="False: no history is used.")
    daily_minutes: Minutes | None = None
    local_weight: Annotated[float, Field(ge=0, le=2)] | None = None
    languages: Annotated[Languages, Field(default_factory=list)]
    night_rules: bool = Field(
        default=True, description="Only adults may switch them off, and only where the market allows it."
    )
    guardian_consent: bool = Field(default=False, description="The person agrees that a guardian sets limits.")


class GuardianBody(ClientBody):
    """What a guardian sets. No value loosens a limit."""

    daily_minutes: Minutes | None = Field(default=None, description="0 = no feed.")
    night: Annotated[list[str], Field(max_length=10, examples=[["21:00-07:00"]])] | None = None
    calm_mode: bool = False
    max_tier: Tier | None = Field(default=None, description="The highest tier to be shown.", examples=["R0"])
    labelled_only: bool = False


def rights_routes(deps: Dependencies) -> APIRouter:
    """Controls, limits, exposure, export and erasure of a user."""
    routes = strict_router("/v1/users", "rights")
    one_at_a_time = CapacityLimiter(1)  # many erasures wait for each other, so that feeds do not wait for them

    @routes.get("/{user_id}/controls", summary="The controls of a user", responses=ok(UserControls))
    def get_controls(request: Request, user_id: PathId) -> Response:
        return answer(request, UserControls, rights.get_controls(deps.engine(), user_id))

    @routes.put("/{user_id}/controls", summary="Replace the controls of a user", responses=ok(UserControls))
    def put_controls(request: Request, user_id: PathId, body: ControlsBody) -> Response:
        fields = body.model_dump(exclude_unset=True)
        return answer(request, UserControls, rights.put_controls(deps.engine(), user_id, fields, deps.clock()))

    @routes.get("/{user_id}/guardian", summary="The guardian's limits", responses=ok(GuardianLimits))
    def get_guardian(request: Request, user_id: PathId) -> Response:
        """Limits only: no topics, interactions, cards or history."""
        return answer(request, GuardianLimits, rights.get_guardian(deps.engine(), user_id))

    @routes.put("/{user_id}/guardian", summary="Replace the guardian's limits", responses=ok(GuardianLimits))
    def put_guardian(request: Request, user_id: PathId, body: GuardianBody) -> Response:
        fields = body.model_dump(exclude_unset=True)
        return answer(request, GuardianLimits, rights.put_guardian(deps.engine(), user_id, fields, deps.clock()))

    @routes.post("/{user_id}/reset", summary="Forget the interactions, keep the ledger", responses=ok(Reset))
    def reset_user(request: Request, user_id: PathId) -> Response:
        return answer(request, Reset, rights.reset(deps.engine(), user_id, deps.clock.read().latest))

    @routes.get("/{user_id}/exposure", summary="What was delivered, beside each limit", responses=ok(UserExposure))
    def get_user_exposure(request: Request, user_id: PathId) -> Response:
        return answer(request, UserExposure, rights.exposure(deps.engine(), user_id, deps.clock()))

    @routes.get("/{user_id}/export", summary="Everything that is stored about a user", responses=ok(UserExport))
    def export_user(request: Request, user_id: PathId) -> Response:
        return answer(request, UserExport, rights.export(deps.engine(), user_id, deps.clock()))

    @routes.delete("/{user_id}", summary="Erase a user", responses=ok(ErasureReceipt))
    async def erase_user(request: Request, user_id: PathId) -> Response:
        """The receipt names what was deleted, and the keyed hash that bounds exposure for 8 more days."""
        receipt = await to_thread.run_sync(_erase, deps, user_id, who(request), limiter=one_at_a_time)
        return answer(request, ErasureReceipt, receipt)

    return routes


def _erase(deps: Dependencies, user_id: str, caller: str) -> JsonObject:
    engine, time = deps.engine(), deps.clock.read()
    receipt = rights.erase(engine, user_id, time.at, caller)
    if time.is_ahead:
        engine.stores.cutoffs.forget(user_id, time.latest)
    return receipt
