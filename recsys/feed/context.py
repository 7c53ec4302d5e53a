"""
From a request and what is stored of a person to one resolved request: a short list of named steps.

Pure: the state that comes in is the state that was read, the state that goes out is the state to write.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from recsys.catalogue.cache import CatalogueCache
from recsys.catalogue.items import Items
from recsys.clock import Millis
from recsys.errors import where_raised
from recsys.experiments.assignment import Assignment, assign
from recsys.experiments.payload import Experiments
from recsys.exposure.counts import CreatorExposure
from recsys.feed.catchup import PendingUpdates, catch_up
from recsys.feed.eligible import find_eligible
from recsys.feed.events import AppliedEvents
from recsys.feed.pipeline import Pipeline
from recsys.feed.query import Query, QueryBasis, build_query, count_eligible
from recsys.feed.supply import remaining_supply
from recsys.feed.viewer import experiment_attributes, identify, languages_of, stated_languages, viewer_of
from recsys.messages import FeedRequest
from recsys.models.loaded import TrainedModels
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.effective import EffectiveLimits, effective_limits, personal_limits
from recsys.policy.limits import NOTHING, Limits, meet
from recsys.policy.schema import Market
from recsys.safety.cards import cards_due
from recsys.safety.floors import Supply
from recsys.safety.harm_terms import HarmTerms
from recsys.safety.ledger import server_time, touch
from recsys.safety.loop.levels import note_harm_seeking, topic_limits, update_level
from recsys.safety.loop.signals import harm_match_of_request
from recsys.safety.loop.state import LoopContext, loop_context_of
from recsys.safety.screen_time import PageAllowance, PauseContext, pause_for
from recsys.user.seen import add_reported
from recsys.user.state import Delivery, UserState

CALM_PAGE: Final = Limits(blocked_tiers=frozenset({1, 2, 3, 4}))
"""The layer of a request that looks for harm: it is answered with calm help alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EngineResources:
    """What a request is resolved with, beside the request and the person."""

    policy: CompiledPolicy
    model: TrainedModels
    experiments: Experiments
    catalogue_cache: CatalogueCache
    exposure: CreatorExposure
    harm_terms: HarmTerms
    activated_at: Millis = 0  # when the models were first activated in these stores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RequestContext:
    """One resolved request: the state to build on, the query, and what else the answer names."""

    state: UserState
    opens: tuple[Delivery, ...]  # opens elsewhere in the platform that the pending events reported
    query: Query
    supply: Supply
    assignment: Assignment
    loop_context: LoopContext
    personal_limits: Limits  # the layers that are not the market's: guardian, person, experiments
    is_night: bool
    is_bound_by_night: bool  # false for a person who may switch the night rules off, and did
    at: Millis  # the ledger's time: never behind what the ledger knows
    allowance: PageAllowance  # what screen time leaves of the page
    cards: tuple[str, ...]  # helpline cards that are due
    notes: tuple[str, ...] = ()  # what the answer mentions beside what is degraded
    failure: str | None = None  # what went wrong in a filter; then nothing is eligible


def resolve_context(
    resources: EngineResources,
    request: FeedRequest,
    stored: UserState,
    pending: PendingUpdates,
    pipeline: Pipeline,
    at: Millis,
) -> RequestContext:
    """
    Everything a page depends on, at one instant. Raises DataError when the request names an item that does not exist.
    """
    market, items = resources.policy.market, pending.items
    identity = identify(request, stored, resources.model, market)
    loop_context = loop_context_of(resources.policy, identity.band, stored.person.guardian, resources.harm_terms)

    active, now = _caught_up(resources, request.user_id, stored, pending, loop_context, at)
    harm = harm_match_of_request(request, items, resources.harm_terms)
    evaluated = update_level(note_harm_seeking(active.state, request.request_id, harm, now), loop_context, now)

    viewer = viewer_of(request, identity, evaluated, market, items.codes)
    attributes = experiment_attributes(viewer, evaluated.safety.loop.level, request.surface)
    assignment = assign(resources.experiments, user_id=request.user_id, attributes=attributes, at=now)
    personal = personal_limits(evaluated, identity.profile, personalised=request.mode == "personalised")
    calm = NOTHING if harm is None else CALM_PAGE
    layered = meet(personal, topic_limits(evaluated.safety.loop, market.loop, now), calm, assignment.limits)
    country = request.context.country or viewer.country  # nights are also those of where the person is
    effective = effective_limits(resources.policy, evaluated, layered, identity.band, country, now)

    state, allowance = pause_for(
        evaluated, request.pause_choice, _pause_context(resources.policy, effective, identity.band, country, now)
    )
    query = build_query(
        request,
        replace(viewer, personalised=False) if effective.limits.non_personalised else viewer,
        state,
        _query_basis(resources, items),
        size=min(request.size, allowance.most),
        limits=effective.limits,
        experiment_weights=assignment.weights,
        is_minor=identity.is_minor,
        is_help=harm is not None,
        at=now,
    )
    query, failure = _with_eligible(pipeline, query)
    return RequestContext(
        state=state, opens=active.opens, query=query, supply=remaining_supply(query, state.safety.ledger, now),
        assignment=assignment, loop_context=loop_context, personal_limits=layered, is_night=effective.is_night,
        is_bound_by_night=effective.is_bound_by_night, at=now, allowance=allowance,
        cards=cards_due(state, market, request.surface, now),
        notes=_notes(stated_languages(request, identity, evaluated), market, items.codes), failure=failure,
    )  # fmt: skip


