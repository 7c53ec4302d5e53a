"""From a finished page to what goes over the wire."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import compress
from math import isnan
from typing import Final

import msgspec
import numpy as np

from recsys.catalogue.items import topic_names
from recsys.catalogue.locality import MATCHES, evidence_of
from recsys.clock import DAY, Millis, to_text
from recsys.feed.context import RequestContext
from recsys.feed.plan import Plan
from recsys.feed.query import Query
from recsys.feed.reasons import codes, sentences
from recsys.feed.scorers import PARTS
from recsys.feed.slate import Selection
from recsys.feed.unlisted import unlisted_at
from recsys.messages import (
    FeedItem,
    FeedRequest,
    FeedResponse,
    Locality,
    Pause,
    RankCandidate,
    RankRequest,
    Safety,
    Shortfall,
)
from recsys.safety.cards import cards_for
from recsys.safety.ledger import remaining_of
from recsys.safety.screen_time import break_after
from recsys.tokens import Signer
from recsys.types import Candidates, Ids, Rows
from recsys.user.state import Ledger
from recsys.vocabulary import COUNTERS, FAMILIES, TIERS

CURSOR_TTL: Millis = DAY
UNKNOWN: Final = "unknown"
"""In a shortfall: ids of the request that nothing is known of. It is told also when nothing is missing."""

FIXED_PARTS: Final[Mapping[str, float]] = {"constant": 1.0, "faded": 1.0}
"""Parts of a score that are no scorer's, and their weight."""

_ROUNDING: Final = 1e-4  # scores are sums of 32-bit floats


def response_of(request: FeedRequest, plan: Plan, after: Ledger, key: bytes, took_ms: float) -> FeedResponse:
    """The answer that a plan gives once it is reserved; `after` is the ledger with its deliveries."""
    context, query = plan.context, plan.context.query
    signer = Signer(key=key, request_id=query.request_id, user_id=request.user_id, at=context.at)
    items = items_of(request, query, plan.candidates, plan.selection, signer)
    return FeedResponse(
        request_id=query.request_id,
        user_id=request.user_id,
        served_at=to_text(context.at),
        model_version=query.model.version,
        policy_version=query.market.version,
        took_ms=took_ms,
        items=items,
        cards=cards_for(
            context.cards, plan.deliveries, query.market, context.loop_context.zone, query.surface, context.at
        ),
        pause=context.allowance.pause or _break_of(plan, after),
        shortfall=with_unknown(
            shortfall_of(request.size, query.size, len(items), plan.lost, plan.selection.blocked),
            n_unknown(request, context),
        ),
        degraded=[*plan.degraded, *context.notes],
        experiments=dict(context.assignment.variants),
        safety=safety_of(context, after),
        replayed=False,
        cursor=signer.cursor() if items and not isinstance(request, RankRequest) else None,
        dry_run=request.dry_run,
        score_weights={**query.weights, **FIXED_PARTS} if request.explain == "full" else msgspec.UNSET,
    )


def _break_of(plan: Plan, after: Ledger) -> Pause | None:
    """The soft stop that the page reached, or that a cap made of it."""
    is_capped = any(reason.startswith(("cap:", "gap:")) for reason in plan.selection.blocked)
    before, market = plan.context.state.safety.ledger, plan.context.query.market
    return break_after(before, after, market, is_capped=is_capped)


def items_of(
    request: FeedRequest, query: Query, candidates: Candidates, selection: Selection, signer: Signer
) -> list[FeedItem]:
    """The chosen rows, in order."""
    items, rows, columns = query.items, selection.rows, candidates.columns
    numbers = candidates.item_nos[rows]
    matches, spoken = columns["match"][rows].tolist(), items.language[numbers].tolist()
    names = {code: items.name(code) for code in set(spoken)}
    tiers, families, scores, supportive = (
        columns[name][rows].tolist() for name in ("tier", "family", "score", "is_supportive")
    )
    topics, propensities = items.topics[numbers].tolist(), selection.propensities.tolist()
    short = {propensity: plain(propensity) for propensity in set(propensities)}
    sources, places = sources_of_rows(candidates, rows), _localities(query, numbers)
    item_ids, creator_ids = items.item_ids.take(numbers.tolist()), items.creator_ids.take(numbers.tolist())
    page: list[FeedItem] = []
    for slot, item_no in enumerate(numbers.tolist()):
        reason_codes = codes(
            sources=sources[slot],
            match=MATCHES[matches[slot]],
            floor=selection.forced[slot],
            is_exploration=selection.is_exploration[slot],
            is_supportive=supportive[slot],
        )
        page.append(
            FeedItem(
                item_id=item_ids[slot],
                creator_id=creator_ids[slot],
                position=slot + 1,
                score=plain(scores[slot]),
                sources=sources[slot],
                tier=TIERS[tiers[slot]],
                family=FAMILIES[families[slot]] if families[slot] >= 0 else None,
                topics=topic_names(topics[slot]),
                language=names[spoken[slot]],
                locality=places[slot],
                reasons=[] if request.explain == "none" else sentences(reason_codes, query.viewer.languages),
                is_exploration=selection.is_exploration[slot],
                propensity=short[propensities[slot]],
                tracking_token=signer.tracking(item_no, slot + 1),
            )
        )
    if query.unlisted:
        found = zip(page, rows.tolist(), strict=True)
        page = [_named(item, unlisted_at(query, candidates, row)) for item, row in found]
    if request.explain != "full":
        return page
    return [_explained(item, query, candidates, row) for item, row in zip(page, rows.tolist(), strict=True)]


