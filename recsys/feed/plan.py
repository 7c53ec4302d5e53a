"""
A plan: one page, worked out and checked, that nothing was reserved for yet.

    resolve -> rank -> select -> validate

Pure. `Engine.plan` gives it to whoever wants to look (evaluation, explanations, previews); a feed reserves it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from recsys.clock import Millis
from recsys.errors import where_raised
from recsys.feed.candidates import feature_weights
from recsys.feed.catchup import PendingUpdates
from recsys.feed.context import EngineResources, RequestContext, resolve_context
from recsys.feed.pipeline import (
    NO_TIME,
    Pipeline,
    Ranked,
    fallback,
    for_surface,
    help_pages,
    hurried,
    in_time,
    recommend,
    refilter,
    removals,
    reranking,
)
from recsys.feed.query import Query
from recsys.feed.slate import Selection, delivered, select
from recsys.feed.unlisted import removed_unlisted, with_unlisted
from recsys.messages import FeedRequest
from recsys.safety.cards import follow_ups, promote
from recsys.safety.copies import bound_pairs
from recsys.safety.validator import violations
from recsys.types import Candidates
from recsys.user.state import Delivery, UserState

RANK_UNTIL: Final = 0.75
"""
The share of a request's time after which the fallback ranks the page. What keeps people safe is never left out: the
state, the filters, the slots under the caps, the validator.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """
    One page before it is reserved.

    `ranked` holds the candidates best first, `candidates` the same with what follows a card in front; `selection` says
    which of these are on the page. `lost` counts items of the catalogue by the filter that removes them, when the page
    is short. `degraded` names what the page had to do without, `alerts` are sentences for the operator.
    """

    context: RequestContext
    ranked: Ranked
    candidates: Candidates
    selection: Selection
    deliveries: tuple[Delivery, ...]
    lost: Mapping[str, int]
    degraded: tuple[str, ...]
    alerts: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    """Candidates best first, what the page has to do without, and what the operator should know."""

    ranked: Ranked
    degraded: tuple[str, ...]
    alerts: tuple[str, ...] = ()


def pipeline_of(request: FeedRequest) -> Pipeline:
    """The stages of a request: a caller who brings candidates has them ranked, a surface has sources of its own."""
    if request.candidate_ids is None:
        return for_surface(request.surface)
    return reranking(feature_weights(request))


def make_plan(
    resources: EngineResources,
    request: FeedRequest,
    stored: UserState,
    pending: PendingUpdates,
    at: Millis,
    previous: Plan | None = None,
    time_used: Callable[[], float] = in_time,
) -> Plan:
    """
    The page that a request would get now. Raises DataError when the request names an item that does not exist.

    `previous` is a plan of the same request that another page overtook: its scores are used again, its candidates
    filtered and selected again on the newer state. `time_used` is the share of the request's time that is gone.
    """
    pipeline = pipeline_of(request)
    context = resolve_context(resources, request, stored, pending, pipeline, at)
    if context.query.is_help and request.candidate_ids is None:
        pipeline = help_pages()
    return select_page(pipeline, context, _rank(pipeline, context, previous, time_used))


def select_page(pipeline: Pipeline, context: RequestContext, ranking: _Ranking) -> Plan:
    """The page on the context's ledger, checked by the independent validator, which may only take items out."""
    query = context.query
    known = promote(ranking.ranked.candidates, follow_ups(context.cards, query.market, query.surface))
    candidates = known if context.failure else with_unlisted(known, query)
    selection, deliveries, corrections = _validated(candidates, _selected(candidates, context), context)
    is_short = len(selection.rows) < query.size
    return Plan(
        context=context,
        ranked=ranking.ranked,
        candidates=candidates,
        selection=selection,
        deliveries=deliveries,
        lost=_lost(pipeline, query) if is_short and not context.failure else {},
        degraded=ranking.degraded,
        alerts=(*ranking.alerts, *corrections),
    )


def _lost(pipeline: Pipeline, query: Query) -> Mapping[str, int]:
    """What each filter removes: of the catalogue or the caller's list, and of what the catalogue does not hold."""
    unlisted = removed_unlisted(query)
    lost = removals(pipeline, query)
    return {**lost, **{name: lost.get(name, 0) + n for name, n in unlisted.items()}}


