"""
From a request and what is stored about a person to one resolved `Query`: age, place, languages, effective policy,
tastes. Pure: the state that comes in is the state that was read, the state that goes out is to be written.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import numpy as np

from recsys.catalogue.cache import CatalogueCache
from recsys.catalogue.items import Items, creator_number
from recsys.clock import DAY, Millis
from recsys.errors import DataError
from recsys.experiments.assignment import Assignment, assign
from recsys.experiments.payload import Experiments
from recsys.exposure.counts import CreatorExposure
from recsys.feed.catchup import PendingUpdates, catch_up
from recsys.feed.events import history_of
from recsys.feed.pipeline import Pipeline, eligible
from recsys.feed.query import Query
from recsys.feed.slate import Supply
from recsys.messages import FeedRequest
from recsys.models.loaded import Model
from recsys.policy.compiled import CompiledPolicy, effective_band, guardian_limits, is_night, person_limits
from recsys.policy.limits import Limits, meet
from recsys.policy.schema import Market
from recsys.safety.cards import due
from recsys.safety.harm_terms import NO_TERMS, TermList
from recsys.safety.ledger import RUN, room, served, server_time, touch, windows_of
from recsys.safety.loop.levels import evaluate, note_harm_seeking, topic_factors, topic_limits
from recsys.safety.loop.signals import LoopContext, loop_context_of
from recsys.safety.screen_time import PageAllowance, PauseContext, pause_for
from recsys.types import History, Mask, Viewer
from recsys.user.state import Delivery, Ledger, Profile, UserState

DEFAULT_LOCALITY_WEIGHT: Final = 0.75
"""Where neither the market's file nor the artifact says: the middle of what calibrates pages to people's choices."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RequestContext:
    """One attempt at a page: the state to build on, the query, and what else the answer names."""

    state: UserState
    opens: tuple[Delivery, ...]
    query: Query
    supply: Supply
    assignment: Assignment
    loop_context: LoopContext
    own: Limits  # the layers that are not the market's: guardian, person, experiments
    is_night: bool
    is_bound_by_night: bool  # not for a person who may switch the night rules off, and did
    at: Millis  # the ledger's time: never behind what it knows
    allowance: PageAllowance  # what screen time leaves of the page
    cards: tuple[str, ...]  # helpline cards that are due
    failure: str | None = None  # of a filter; then nothing is eligible


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EngineResources:
    """What resolving needs beside the request and the person."""

    policy: CompiledPolicy
    model: Model
    experiments: Experiments
    catalogue_cache: CatalogueCache
    exposure: CreatorExposure
    harm_terms: TermList = NO_TERMS


def profile_of(state: UserState, model: Model, user_id: str) -> Profile:
    """The profile put over the wire, as a whole; until there is one, that of the artifact's users table."""
    if state.person.is_put:
        return state.person.profile
    trained = {} if state.safety.is_erased else model.profiles.get(user_id, {})
    return Profile(
        country=trained.get("country"),
        region=trained.get("region"),
        languages=tuple(trained.get("languages") or ()),
        age_band=trained.get("age_band"),
        age_source=trained.get("age_source") or "none",
        guardian_id=trained.get("guardian_id"),
        consent=trained.get("consent"),
    )


def resolve(
    resources: EngineResources,
    request: FeedRequest,
    state: UserState,
    pending: PendingUpdates,
    pipeline: Pipeline,
    at: Millis,
) -> RequestContext:
    """
    Everything a page depends on, at one instant. Raises DataError when the request names an item that does not exist.
    """
    market, items = resources.policy.market, pending.items
    profile = profile_of(state, resources.model, request.user_id)
    band = effective_band(market, stored=profile.age_band, source=profile.age_source, given=request.context.age_band)
    is_minor = market.ages[band].is_minor
    loop_context = loop_context_of(resources.policy, band, state.person.guardian, resources.harm_terms)
    folded = catch_up(state, pending, loop_context, at)
    state = _active(folded.state, market, at)
    at = server_time(state.safety.ledger, at)
    state = evaluate(note_harm_seeking(state, request, items, loop_context, at), loop_context, at)
    viewer = _viewer(request, profile, state, market, band)
    level = state.safety.loop.level
    assignment = assign(
        resources.experiments, user_id=request.user_id, attributes=_attributes(viewer, level, request), at=at
    )
    own = meet(
        own_limits(state, profile, personalised=request.mode == "personalised"),
        topic_limits(state.safety.loop, market.loop, at),
        assignment.limits,
    )
    here = request.context.country or viewer.country  # nights are those of where the person is, too
    limits, night = limits_of(resources.policy, state, own, band, here, at)
    is_bound = night and _is_bound(resources.policy, state, band)
    zones = resources.policy.zones(here)
    pause_context = PauseContext(market=market, zones=zones, band=band, limits=limits, is_night=is_bound, at=at)
    state, allowance = pause_for(state, request.pause_choice, pause_context)
    viewer = replace(viewer, personalised=not limits.non_personalised)
    query = _query(resources, request, viewer, state, limits, assignment, items, is_minor, at)
    query, failure = _eligible(pipeline, replace(query, size=min(request.size, allowance.most)))
    return RequestContext(
        state=state, opens=folded.opens, query=query, supply=remaining_supply(query, state.safety.ledger, at),
        assignment=assignment, loop_context=loop_context, own=own, is_night=night, is_bound_by_night=is_bound, at=at,
        allowance=allowance,
        cards=due(state, market, request.surface, at), failure=failure,
    )  # fmt: skip