def _named(item: FeedItem, unlisted: RankCandidate | None) -> FeedItem:
    """The item; one that the catalogue does not hold by what the caller said of it."""
    if unlisted is None:
        return item
    nowhere = Locality(score=None, match="unknown", source="none", confidence=0.0)
    return msgspec.structs.replace(
        item, item_id=unlisted.item_id, creator_id=unlisted.creator_id or "", locality=nowhere
    )


def _localities(query: Query, item_nos: Ids) -> list[Locality]:
    """How near each item of a page is, with its evidence."""
    near, items, market = query.nearness.of(item_nos), query.items, query.market
    rows = zip(
        item_nos.tolist(), near.score.tolist(), near.match.tolist(), near.is_floor_eligible.tolist(), strict=True
    )
    localities = []
    for item_no, score, match, is_floor_eligible in rows:
        source, sure = evidence_of(MATCHES[match], near.confidence, items, item_no, market, is_floor_eligible)
        localities.append(_locality(None if isnan(score) else score, MATCHES[match], source, sure))
    return localities


@lru_cache(maxsize=4_096)
def _locality(score: float | None, match: str, source: str, confidence: float) -> Locality:
    """Items of one class are equally near, so few of these are made."""
    near = None if score is None else plain(score)
    return Locality(score=near, match=match, source=source, confidence=plain(confidence))


def _explained(item: FeedItem, query: Query, candidates: Candidates, row: int) -> FeedItem:
    """
    The item with parts whose weighted sum is its score. R2 never competes on engagement, so it has a constant alone;
    `faded` is what the person's "not interested" on a topic or family took off.
    """
    score = float(candidates["score"][row])
    if candidates["tier"][row] >= 2:
        return msgspec.structs.replace(item, score_parts={"constant": plain(score)})
    names = (*PARTS, *query.caller_parts)
    columns = {name: float(candidates[f"p_{name}"][row]) for name in names if f"p_{name}" in candidates.columns}
    parts = {name: part for name, part in columns.items() if np.isfinite(part)}
    faded = score - sum(query.weights.get(name, 0.0) * part for name, part in parts.items())
    if np.isfinite(faded) and abs(faded) > _ROUNDING:
        parts["faded"] = faded
    return msgspec.structs.replace(item, score_parts={name: plain(part) for name, part in parts.items()})


def sources_of(candidates: Candidates, row: int) -> list[str]:
    """The sources that returned a row, in their order."""
    return sources_of_rows(candidates, np.array([row], np.intp))[0]


def sources_of_rows(candidates: Candidates, rows: Rows) -> list[list[str]]:
    """The sources that returned each row, in their order."""
    ranks = [name for name in candidates.columns if name.startswith("rank_")]
    is_found = ~np.isnan([candidates[name][rows] for name in ranks]).reshape(len(ranks), len(rows))
    names = [name.removeprefix("rank_") for name in ranks]
    return [list(compress(names, row)) for row in is_found.T.tolist()]


def plain(number: float) -> float:
    """A float that prints short: six significant digits are more than any score means."""
    return float(f"{float(number):.6g}")


def safety_of(context: RequestContext, ledger: Ledger) -> Safety:
    """What bounds the person's feed after this page."""
    query = context.query
    return Safety(
        loop_level=context.state.safety.loop.level,
        age_band=query.viewer.age_band,
        is_night=context.is_bound_by_night,
        remaining={k: dict(v) for k, v in remaining_of(ledger, query.limits, COUNTERS, context.at).items()},
    )


def shortfall_of(asked: int, most: int, n_items: int, *because: Mapping[str, int]) -> Shortfall:
    """How short a page is of what was `asked`; a pause left `most` places. Reasons only when something is missing."""
    merged: dict[str, int] = {"pause": asked - most} if most < asked else {}
    if n_items < most:
        for reasons in because:
            for reason, count in reasons.items():
                merged[reason] = merged.get(reason, 0) + count
    return Shortfall(missing=asked - n_items, because=merged)


def with_unknown(shortfall: Shortfall, n_ids: int) -> Shortfall:
    """The shortfall with the ids that nothing is known of."""
    if not n_ids:
        return shortfall
    return msgspec.structs.replace(shortfall, because={**shortfall.because, UNKNOWN: n_ids})


def n_unknown(request: FeedRequest, context: RequestContext) -> int:
    """
    How many ids of a request nothing is known of: candidates that the catalogue does not hold, and the person, when
    there is no profile, no reaction of theirs and no row in the training data.
    """
    known = context.query.items.index
    strangers = {item_id for item_id in request.candidate_ids or () if item_id not in known}
    return len(strangers) + (not _is_known(request.user_id, context))


def _is_known(user_id: str, context: RequestContext) -> bool:
    state, model = context.state, context.query.model
    has_said_something = bool(state.interactions.items or state.interactions.followed or state.interactions.hidden)
    is_trained_on = user_id in model.profiles or user_id in model.histories
    return state.person.is_put or has_said_something or (is_trained_on and not state.safety.is_erased)
