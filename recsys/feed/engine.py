"""
The engine: one request, as data flows.

    read -> resolve -> recommend -> select -> validate -> reserve -> answer

The same code runs in the HTTP service, in the simulator and for one feed on the command line. Reserve, then respond:
a page goes out only after its deliveries are committed against the very ledger it was chosen on. When somebody else
committed first, the page is chosen again on the new ledger; the scores are kept.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import numpy as np

from recsys.catalogue.items import topic_bits, topic_names
from recsys.clock import DAY, Millis, to_text
from recsys.errors import Conflict, DataError, Gone, StoreError
from recsys.feed import record as records
from recsys.feed.attribution import exposure_of_page
from recsys.feed.catchup import read_pending
from recsys.feed.events import record_page
from recsys.feed.filters import FILTERS, FORBIDDING
from recsys.feed.locks import Locks
from recsys.feed.pipeline import Pipeline, Ranked, fallback, for_surface, recommend, refilter, removals, reranking
from recsys.feed.plan import EngineResources, RequestContext, catalogue_supply, profile_of, resolve
from recsys.feed.response import CURSOR_TTL, Signer, items_of, safe_item, safe_response, safety_of, shortfall_of
from recsys.feed.slate import Selection, delivered, floors, select
from recsys.messages import MAX_SIZE, FeedItem, FeedRequest, FeedResponse, Pause
from recsys.policy.compiled import effective_band
from recsys.safety.cards import cards_for, follow_up, note_cards, promote
from recsys.safety.floors import of_20
from recsys.safety.ledger import counters_of, windows_of
from recsys.safety.loop.levels import is_harm_seeking, note_page
from recsys.safety.screen_time import break_after
from recsys.safety.validator import violations
from recsys.stores.protocols import DecisionRecord, EventLog, Read, StoredAnswer, UserStore
from recsys.tokens import verify
from recsys.types import Candidates
from recsys.user.state import Delivery, Ledger, UserState

REPEAT: Final = DAY  # how long a request_id answers with the same page
MAX_RESERVE_TRIES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Everything a feed needs. `alert` is told when a page had to be mended; `timer` gives seconds."""

    resources: EngineResources
    users: UserStore
    log: EventLog
    key: bytes
    new_id: Callable[[], str]
    timer: Callable[[], float]
    alert: Callable[[str], None]
    locks: Locks = field(default_factory=Locks)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer as JSON; with `retry_after_s` set it is empty and the caller should ask again."""

    answer: bytes
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Chosen:
    """One page before it is reserved."""

    candidates: Candidates
    selection: Selection
    deliveries: tuple[Delivery, ...]
    removed: Mapping[str, int]


def feed(engine: Engine, request: FeedRequest, at: Millis) -> Page:
    """
    One page. Raises DataError (the request cannot be answered), Conflict (its id was used for another question) and
    Gone (its cursor has expired); a store that does not answer yields the safe feed.
    """
    started = engine.timer()
    if not 1 <= request.size <= MAX_SIZE:
        raise DataError(f"size: found {request.size}, expected 1 to {MAX_SIZE}")
    request = _identified(engine, request, at)
    try:
        with engine.locks.of(request.user_id):
            return _served(engine, request, at, started)
    except StoreError as error:
        engine.alert(f"safe feed: {error}")
        return safe_page(engine, request, at)


def _identified(engine: Engine, request: FeedRequest, at: Millis) -> FeedRequest:
    """
    The request with an id: the caller's, or one made from the cursor (so that a cursor sent twice is one page).
    """
    if request.cursor is None:
        return request if request.request_id else msgspec.structs.replace(request, request_id=engine.new_id())
    fields = verify(engine.key, request.cursor)
    if fields is None or len(fields) != 4 or fields[:2] != ("c", request.user_id):
        raise DataError(
            "cursor: found a text that this service did not sign for this user, expected one from an answer"
        )
    if at - int(fields[3]) > CURSOR_TTL:
        raise Gone("cursor: found one older than 24 h, expected a newer one; ask for a page without a cursor")
    return msgspec.structs.replace(request, request_id=request.request_id or _next_id(str(fields[2])))


def _next_id(request_id: str) -> str:
    """The id of the page after a page: always the same one, and no longer however many pages come."""
    return f"n{hashlib.blake2b(request_id.encode(), digest_size=15).hexdigest()}"


def _served(engine: Engine, request: FeedRequest, at: Millis, started: float) -> Page:
    pipeline = reranking() if request.candidate_ids is not None else for_surface(request.surface)
    ranked: Ranked | None = None
    used: tuple[object, ...] = ()
    degraded: list[str] = []
    for _ in range(MAX_RESERVE_TRIES):
        read = engine.users.read(request.user_id, request.request_id)
        context = _resolved(engine, request, read, pipeline, at)
        if read.answer is not None and not request.dry_run and _holds(read.answer, at):
            return _repeated(engine, request, context, read.answer)
        if ranked is None or context.failure or used != _may_use(context):
            used = _may_use(context)
            for problem in context.assignment.problems:
                engine.alert(f"override left out: {problem}")
            ranked, degraded = _ranked(engine, pipeline, context)
        else:
            ranked = refilter(pipeline, context.query, ranked)
        chosen = _choose(engine, pipeline, ranked, context)
        after = _after(context, chosen)
        response, record = _answered(engine, request, context, ranked, chosen, after, degraded, started)
        if request.dry_run:
            return Page(record.answer.answer)
        if engine.users.write_if(request.user_id, after, read.version, record):
            _tell_supply(engine, context)
            return Page(record.answer.answer)
    return _busy(response)


def _may_use(context: RequestContext) -> tuple[object, ...]:
    """What scores may have been made of: when the person took that back since, they are not kept."""
    return (context.query.viewer.personalised, context.state.safety.is_erased, context.state.interactions.reset_at)


def _holds(stored: StoredAnswer, at: Millis) -> bool:
    """Whether a stored answer answers a repeat: for 24 h, unless it was kept back by a pause, which may be over."""
    if at - stored.at > REPEAT:
        return False
    answer = msgspec.json.decode(stored.answer, type=FeedResponse)
    return bool(answer.items) or answer.pause is None or answer.pause.kind == "break"


def _resolved(engine: Engine, request: FeedRequest, read: Read, pipeline: Pipeline, at: Millis) -> RequestContext:
    """The turn on the state as read, and on what was heard since."""
    if problem := engine.resources.exposure.refresh(at):
        engine.alert(problem)
    pending = read_pending(engine.users, engine.log, engine.resources.catalogue_cache, request.user_id, read, at)
    return resolve(engine.resources, request, read.state, pending, pipeline, at)


def turn_now(engine: Engine, request: FeedRequest, at: Millis) -> RequestContext:
    """The turn that a request would begin now, without serving it."""
    return _resolved(engine, request, engine.users.read(request.user_id), for_surface(request.surface), at)


def _ranked(engine: Engine, pipeline: Pipeline, context: RequestContext) -> tuple[Ranked, list[str]]:
    """
    Candidates best first. When a stage fails, those of the fallback, which has the same filters; when that fails too,
    none: a broken filter must not let anything through.
    """
    if context.failure:
        return _nothing(engine, context, context.failure)
    try:
        ranked = recommend(pipeline, context.query)
        for name, problem in ranked.failed.items():
            engine.alert(f"source {name} left out: {problem}")
        return ranked, [f"source:{name}" for name in ranked.failed]
    except Exception as error:  # whatever a stage raises, the page fails closed
        engine.alert(f"fallback page: {type(error).__name__}: {error}")
    try:
        return recommend(fallback(), context.query), ["ranking"]
    except Exception as error:  # nothing but a filter is left that could fail
        return _nothing(engine, context, f"{type(error).__name__}: {error}")


def _nothing(engine: Engine, context: RequestContext, problem: str) -> tuple[Ranked, list[str]]:
    engine.alert(f"empty page: {problem}")
    nothing = context.query.whole.take(np.empty(0, np.intp)).with_columns({"score": np.empty(0, np.float32)})
    return Ranked(candidates=nothing, removed={}, failed={}), ["ranking", "filters"]


def _choose(engine: Engine, pipeline: Pipeline, ranked: Ranked, context: RequestContext) -> _Chosen:
    """The page on the turn's ledger, checked by the independent validator, which may only take items out."""
    query, ledger = context.query, context.state.safety.ledger
    candidates = promote(ranked.candidates, follow_up(context.cards, query.market, query.surface))
    selection = select(
        candidates,
        ledger=ledger,
        limits=query.limits,
        supply=context.supply,
        supply_factor=query.market.locality.supply_factor,
        size=query.size,
        at=context.at,
        rng=np.random.default_rng([query.seed, 2]),
        explore_slots=query.market.exploration.slots,
        newcomer_share=query.market.locality.new_creator.share,
    )
    selection = _mended(engine, candidates, selection, context)
    is_short = len(selection.rows) < query.size
    removed = removals(pipeline, query) if is_short and not context.failure else {}
    deliveries = delivered(candidates, selection.rows, context.at)
    return _Chosen(candidates=candidates, selection=selection, deliveries=deliveries, removed=removed)