def _eligible(pipeline: Pipeline, query: Query) -> tuple[Query, str | None]:
    """The query with what is eligible: nothing when a filter failed, and what went wrong."""
    try:
        return eligible(pipeline, query), None
    except Exception as error:  # whatever a filter raises, it must not let anything through
        return replace(query, is_eligible=np.zeros(len(query.whole), np.bool_)), f"{type(error).__name__}: {error}"


def _active(state: UserState, market: Market, at: Millis) -> UserState:
    ledger = touch(state.safety.ledger, at, market.session)
    return msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, ledger=ledger))


def _viewer(request: FeedRequest, profile: Profile, state: UserState, market: Market, band: str) -> Viewer:
    country, region = _home(request, profile, market)
    stated = request.context.languages or state.person.controls.languages or profile.languages
    languages = stated or usual_languages(market, region)
    return Viewer(
        user_id=request.user_id, country=country, region=region, languages=tuple(languages), age_band=band,
        personalised=True,
    )  # fmt: skip


def _home(request: FeedRequest, profile: Profile, market: Market) -> tuple[str, str | None]:
    """
    Whose local creators are near: those of the profile's country, also while the person travels; the region that the
    request names counts within it. Without a profile, where the request comes from.
    """
    said = request.context
    here = said.country or (said.region.partition("-")[0] if said.region else None)
    home = profile.country or (profile.region.partition("-")[0] if profile.region else None)
    country = home or here or market.market
    if said.region and here == country:
        return country, said.region
    return country, profile.region if home == country else None


def usual_languages(market: Market, region: str | None) -> tuple[str, ...]:
    """What somebody is taken to understand who said nothing: the market's languages, the region's commonest first."""
    resources = market.regions.get(region or "")
    mix = resources.languages if resources else {}
    return tuple(sorted(market.languages, key=lambda name: -mix.get(name, 0.0)))


def _attributes(viewer: Viewer, level: int, request: FeedRequest) -> Mapping[str, Any]:
    return {
        "country": viewer.country,
        "region": viewer.region,
        "language": viewer.languages[0] if viewer.languages else None,
        "effective_age_band": viewer.age_band,
        "loop_level": level,
        "surface": request.surface,
    }


def own_limits(state: UserState, profile: Profile, *, personalised: bool) -> Limits:
    """What the guardian and the person set."""
    personalised = personalised and profile.consent is not False
    return meet(
        guardian_limits(state.person.guardian),
        person_limits(state.person.controls, personalised=personalised),
        Limits(blocked_creators=frozenset(creator for creator, _ in state.interactions.hidden)),
    )


def limits_of(
    policy: CompiledPolicy, state: UserState, own: Limits, band: str, country: str | None, at: Millis
) -> tuple[Limits, bool]:
    """The meet of the market's layers and the person's own, and whether it is night in the market or the country."""
    level = state.safety.loop.level
    by_day = meet(policy.limits[band, level, False], own)
    night = is_night(at, policy.zones(country), by_day.night)
    return (meet(policy.limits[band, level, True], own) if night and _is_bound(policy, state, band) else by_day), night


def _is_bound(policy: CompiledPolicy, state: UserState, band: str) -> bool:
    """Whether the night's layer holds for the person at night."""
    guardian = state.person.guardian
    has_night = guardian is not None and bool(guardian.night)
    return state.person.controls.night_rules or has_night or not policy.market.ages[band].night.is_optional


def _query(
    resources: EngineResources, request: FeedRequest, viewer: Viewer, state: UserState, limits: Limits,
    assignment: Assignment, items: Items, is_minor: bool, at: Millis,
) -> Query:  # fmt: skip
    market, model = resources.policy.market, resources.model
    near, whole = resources.catalogue_cache.for_viewer(items, viewer, resources.exposure.now, is_minor=is_minor)
    trained = None if state.safety.is_erased else model.histories.get(request.user_id)
    history = history_of(state.interactions, trained, items, model.n_rows) if viewer.personalised else History.empty()
    followed = [creator_number(creator) for creator, _ in state.interactions.followed] if viewer.personalised else []
    learned = {"content": market.weights.get("content", 0.0) * model.content_share}
    weights = {**market.weights, **learned, **assignment.weights}
    is_known = bool(np.any(history.weights > 0))  # refusals alone say nothing of taste
    strength = weights.get("local", model.local_strength.get(market.market, DEFAULT_LOCALITY_WEIGHT))
    weights["local"] = strength * score_spread(weights, is_known=is_known) * resources.exposure.now.factor
    if model.ranker is not None:
        weights = dict(model.ranker.heads.weights(weights))
    if state.person.controls.local_weight is not None:
        weights["local"] = weights.get("local", 0.0) * state.person.controls.local_weight
    return Query(
        request_id=request.request_id or "",
        viewer=viewer,
        at=at,
        size=request.size,
        seed=seed_of(request.request_id or ""),
        surface=request.surface,
        market=market,
        model=model,
        items=items,
        nearness=near,
        limits=limits,
        is_minor=is_minor,
        history=history,
        followed=frozenset(followed),
        is_shown=_shown(state, items, market, at),
        excluded=frozenset(items.index[i] for i in request.exclude_ids if i in items.index),
        only=_listed(request, items),
        text=request.query,
        anchor=_anchor(request, items),
        weights=weights,
        reduced=topic_factors(state.safety.loop, market.loop, at),
        whole=whole,
        rankings=resources.catalogue_cache.rankings(items, model, viewer.country),
        is_eligible=np.zeros(0, np.bool_),
    )