def _rank(
    pipeline: Pipeline, context: RequestContext, previous: Plan | None, time_used: Callable[[], float]
) -> _Ranking:
    if context.failure:
        return _no_candidates(context, context.failure)
    if previous is not None and not previous.context.failure and _basis(previous.context) == _basis(context):
        return _Ranking(refilter(pipeline, context.query, previous.ranked), previous.degraded)
    overrides = tuple(f"override left out: {problem}" for problem in context.assignment.problems)
    ranking = _simply(hurried(pipeline), context) if time_used() > RANK_UNTIL else _ranked(pipeline, context, time_used)
    return replace(ranking, alerts=(*overrides, *ranking.alerts))


def _basis(context: RequestContext) -> tuple[object, ...]:
    """What scores may have been made of: when the person took that back since, old scores are not used again."""
    return (context.query.viewer.personalised, context.state.safety.is_erased, context.state.interactions.reset_at)


def _simply(pipeline: Pipeline, context: RequestContext) -> _Ranking:
    """Candidates of a simpler pipeline."""
    try:
        return _Ranking(recommend(pipeline, context.query), ("ranking",))
    except Exception as error:  # nothing but a filter is left that could fail
        return _no_candidates(context, where_raised(error))


def _ranked(pipeline: Pipeline, context: RequestContext, time_used: Callable[[], float]) -> _Ranking:
    """
    Candidates best first. When a stage fails, those of the fallback, which has the same filters; when that fails too,
    none: a broken filter must not let anything through.
    """
    try:
        ranked = recommend(pipeline, context.query, time_used)
        failed = {name: problem for name, problem in ranked.failed.items() if problem != NO_TIME}
        lost = tuple(f"source {name} left out: {problem}" for name, problem in failed.items())
        return _Ranking(ranked, tuple(f"source:{name}" for name in ranked.failed), lost)
    except Exception as error:  # whatever a stage raises, the page fails closed
        problem = f"fallback page: {where_raised(error)}"
    ranking = _simply(fallback(), context)
    return replace(ranking, alerts=(problem, *ranking.alerts))


def _no_candidates(context: RequestContext, problem: str) -> _Ranking:
    nothing = context.query.rules.take(np.empty(0, np.intp)).with_columns({"score": np.empty(0, np.float32)})
    ranked = Ranked(candidates=nothing, removed={}, failed={})
    return _Ranking(ranked, ("ranking", "filters"), (f"empty page: {problem}",))


def select_again(plan: Plan, rng: np.random.Generator) -> Selection:
    """The slots of a plan filled again with other draws, for evaluation; the validator has not looked at them."""
    return _selected(plan.candidates, plan.context, rng)


def _selected(candidates: Candidates, context: RequestContext, rng: np.random.Generator | None = None) -> Selection:
    query = context.query
    return select(
        candidates,
        ledger=context.state.safety.ledger,
        limits=query.limits,
        supply=context.supply,
        supply_factor=query.market.locality.supply_factor,
        size=query.size,
        at=context.at,
        rng=np.random.default_rng([query.seed, 2]) if rng is None else rng,
        explore_slots=query.market.exploration.slots,
        explore_from=query.market.exploration.draw_from,
        new_creator_share=query.market.locality.new_creator.share,
    )


def _validated(
    candidates: Candidates, selection: Selection, context: RequestContext
) -> tuple[Selection, tuple[Delivery, ...], tuple[str, ...]]:
    """
    The selection without what the validator refuses, its deliveries, and a sentence for each refusal. It refuses
    nothing unless the slot loop is wrong.
    """
    query, sentences = context.query, list[str]()
    seen = frozenset(query.shown.tolist())
    while True:
        page = delivered(candidates, selection.rows, context.at)
        broken = violations(
            context.state.safety.ledger,
            page,
            query.limits,
            at=context.at,
            is_minor=query.is_minor,
            seen=seen,
            copies=bound_pairs(candidates, selection.rows.tolist()),
        )
        if not broken:
            return selection, page, tuple(sentences)
        sentences.append(f"{query.request_id}: {broken[0].sentence}")
        selection = _without_slot(selection, broken[0].position - 1)


def _without_slot(selection: Selection, slot: int) -> Selection:
    keep = [n for n in range(len(selection.rows)) if n != slot]
    return replace(
        selection,
        rows=selection.rows[keep],
        propensities=selection.propensities[keep],
        is_exploration=tuple(selection.is_exploration[n] for n in keep),
        forced=tuple(selection.forced[n] for n in keep),
    )