def _tell_supply(engine: Engine, context: RequestContext) -> None:
    """Says so when the catalogue holds too little local for the market's floor, whatever this person saw of it."""
    query, rules = context.query, context.query.market.locality
    wanted = of_20(query.limits.local_floor)
    local = floors(context.state.safety.ledger, query.limits, context.supply, rules.supply_factor)[1]
    if local.wanted >= wanted:
        return
    stock = floors(context.state.safety.ledger, query.limits, catalogue_supply(query), rules.supply_factor)[1]
    said = engine.resources.exposure.note_supply(query.viewer, wanted, stock.wanted, context.at)
    if said:
        engine.alert(said)


def _mended(engine: Engine, candidates: Candidates, selection: Selection, context: RequestContext) -> Selection:
    """The selection without what the validator refuses. Nothing is refused unless the slot loop is wrong."""
    while True:
        page = delivered(candidates, selection.rows, context.at)
        found = violations(
            context.state.safety.ledger, page, context.query.limits, at=context.at, is_minor=context.query.is_minor,
            seen=frozenset(np.flatnonzero(context.query.is_shown).tolist()),
        )  # fmt: skip
        if not found:
            return selection
        engine.alert(f"{context.query.request_id}: {found[0].sentence}")
        keep = [slot for slot in range(len(selection.rows)) if slot != found[0].position - 1]
        selection = replace(
            selection,
            rows=selection.rows[keep],
            propensities=selection.propensities[keep],
            is_exploration=tuple(selection.is_exploration[slot] for slot in keep),
            forced=tuple(selection.forced[slot] for slot in keep),
        )