def score_spread(weights: Mapping[str, float], *, is_known: bool) -> float:
    """
    The standard deviation of a person's scores over the catalogue, before locality: of parts that are in standard
    deviations themselves, the root of the summed squares. Of somebody without a history only popularity is known.
    """
    parts = ("cf", "content", "popular") if is_known else ("popular",)
    return float(sum(weights.get(name, 0.0) ** 2 for name in parts) ** 0.5)


def seed_of(request_id: str) -> int:
    """The seed of a request: the same request explores the same items."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest(), "big")


def _shown(state: UserState, items: Items, market: Market, at: Millis) -> Mask:
    shown = np.zeros(int(items.cluster_no.max(initial=0)) + 1, np.bool_)
    since = at - market.session.seen_days * DAY
    clusters = [c for c, t in zip(state.seen.clusters, state.seen.at, strict=True) if t >= since and c < len(shown)]
    shown[clusters] = True
    refused = [n for n, weight in zip(state.interactions.items, state.interactions.weights, strict=True) if weight < 0]
    shown[items.cluster_no[refused]] = True  # what a person refused does not come back, delivered or not
    return shown


def _listed(request: FeedRequest, items: Items) -> np.ndarray | None:
    if request.candidate_ids is None:
        return None
    numbers = {items.index[i] for i in request.candidate_ids if i in items.index}
    return np.array(sorted(numbers), np.int32)


def _anchor(request: FeedRequest, items: Items) -> int | None:
    if request.surface != "related":
        return None
    item_no = items.index.get(request.anchor_item_id or "")
    if item_no is None:
        found = request.anchor_item_id
        raise DataError(f"anchor_item_id: found {found!r}, expected the id of an item for surface related")
    return item_no


def remaining_supply(query: Query, ledger: Ledger, at: Millis) -> Supply:
    """
    What the catalogue still offers: eligible and unseen, at most so many per creator and stories of hope in any 20.
    """
    eligible_, whole = query.is_eligible, query.whole
    cap = RUN if query.limits.creator_last_20 is None else query.limits.creator_last_20
    is_calm = eligible_ & (whole["tier"] == 0)
    n_eligible, n_local = int(eligible_.sum()), int((eligible_ & query.nearness.is_proven).sum())
    hope = _hope(query.limits, ledger, at)
    return Supply(
        supportive=_in_a_run(query, is_calm & whole["is_supportive"], cap, hope),
        local=_in_a_run(query, is_calm & query.nearness.is_proven, cap, hope),
        local_share=n_local / n_eligible if n_eligible else 0.0,
    )


def catalogue_supply(query: Query) -> Supply:
    """What the catalogue holds for such a viewer, seen or not."""
    items, whole = query.items, query.whole
    is_there = items.exists & ~items.is_hidden & (whole["tier"] == 0)
    is_local = is_there & query.nearness.is_proven
    n_there, n_local = int(is_there.sum()), int(is_local.sum())
    cap = RUN if query.limits.creator_last_20 is None else query.limits.creator_last_20
    fills = _in_a_run(query, is_local, cap, RUN)
    return Supply(supportive=0, local=fills, local_share=n_local / n_there if n_there else 0.0)


def _hope(limits: Limits, ledger: Ledger, at: Millis) -> int:
    """How many stories of hope a run of 20 can hold: those that stand in it, and what their windows still admit."""
    most = windows_of(limits, "S4").last_20
    recent = sum(d.is_s4 for d in served(ledger, RUN - 1))
    return min(RUN if most is None else most, recent + max(0, room(ledger, limits, "S4", at)))


def _in_a_run(query: Query, mask: Mask, cap: int, hope: int) -> int:
    """How many of 20 the masked items can fill with at most `cap` of each creator and `hope` stories of hope."""
    is_s4, creators = query.whole["is_s4"], query.items.creator_row
    n_creators = int(creators.max(initial=0)) + 1
    calm = np.bincount(creators[mask & ~is_s4], minlength=n_creators)
    told = np.bincount(creators[mask & is_s4], minlength=n_creators)
    filled = np.minimum(calm, cap)
    more = np.minimum(told, cap - filled).sum()
    return min(RUN, int(filled.sum()) + min(hope, int(more)))
