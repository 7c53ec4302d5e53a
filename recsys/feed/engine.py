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
from recsys.feed.attribution import tallies_of
from recsys.feed.catchup import heard
from recsys.feed.events import remember
from recsys.feed.filters import FILTERS, FORBIDDING
from recsys.feed.locks import Locks
from recsys.feed.pipeline import Pipeline, Ranked, fallback, for_surface, recommend, refilter, removals, reranking
from recsys.feed.plan import Known, Turn, profile_of, resolve, stock_of
from recsys.feed.response import CURSOR_TTL, Signer, items_of, safe_item, safe_response, safety_of, shortfall_of
from recsys.feed.slate import Selection, delivered, floors, select
from recsys.messages import MAX_SIZE, FeedItem, FeedRequest, FeedResponse, Pause
from recsys.policy.compiled import effective_band
from recsys.safety.cards import cards_for, follow_up, led, note_cards
from recsys.safety.floors import of_20
from recsys.safety.ledger import counters_of, windows_of
from recsys.safety.loop.levels import is_attempt, note_page
from recsys.safety.screen_time import break_after
from recsys.safety.validator import violations
from recsys.stores.protocols import DecisionRecord, EventLog, Read, StoredAnswer, UserStore
from recsys.tokens import verify
from recsys.types import Candidates
from recsys.user.state import Delivery, Ledger, UserState

REPEAT: Final = DAY  # how long a request_id answers with the same page
ATTEMPTS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Everything a feed needs. `alert` is told when a page had to be mended; `timer` gives seconds."""

    known: Known
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
    for _ in range(ATTEMPTS):
        read = engine.users.read(request.user_id, request.request_id)
        turn = _resolved(engine, request, read, pipeline, at)
        if read.answer is not None and not request.dry_run and _holds(read.answer, at):
            return _repeated(engine, request, turn, read.answer)
        if ranked is None or turn.failure or used != _may_use(turn):
            used = _may_use(turn)
            for problem in turn.assignment.problems:
                engine.alert(f"override left out: {problem}")
            ranked, degraded = _ranked(engine, pipeline, turn)
        else:
            ranked = refilter(pipeline, turn.query, ranked)
        chosen = _choose(engine, pipeline, ranked, turn)
        after = _after(turn, chosen)
        response, record = _answered(engine, request, turn, ranked, chosen, after, degraded, started)
        if request.dry_run:
            return Page(record.answer.answer)
        if engine.users.write_if(request.user_id, after, read.version, record):
            _tell_supply(engine, turn)
            return Page(record.answer.answer)
    return _busy(response)


def _may_use(turn: Turn) -> tuple[object, ...]:
    """What scores may have been made of: when the person took that back since, they are not kept."""
    return (turn.query.viewer.personalised, turn.state.counted.is_erased, turn.state.taste.reset_at)


def _holds(stored: StoredAnswer, at: Millis) -> bool:
    """Whether a stored answer answers a repeat: for 24 h, unless it was kept back by a pause, which may be over."""
    if at - stored.at > REPEAT:
        return False
    answer = msgspec.json.decode(stored.answer, type=FeedResponse)
    return bool(answer.items) or answer.pause is None or answer.pause.kind == "break"


def _resolved(engine: Engine, request: FeedRequest, read: Read, pipeline: Pipeline, at: Millis) -> Turn:
    """The turn on the state as read, and on what was heard since."""
    if problem := engine.known.reach.refresh(at):
        engine.alert(problem)
    news = heard(engine.users, engine.log, engine.known.view, request.user_id, read, at)
    return resolve(engine.known, request, read.state, news, pipeline, at)


def turn_now(engine: Engine, request: FeedRequest, at: Millis) -> Turn:
    """The turn that a request would begin now, without serving it."""
    return _resolved(engine, request, engine.users.read(request.user_id), for_surface(request.surface), at)


def _ranked(engine: Engine, pipeline: Pipeline, turn: Turn) -> tuple[Ranked, list[str]]:
    """
    Candidates best first. When a stage fails, those of the fallback, which has the same filters; when that fails too,
    none: a broken filter must not let anything through.
    """
    if turn.failure:
        return _nothing(engine, turn, turn.failure)
    try:
        ranked = recommend(pipeline, turn.query)
        for name, problem in ranked.failed.items():
            engine.alert(f"source {name} left out: {problem}")
        return ranked, [f"source:{name}" for name in ranked.failed]
    except Exception as error:  # whatever a stage raises, the page fails closed
        engine.alert(f"fallback page: {type(error).__name__}: {error}")
    try:
        return recommend(fallback(), turn.query), ["ranking"]
    except Exception as error:  # nothing but a filter is left that could fail
        return _nothing(engine, turn, f"{type(error).__name__}: {error}")


def _nothing(engine: Engine, turn: Turn, problem: str) -> tuple[Ranked, list[str]]:
    engine.alert(f"empty page: {problem}")
    nothing = turn.query.whole.take(np.empty(0, np.intp)).with_columns({"score": np.empty(0, np.float32)})
    return Ranked(candidates=nothing, removed={}, failed={}), ["ranking", "filters"]


def _choose(engine: Engine, pipeline: Pipeline, ranked: Ranked, turn: Turn) -> _Chosen:
    """The page on the turn's ledger, checked by the independent validator, which may only take items out."""
    query, ledger = turn.query, turn.state.counted.ledger
    candidates = led(ranked.candidates, follow_up(turn.cards, query.market, query.surface))
    selection = select(
        candidates,
        ledger=ledger,
        limits=query.limits,
        supply=turn.supply,
        supply_factor=query.market.locality.supply_factor,
        size=query.size,
        at=turn.at,
        rng=np.random.default_rng([query.seed, 2]),
        explore_slots=query.market.exploration.slots,
        newcomer_share=query.market.locality.new_creator.share,
    )
    selection = _mended(engine, candidates, selection, turn)
    is_short = len(selection.rows) < query.size
    removed = removals(pipeline, query) if is_short and not turn.failure else {}
    deliveries = delivered(candidates, selection.rows, turn.at)
    return _Chosen(candidates=candidates, selection=selection, deliveries=deliveries, removed=removed)