def _after(context: RequestContext, chosen: _Chosen) -> UserState:
    """The state once the page is delivered: ledger, seen, what the loop breaker notes, and the cards shown."""
    state = record_page(context.state, chosen.deliveries, context.at, context.query.market)
    refusals = chosen.selection.refusals
    state = note_page(
        state, refusals=refusals, deliveries=chosen.deliveries, loop_context=context.loop_context, at=context.at
    )
    return note_cards(state, context.cards, context.at)


def _answered(
    engine: Engine,
    request: FeedRequest,
    context: RequestContext,
    ranked: Ranked,
    chosen: _Chosen,
    after: UserState,
    degraded: list[str],
    started: float,
) -> tuple[FeedResponse, DecisionRecord]:
    query = context.query
    signer = Signer(key=engine.key, request_id=query.request_id, user_id=request.user_id, at=context.at)
    items = items_of(request, query, chosen.candidates, chosen.selection, signer)
    ledger = after.safety.ledger
    response = FeedResponse(
        request_id=query.request_id,
        user_id=request.user_id,
        served_at=to_text(context.at),
        model_version=query.model.version,
        policy_version=query.market.version,
        took_ms=round((engine.timer() - started) * 1_000, 2),
        items=items,
        cards=cards_for(
            context.cards, chosen.deliveries, query.market, context.loop_context.zone, query.surface, context.at
        ),
        pause=context.allowance.pause or _break(context, chosen, ledger),
        shortfall=shortfall_of(request.size, query.size, len(items), chosen.removed, chosen.selection.blocked),
        degraded=degraded,
        experiments=dict(context.assignment.variants),
        safety=safety_of(context, ledger),
        replayed=False,
        cursor=signer.cursor() if items else None,
        dry_run=request.dry_run,
    )
    stored = StoredAnswer(
        request_id=query.request_id,
        user_id=request.user_id,
        at=context.at,
        body_hash=request.body_hash(engine.key),
        answer=msgspec.json.encode(response),
        decision=records.pack(_decision(request, context, ranked, chosen, degraded)),
    )
    tallies = exposure_of_page(query.items, chosen.candidates, chosen.selection, query.viewer, query.market, context.at)
    return response, DecisionRecord(answer=stored, deliveries=(*context.opens, *chosen.deliveries), tallies=tallies)


