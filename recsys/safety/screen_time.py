"""
Screen time: pauses, night and budgets. Pure; a pause is a card on a page, and what a person answers is remembered.

| kind     | when | the page | ends |
|----------|------|----------|------|
| guardian | the guardian's minutes of 24 hours are used | empty | when enough of them are a day old |
| budget   | the person's or the age band's minutes are used | empty until an active choice | likewise |
| night    | night, where the age band asks for a choice | empty until an active choice | in the morning |
| break    | every 20 deliveries of a session, or caps made the page short | of minors ends there | at once |

`continue` holds for the session; `stop` gives empty pages until the pause's end, or for a break until the session is
over. A choice counts only for a pause that holds now, so that no client can answer ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from recsys.clock import MINUTE, Millis, to_text
from recsys.messages import MAX_SIZE, Pause, PauseChoice
from recsys.policy.limits import Limits
from recsys.policy.nights import next_day
from recsys.policy.schema import Market
from recsys.safety.ledger import active_minutes, under_budget_at
from recsys.user.state import Guardian, Ledger, UserState
from recsys.vocabulary import PauseKind

MAX_ANSWERS: Final = 2  # budget and night; a break needs no answer to go on


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAllowance:
    """What screen time says before a page: why it is empty (else None), and how many items it may hold at most."""

    pause: Pause | None
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseContext:
    """What a pause depends on beside the person. `limits` are the effective ones, `is_night` follows from them."""

    market: Market
    zones: tuple[ZoneInfo, ...]
    band: str
    limits: Limits
    is_night: bool
    at: Millis


@dataclass(frozen=True, slots=True)
class _Reason:
    """One pause that holds now. `until` None = no end is known."""

    kind: PauseKind
    pause_id: str
    until: Millis | None


def pause_for(
    state: UserState, choice: PauseChoice | None, pause_context: PauseContext
) -> tuple[UserState, PageAllowance]:
    """
    The state with the person's answer, and what it leaves of the page. The ledger knows of the activity at `at`.

    The strictest pause is shown: guardian, then a stop, then budget, then night.
    """
    state = apply_choice(state, choice, pause_context)
    ledger = state.safety.ledger
    reasons = _reasons(state, pause_context)
    dismissed = {pause_id for pause_id, answer in ledger.pause_answered if answer == "continue"}
    for reason in reasons:
        if reason.kind == "guardian":
            return state, PageAllowance(pause=_pause(reason, pause_context.market), most=0)
    stopped = _stopped(ledger, pause_context.at)
    for reason in [stopped] if stopped else reasons:
        if reason.pause_id not in dismissed:
            return state, PageAllowance(pause=_pause(reason, pause_context.market), most=0)
    return state, PageAllowance(pause=None, most=_until_break(ledger, pause_context))


def apply_choice(state: UserState, choice: PauseChoice | None, pause_context: PauseContext) -> UserState:
    """The state with an answer to a pause that holds now; any other answer, and one to a guardian, changes nothing."""
    ledger = state.safety.ledger
    stopped = _stopped(ledger, pause_context.at)
    if choice is None:
        return state
    open_to_choice = [*_reasons(state, pause_context), *_past_break(ledger, choice), *([stopped] if stopped else [])]
    pause = next((reason for reason in open_to_choice if reason.pause_id == choice.pause_id), None)
    if pause is None or pause.kind == "guardian":
        return state
    answers = [pair for pair in ledger.pause_answered if pair[0] != choice.pause_id]
    answers += [(choice.pause_id, choice.choice)] if pause.kind != "break" else []
    stop = ("", 0) if ledger.stopped[0] == choice.pause_id else ledger.stopped
    if choice.choice == "stop":
        idle = pause_context.at + pause_context.market.session.idle_minutes * MINUTE
        stop = (choice.pause_id, pause.until or idle)
    ledger = msgspec.structs.replace(ledger, pause_answered=tuple(answers[-MAX_ANSWERS:]), stopped=stop)
    return msgspec.structs.replace(state, safety=msgspec.structs.replace(state.safety, ledger=ledger))


def _reasons(state: UserState, pause_context: PauseContext) -> Sequence[_Reason]:
    """Every pause that holds at `at`, strictest first, answered or not."""
    ledger, at, session = state.safety.ledger, pause_context.at, state.safety.ledger.session_started_at
    minutes, reasons = active_minutes(ledger, at), []
    guardian = (state.person.guardian or Guardian()).daily_minutes
    budget = pause_context.limits.daily_minutes
    if guardian is not None and minutes >= guardian:
        reasons.append(_Reason("guardian", f"guardian-{session}", under_budget_at(ledger, guardian, at)))
    if budget is not None and minutes >= budget:
        reasons.append(_Reason("budget", f"budget-{session}", under_budget_at(ledger, budget, at)))
    if pause_context.is_night and pause_context.market.ages[pause_context.band].night.needs_choice:
        reasons.append(
            _Reason("night", f"night-{session}", next_day(at, pause_context.zones, pause_context.limits.night))
        )
    return reasons


def _stopped(ledger: Ledger, at: Millis) -> _Reason | None:
    """The pause at which the person stopped, as long as that holds."""
    pause_id, until = ledger.stopped
    if not pause_id or at >= until:
        return None
    kinds: tuple[PauseKind, ...] = ("budget", "night", "break")
    return _Reason(next(kind for kind in kinds if pause_id.startswith(kind)), pause_id, until)


def _past_break(ledger: Ledger, choice: PauseChoice) -> Sequence[_Reason]:
    """The soft stop of this session that a choice answers, if the session has come so far."""
    n = choice.pause_id.rpartition("-")[2]
    is_past = n.isdecimal() and int(n) <= ledger.session_n and choice.pause_id == _break_id(ledger, int(n))
    return [_Reason("break", choice.pause_id, None)] if is_past else []


def _break_id(ledger: Ledger, n: int) -> str:
    return f"break-{ledger.session_started_at}-{n}"


def _until_break(ledger: Ledger, pause_context: PauseContext) -> int:
    """How many items a page may hold: for minors no more than up to the next soft stop."""
    every = pause_context.market.session.break_every
    return every - ledger.session_n % every if pause_context.market.ages[pause_context.band].is_minor else MAX_SIZE


def break_after(before: Ledger, after: Ledger, market: Market, *, is_capped: bool) -> Pause | None:
    """
    The soft stop that a page reached, from the ledgers before and after its delivery.

    A page that a cap or a gap made short ends in one as well: waiting is what makes room.
    """
    every = market.session.break_every
    n = after.session_n - after.session_n % every
    if after.session_n // every > before.session_n // every:
        return _pause(_Reason("break", _break_id(after, n), None), market)
    return _pause(_Reason("break", _break_id(after, after.session_n), None), market) if is_capped else None


def _pause(reason: _Reason, market: Market) -> Pause:
    return Pause(
        pause_id=reason.pause_id,
        kind=reason.kind,
        until=None if reason.until is None else to_text(reason.until),
        needs_choice=reason.kind in ("budget", "night"),
        text=dict(market.pauses[reason.kind]),
    )