def _tell_supply(engine: Engine, turn: Turn) -> None:
    """Says so when the catalogue holds too little local for the market's floor, whatever this person saw of it."""
    query, rules = turn.query, turn.query.market.locality
    wanted = of_20(query.limits.local_floor)
    local = floors(turn.state.counted.ledger, query.limits, turn.supply, rules.supply_factor)[1]
    if local.wanted >= wanted:
        return
    stock = floors(turn.state.counted.ledger, query.limits, stock_of(query), rules.supply_factor)[1]
    said = engine.known.reach.note_supply(query.viewer, wanted, stock.wanted, turn.at)
    if said:
        engine.alert(said)


def _mended(engine: Engine, candidates: Candidates, selection: Selection, turn: Turn) -> Selection:
    """The selection without what the validator refuses. Nothing is refused unless the slot loop is wrong."""
    while True:
        page = delivered(candidates, selection.rows, turn.at)
        found = violations(
            turn.state.counted.ledger, page, turn.query.limits, at=turn.at, is_minor=turn.query.is_minor,
            seen=frozenset(np.flatnonzero(turn.query.is_shown).tolist()),
        )  # fmt: skip
        if not found:
            return selection
        engine.alert(f"{turn.query.request_id}: {found[0].sentence}")
        keep = [slot for slot in range(len(selection.rows)) if slot != found[0].position - 1]
        selection = replace(
            selection,
            rows=selection.rows[keep],
            propensities=selection.propensities[keep],
            is_exploration=tuple(selection.is_exploration[slot] for slot in keep),
            forced=tuple(selection.forced[slot] for slot in keep),
        )


def _after(turn: Turn, chosen: _Chosen) -> UserState:
    """The state once the page is delivered: ledger, seen, what the loop breaker notes, and the cards shown."""
    state = remember(turn.state, chosen.deliveries, turn.at, turn.query.market)
    refusals = chosen.selection.refusals
    state = note_page(state, refusals=refusals, deliveries=chosen.deliveries, frame=turn.frame, at=turn.at)
    return note_cards(state, turn.cards, turn.at)


def _answered(
    engine: Engine,
    request: FeedRequest,
    turn: Turn,
    ranked: Ranked,
    chosen: _Chosen,
    after: UserState,
    degraded: list[str],
    started: float,
) -> tuple[FeedResponse, DecisionRecord]:
    query = turn.query
    signer = Signer(key=engine.key, request_id=query.request_id, user_id=request.user_id, at=turn.at)
    items = items_of(request, query, chosen.candidates, chosen.selection, signer)
    ledger = after.counted.ledger
    response = FeedResponse(
        request_id=query.request_id,
        user_id=request.user_id,
        served_at=to_text(turn.at),
        model_version=query.model.version,
        policy_version=query.market.version,
        took_ms=round((engine.timer() - started) * 1_000, 2),
        items=items,
        cards=cards_for(turn.cards, chosen.deliveries, query.market, turn.frame.zone, query.surface, turn.at),
        pause=turn.gate.pause or _break(turn, chosen, ledger),
        shortfall=shortfall_of(request.size, query.size, len(items), chosen.removed, chosen.selection.blocked),
        degraded=degraded,
        experiments=dict(turn.assignment.variants),
        safety=safety_of(turn, ledger),
        replayed=False,
        cursor=signer.cursor() if items else None,
        dry_run=request.dry_run,
    )
    stored = StoredAnswer(
        request_id=query.request_id,
        user_id=request.user_id,
        at=turn.at,
        body_hash=request.body_hash(engine.key),
        answer=msgspec.json.encode(response),
        decision=records.pack(_decision(request, turn, ranked, chosen, degraded)),
    )
    tallies = tallies_of(query.items, chosen.candidates, chosen.selection, query.viewer, query.market, turn.at)
    return response, DecisionRecord(answer=stored, deliveries=(*turn.opens, *chosen.deliveries), tallies=tallies)