def _break(context: RequestContext, chosen: _Chosen, after: Ledger) -> Pause | None:
    is_capped = any(why.startswith(("cap:", "gap:")) for why in chosen.selection.blocked)
    return break_after(context.state.safety.ledger, after, context.query.market, is_capped=is_capped)


def _decision(
    request: FeedRequest, context: RequestContext, ranked: Ranked, chosen: _Chosen, degraded: list[str]
) -> records.Decision:
    query, candidates, selection = context.query, chosen.candidates, chosen.selection
    sources, bits = records.source_bits(candidates)
    parts = {name: column for name, column in candidates.columns.items() if name.startswith("p_")}
    return records.Decision(
        request_id=query.request_id,
        user_id=query.viewer.user_id,
        at=context.at,
        size=query.size,
        seed=query.seed,
        surface=query.surface,
        request=msgspec.json.encode(msgspec.structs.replace(request, query=None)),  # what was searched is not kept
        languages=query.viewer.languages,
        model_version=query.model.version,
        policy_version=query.market.version,
        experiments=dict(context.assignment.variants),
        catalogue_revision=query.items.revision,
        age_band=query.viewer.age_band,
        loop_level=context.state.safety.loop.level,
        is_night=context.is_night,
        is_bound_by_night=context.is_bound_by_night,
        degraded=degraded,
        weights=dict(query.weights),
        limits=query.limits,
        own_limits=context.own,
        supply=context.supply,
        supply_factor=query.market.locality.supply_factor,
        explore_slots=query.market.exploration.slots,
        newcomer_share=query.market.locality.new_creator.share,
        ledger=context.state.safety.ledger,
        item_nos=candidates.item_nos.astype("<i4").tobytes(),
        scores=candidates["score"].astype("<f4").tobytes(),
        columns=records.columns_of(candidates),
        parts={name: column.astype("<f2").tobytes() for name, column in parts.items()},
        sources=sources,
        from_sources=bits,
        removed={name: len(numbers) for name, numbers in ranked.removed.items()},
        lost=dict(chosen.removed),
        chosen=selection.rows.tolist(),
        propensities=selection.propensities.astype("<f4").tobytes(),
        forced=list(selection.forced),
        floor_missed=[f"{miss.name}: {miss.reason}" for miss in selection.floor_missed],
    )


