"""
The engine: one request, as data flows.

    read -> plan -> reserve -> answer

The same code runs in the HTTP service, in the simulator and for one feed on the command line. Reserve, then respond:
a page goes out only after its deliveries are committed against the very ledger it was selected on. When another page
was committed first, this one is selected again on the new ledger; its scores are used again.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from recsys.clock import Millis
from recsys.errors import DataError, Gone, StoreError
from recsys.feed import record as records
from recsys.feed.answer import answer_of, pack_answer
from recsys.feed.attribution import exposure_of_page
from recsys.feed.catchup import PendingUpdates, read_pending
from recsys.feed.context import EngineResources, RequestContext, register_activity, resolve_context
from recsys.feed.events import record_page
from recsys.feed.included import with_included
from recsys.feed.locks import Locks
from recsys.feed.pipeline import in_time
from recsys.feed.plan import Plan, make_plan, pipeline_of
from recsys.feed.repeat import answers_repeat, check_same_request, repeated_page
from recsys.feed.response import CURSOR_TTL, response_of
from recsys.feed.safe_feed import safe_feed
from recsys.feed.slate import floors
from recsys.feed.supply import catalogue_supply
from recsys.messages import MAX_SIZE, FeedRequest, FeedResponse
from recsys.safety.cards import note_cards
from recsys.safety.floors import of_20
from recsys.safety.loop.levels import note_page
from recsys.stores.protocols import DecisionRecord, Read, StoredAnswer, Stores
from recsys.tokens import verify
from recsys.user.state import UserState

MAX_RESERVE_TRIES: Final = 6


def unwatched(plan: Plan, seconds: float) -> None:
    """What is told of a page where nobody counts pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """
    Everything a feed needs. `alert` receives sentences for the operator; `timer` gives seconds; `time_used` the share
    of its time that the request of this thread has used. `on_page` is told of each page that was reserved: its
    plan, and the seconds that it took to make.
    """

    resources: EngineResources
    stores: Stores
    key: bytes
    new_id: Callable[[], str]
    timer: Callable[[], float]
    alert: Callable[[str], None]
    time_used: Callable[[], float] = in_time
    on_page: Callable[[Plan, float], None] = unwatched
    locks: Locks = field(default_factory=Locks)

    def plan(self, request: FeedRequest, at: Millis) -> Plan:
        """The page that a request would get at `at`. Reserves and writes nothing. Raises DataError and StoreError."""
        read = self.stores.users.read(request.user_id)
        return make_plan(self.resources, request, read.state, self._pending(request, read, at), at)

    def context(self, request: FeedRequest, at: Millis) -> RequestContext:
        """What a request resolves to at `at`, without ranking. Writes nothing. Raises DataError and StoreError."""
        read = self.stores.users.read(request.user_id)
        pending = self._pending(request, read, at)
        return resolve_context(self.resources, request, read.state, pending, pipeline_of(request), at)

    def _pending(self, request: FeedRequest, read: Read, at: Millis) -> PendingUpdates:
        return read_pending(self.stores, self.resources.catalogue_cache, request.user_id, read, at)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer as JSON; with `retry_after_s` set it is empty and the caller should ask again."""

    answer: bytes
    retry_after_s: int | None = None


def feed(engine: Engine, request: FeedRequest, at: Millis) -> Page:
    """
    One page. Raises DataError (the request cannot be answered), Conflict (its id was used for another request) and
    Gone (its cursor has expired); a store that does not answer yields the safe feed.
    """
    started = engine.timer()
    if not 1 <= request.size <= MAX_SIZE:
        raise DataError(f"size: found {request.size}, expected 1 to {MAX_SIZE}")
    request = _identified(engine, request, at)
    try:
        with engine.locks.of(request.user_id):
            page = _serve(engine, request, at, started)
    except StoreError as error:
        engine.alert(f"safe feed: {error}")
        page = _safe_page(engine, request, at)
    return Page(with_included(engine.resources, request, page.answer), page.retry_after_s)


def safe_page(engine: Engine, request: FeedRequest, at: Millis) -> Page:
    """
    The page for when the clock is not believed: see `recsys.feed.safe_feed`. As far as the stores answer, a takedown
    binds it like any other page.
    """
    with suppress(StoreError):
        engine.resources.catalogue_cache.at_least(engine.stores.users.read(request.user_id).revision)
    page = _safe_page(engine, request, at)
    return Page(with_included(engine.resources, request, page.answer))


def _safe_page(engine: Engine, request: FeedRequest, at: Millis) -> Page:
    return Page(msgspec.json.encode(safe_feed(engine.resources, request, at)))


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


def _serve(engine: Engine, request: FeedRequest, at: Millis, started: float) -> Page:
    """Plans and reserves, and plans again for as long as another page of this person is committed first."""
    plan = None
    for _ in range(MAX_RESERVE_TRIES):
        read = engine.stores.users.read(request.user_id, request.request_id)
        _refresh_exposure(engine, at)
        pending = engine._pending(request, read, at)
        if read.answer is not None and not request.dry_run:
            check_same_request(request, read.answer, engine.key, at)
            before = answer_of(read.answer, engine.key)
            if answers_repeat(before, read.answer.at, at):
                context = resolve_context(engine.resources, request, read.state, pending, pipeline_of(request), at)
                _note_activity(engine, request.user_id, at)
                return Page(msgspec.json.encode(repeated_page(context, before)))
        began = engine.timer()
        plan = make_plan(engine.resources, request, read.state, pending, at, plan, engine.time_used)
        planned_s = engine.timer() - began
        for sentence in plan.alerts:
            engine.alert(sentence)
        after = state_after(plan)
        took_ms = round((engine.timer() - started) * 1_000, 2)
        response = response_of(request, plan, after.safety.ledger, engine.key, took_ms)
        answer = msgspec.json.encode(response)
        if request.dry_run:
            _note_activity(engine, request.user_id, at)
            return Page(answer)
        if engine.stores.users.write_if(request.user_id, after, read.version, _record(engine, request, plan, response)):
            _report_supply(engine, plan.context)
            engine.on_page(plan, planned_s)
            return Page(answer)
    return _busy(response)


def _note_activity(engine: Engine, user_id: str, at: Millis) -> None:
    """
    Writes that the person was active, and nothing else: whoever repeats requests or asks for dry runs stays in the
    session, and does not free its caps by waiting. When others keep winning, the person's own pages say the same.
    """
    for _ in range(MAX_RESERVE_TRIES):
        read = engine.stores.users.read(user_id)
        state = register_activity(read.state, engine.resources.policy.market, at)
        if engine.stores.users.write_if(user_id, state, read.version):
            return


def _refresh_exposure(engine: Engine, at: Millis) -> None:
    if problem := engine.resources.exposure.refresh(at):
        engine.alert(problem)


def state_after(plan: Plan) -> UserState:
    """The state once the page is delivered: ledger, seen, what the loop breaker notes, and the cards shown."""
    context = plan.context
    state = record_page(context.state, plan.deliveries, context.at, context.query.market)
    state = note_page(
        state,
        refusals=plan.selection.refusals,
        deliveries=plan.deliveries,
        loop_context=context.loop_context,
        at=context.at,
    )
    return note_cards(state, context.cards, context.at)


def _record(engine: Engine, request: FeedRequest, plan: Plan, response: FeedResponse) -> DecisionRecord:
    """What is committed with the state: deliveries, the answer, its decision, and the creators' exposure."""
    context, query = plan.context, plan.context.query
    stored = StoredAnswer(
        request_id=query.request_id,
        user_id=request.user_id,
        at=context.at,
        body_hash=request.body_hash(engine.key),
        answer=pack_answer(response),
        decision=records.pack(records.decision_of(request, plan)),
    )
    counts = exposure_of_page(query.items, plan.candidates, plan.selection, query.viewer, query.market, context.at)
    return DecisionRecord(answer=stored, deliveries=(*context.opens, *plan.deliveries), exposure=counts)


def _report_supply(engine: Engine, context: RequestContext) -> None:
    """Alerts when the catalogue holds too little local for the market's floor, whatever this person saw of it."""
    query, rules = context.query, context.query.market.locality
    floor = of_20(query.limits.local_floor)
    ledger = context.state.safety.ledger
    if floors(ledger, query.limits, context.supply, rules.supply_factor)[1].wanted >= floor:
        return
    possible = floors(ledger, query.limits, catalogue_supply(query), rules.supply_factor)[1].wanted
    if sentence := engine.resources.exposure.note_supply(query.viewer, floor, possible, context.at):
        engine.alert(sentence)


def _busy(response: FeedResponse) -> Page:
    """Too many pages of one person at once: an empty page rather than one that no ledger knows."""
    missing = response.shortfall.missing + len(response.items)
    shortfall = msgspec.structs.replace(response.shortfall, missing=missing, because={"busy": missing})
    empty = msgspec.structs.replace(response, items=[], cursor=None, shortfall=shortfall, degraded=["busy"])
    return Page(msgspec.json.encode(empty), retry_after_s=1)