def _break(turn: Turn, chosen: _Chosen, after: Ledger) -> Pause | None:
    is_capped = any(why.startswith(("cap:", "gap:")) for why in chosen.selection.blocked)
    return break_after(turn.state.counted.ledger, after, turn.query.market, is_capped=is_capped)


def _decision(
    request: FeedRequest, turn: Turn, ranked: Ranked, chosen: _Chosen, degraded: list[str]
) -> records.Decision:
    query, candidates, selection = turn.query, chosen.candidates, chosen.selection
    sources, bits = records.source_bits(candidates)
    parts = {name: column for name, column in candidates.columns.items() if name.startswith("p_")}
    return records.Decision(
        request_id=query.request_id,
        user_id=query.viewer.user_id,
        at=turn.at,
        size=query.size,
        seed=query.seed,
        surface=query.surface,
        request=msgspec.json.encode(msgspec.structs.replace(request, query=None)),  # what was searched is not kept
        languages=query.viewer.languages,
        model_version=query.model.version,
        policy_version=query.market.version,
        experiments=dict(turn.assignment.variants),
        catalogue_revision=query.items.revision,
        age_band=query.viewer.age_band,
        loop_level=turn.state.counted.loop.level,
        is_night=turn.is_night,
        is_bound_by_night=turn.is_bound_by_night,
        degraded=degraded,
        weights=dict(query.weights),
        limits=query.limits,
        own_limits=turn.own,
        supply=turn.supply,
        supply_factor=query.market.locality.supply_factor,
        explore_slots=query.market.exploration.slots,
        newcomer_share=query.market.locality.new_creator.share,
        ledger=turn.state.counted.ledger,
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


def _repeated(engine: Engine, request: FeedRequest, turn: Turn, stored: StoredAnswer) -> Page:
    """The stored page, less what is forbidden by now; never more."""
    if stored.body_hash != request.body_hash(engine.key):
        raise Conflict(
            f"request_id: found {request.request_id!r}, which was used within 24 h for another request; "
            "expected a new id, or the same request"
        )
    answer = msgspec.json.decode(stored.answer, type=FeedResponse)
    kept = [item for item in answer.items if turn.gate.most > 0 and _is_still_allowed(turn, item)]
    return Page(msgspec.json.encode(msgspec.structs.replace(answer, items=kept, replayed=True)))


def _is_still_allowed(turn: Turn, item: FeedItem) -> bool:
    """Whether no rule forbids the item by now, and its label is not higher than when it was sent."""
    item_no = turn.query.items.index.get(item.item_id)
    if item_no is None or turn.failure:
        return False
    row = turn.query.whole.take(np.array([item_no], np.intp))
    tier, family, is_s4 = int(row["tier"][0]), int(row["family"][0]), bool(row["is_s4"][0])
    windows = [windows_of(turn.query.limits, name) for name in counters_of(tier, family, is_s4)]
    is_never = any(0 in (w.last_20, w.session, w.rolling_24h, w.rolling_7d) for w in windows)
    return tier <= int(item.tier[1]) and not is_never and all(FILTERS[name](turn.query, row)[0] for name in FORBIDDING)


def _busy(response: FeedResponse) -> Page:
    """Too many pages of one person at once: an empty page rather than one that no ledger knows."""
    missing = {"busy": response.shortfall.missing + len(response.items)}
    shortfall = msgspec.structs.replace(response.shortfall, missing=missing["busy"], because=missing)
    empty = msgspec.structs.replace(response, items=[], cursor=None, shortfall=shortfall, degraded=["busy"])
    return Page(msgspec.json.encode(empty), retry_after_s=1)


def safe_page(engine: Engine, request: FeedRequest, at: Millis) -> Page:
    """The safe list of the artifact, as far as the last known catalogue still allows every item. Reserves nothing."""
    items, market = engine.known.view.items, engine.known.book.market
    spoken = request.context.languages or market.languages
    heavy = topic_bits([market.hope_topic, market.grief_topic])
    page: list[FeedItem] = []
    for item_id in engine.known.model.safe_feed:
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
        request, page, at=at, model_version=engine.known.model.version, policy_version=market.version,
        band=_trained_band(engine, request),
    )  # fmt: skip
    names = ("crisis",) if is_attempt(request, items, engine.known.lexicon) else ()
    cards = cards_for(names, [], market, engine.known.book.zone, request.surface, at)
    return Page(msgspec.json.encode(msgspec.structs.replace(response, cards=cards)))


def _trained_band(engine: Engine, request: FeedRequest) -> str:
    """The age band as far as it is known without a store."""
    profile = profile_of(UserState(), engine.known.model, request.user_id)
    market, given = engine.known.book.market, request.context.age_band
    return effective_band(market, stored=profile.age_band, source=profile.age_source, given=given)