def _repeated(engine: Engine, request: FeedRequest, context: RequestContext, stored: StoredAnswer) -> Page:
    """The stored page, less what is forbidden by now; never more."""
    if stored.body_hash != request.body_hash(engine.key):
        raise Conflict(
            f"request_id: found {request.request_id!r}, which was used within 24 h for another request; "
            "expected a new id, or the same request"
        )
    answer = msgspec.json.decode(stored.answer, type=FeedResponse)
    kept = [item for item in answer.items if context.allowance.most > 0 and _is_still_allowed(context, item)]
    return Page(msgspec.json.encode(msgspec.structs.replace(answer, items=kept, replayed=True)))


def _is_still_allowed(context: RequestContext, item: FeedItem) -> bool:
    """Whether no rule forbids the item by now, and its label is not higher than when it was sent."""
    item_no = context.query.items.index.get(item.item_id)
    if item_no is None or context.failure:
        return False
    row = context.query.whole.take(np.array([item_no], np.intp))
    tier, family, is_s4 = int(row["tier"][0]), int(row["family"][0]), bool(row["is_s4"][0])
    windows = [windows_of(context.query.limits, name) for name in counters_of(tier, family, is_s4)]
    is_never = any(0 in (w.last_20, w.session, w.rolling_24h, w.rolling_7d) for w in windows)
    return (
        tier <= int(item.tier[1]) and not is_never and all(FILTERS[name](context.query, row)[0] for name in FORBIDDING)
    )


def _busy(response: FeedResponse) -> Page:
    """Too many pages of one person at once: an empty page rather than one that no ledger knows."""
    missing = {"busy": response.shortfall.missing + len(response.items)}
    shortfall = msgspec.structs.replace(response.shortfall, missing=missing["busy"], because=missing)
    empty = msgspec.structs.replace(response, items=[], cursor=None, shortfall=shortfall, degraded=["busy"])
    return Page(msgspec.json.encode(empty), retry_after_s=1)


def safe_page(engine: Engine, request: FeedRequest, at: Millis) -> Page:
    """The safe list of the artifact, as far as the last known catalogue still allows every item. Reserves nothing."""
    items, market = engine.resources.catalogue_cache.items, engine.resources.policy.market
    spoken = request.context.languages or market.languages
    heavy = topic_bits([market.hope_topic, market.grief_topic])
    page: list[FeedItem] = []
    for item_id in engine.resources.model.safe_feed:
        item_no = items.index.get(item_id)
        is_asked_for = request.candidate_ids is None or item_id in request.candidate_ids
        if item_no is None or len(page) == request.size or item_id in request.exclude_ids or not is_asked_for:
            continue
        language = items.name(int(items.language[item_no]))
        is_calm = items.is_labelled[item_no] and items.minor_tier[item_no] == 0 and not items.topics[item_no] & heavy
        if is_calm and not items.is_hidden[item_no] and items.min_age[item_no] <= 12 and language in (None, *spoken):
            topics = topic_names(int(items.topics[item_no]))
            page.append(safe_item(item_id, items.creator_ids[item_no], len(page) + 1, topics, language, spoken))
    response = safe_response(
        request, page, at=at, model_version=engine.resources.model.version, policy_version=market.version,
        band=_trained_band(engine, request),
    )  # fmt: skip
    names = ("crisis",) if is_harm_seeking(request, items, engine.resources.harm_terms) else ()
    cards = cards_for(names, [], market, engine.resources.policy.zone, request.surface, at)
    return Page(msgspec.json.encode(msgspec.structs.replace(response, cards=cards)))


def _trained_band(engine: Engine, request: FeedRequest) -> str:
    """The age band as far as it is known without a store."""
    profile = profile_of(UserState(), engine.resources.model, request.user_id)
    market, given = engine.resources.policy.market, request.context.age_band
    return effective_band(market, stored=profile.age_band, source=profile.age_source, given=given)