def _caught_up(
    resources: EngineResources,
    user_id: str,
    stored: UserState,
    pending: PendingUpdates,
    loop_context: LoopContext,
    at: Millis,
) -> tuple[AppliedEvents, Millis]:
    """The state with all that happened since it was written, now that the person is active; and the ledger's time."""
    applied = catch_up(stored, pending, loop_context, at)
    logged = with_training_log(applied.state, user_id, resources, pending.items, at)
    active = register_activity(logged, resources.policy.market, at)
    return AppliedEvents(active, applied.opens), server_time(active.safety.ledger, at)


def _query_basis(resources: EngineResources, items: Items) -> QueryBasis:
    return QueryBasis(
        catalogue_cache=resources.catalogue_cache,
        items=items,
        model=resources.model,
        market=resources.policy.market,
        exposure=resources.exposure.now,
    )


def with_training_log(
    state: UserState, user_id: str, resources: EngineResources, items: Items, at: Millis
) -> UserState:
    """
    The state with what the training log says this person has seen, once for each artifact (policy-spec 0, Seen).

    It counts from the log's last instant or from the artifact's first activation, whichever is later. Of an erased
    person nothing is taken.
    """
    model, days = resources.model, resources.policy.market.session.seen_days
    if state.safety.is_erased or state.seen.log_version == model.version:
        return state
    rows = model.seen.get(user_id, ())
    numbers = resources.catalogue_cache.index(items).of_row[np.asarray(rows, np.intp)]
    item_nos = numbers[numbers > 0].tolist()
    seen = add_reported(state.seen, item_nos, max(model.seen.until, resources.activated_at), at, days)
    return msgspec.structs.replace(state, seen=msgspec.structs.replace(seen, log_version=model.version))


def register_activity(state: UserState, market: Market, at: Millis) -> UserState:
    """The state once a feed was asked for at `at`: it begins or prolongs the session."""
    ledger = touch(state.safety.ledger, at, market.session)
    return msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, ledger=ledger))


def _notes(stated: Sequence[tuple[str, ...]], market: Market, spoken: Container[str]) -> tuple[str, ...]:
    """`languages`: the languages that were stated first match nothing, so others answer."""
    return ("languages",) if stated and not languages_of(stated[0], market, spoken) else ()


def _pause_context(
    policy: CompiledPolicy, effective: EffectiveLimits, band: str, country: str | None, at: Millis
) -> PauseContext:
    return PauseContext(
        market=policy.market,
        zones=policy.zones(country),
        band=band,
        limits=effective.limits,
        is_night=effective.is_night and effective.is_bound_by_night,
        at=at,
    )


def _with_eligible(pipeline: Pipeline, query: Query) -> tuple[Query, str | None]:
    """The query with what is eligible; nothing when a filter failed, and what went wrong."""
    try:
        return find_eligible(pipeline.filters, query), None
    except Exception as error:  # whatever a filter raises, it must not let anything through
        nothing = count_eligible(query, np.zeros(len(query.items), np.bool_))
        return replace(query, eligible=nothing), where_raised(error)
