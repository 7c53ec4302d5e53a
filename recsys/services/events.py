"""Events reported by the platform. Nothing accepted is ever lost: an answer means it is durable."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from recsys.clock import DAY, MINUTE, Millis, to_text
from recsys.columns import EARLIEST, EVENTS, Column, subject_of
from recsys.errors import DataError
from recsys.feed.engine import Engine
from recsys.instants import read_instant
from recsys.messages import MAX_TOKEN_LENGTH, RejectedEvent
from recsys.safety.harm_terms import redact_query
from recsys.services.fields import check_column, shorten
from recsys.tokens import verify
from recsys.types import Event, Fields
from recsys.vocabulary import EVENT_KINDS

MAX_EVENTS: Final = 1_000
MAX_AGE_MS: Final = 7 * DAY
MAX_AHEAD_MS: Final = 5 * MINUTE  # clocks differ; an event from further ahead is refused
TABLE_ONLY: Final = ("surface", "propensity", "variant")
"""Columns of a logged event that the engine writes: a reported event does not have them."""
_REPORTED: Final = tuple(c for c in EVENTS.columns if c.name not in (*TABLE_ONLY, "kind", "at"))
_SUBJECTS: Final = ("item_id", "creator_id", "query")
TIGHTENING: Final = ("too_much", "report")
"""What a person says of an item counts for their safety also where the catalogue does not hold it."""
UNLISTED_NO: Final = 0
"""The item number in the token of an item that a caller brought and the catalogue does not hold."""


class EventReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a batch of events."""

    accepted: int
    duplicates: int
    rejected: tuple[RejectedEvent, ...]


def accept_events(engine: Engine, events: Sequence[Fields], at: Millis, *, is_history: bool = False) -> EventReceipt:
    """
    Events into the log: durable before this returns, once per (user, event_id), acting on the next feed. Events that
    are history are older than 7 days: the next model learns from them and they count as seen, and no ledger knows them.

    An event that breaks the contract is rejected by itself, with a sentence. Raises StoreError when the log does not
    answer (then none is accepted) and DataError for more than 1,000 events.
    """
    if len(events) > MAX_EVENTS:
        raise DataError(f"events: found {len(events)}, expected at most {MAX_EVENTS}; send several batches")
    good: list[Event] = []
    rejected: list[RejectedEvent] = []
    for index, fields in enumerate(events):
        try:
            good.append(_event(engine, fields, at, is_history=is_history))
        except DataError as error:
            rejected.append(RejectedEvent(index=index, reason=str(error)))
    result = engine.stores.events.append(good, at)
    return EventReceipt(accepted=result.accepted, duplicates=result.duplicates, rejected=tuple(rejected))


def _event(engine: Engine, fields: Fields, at: Millis, *, is_history: bool) -> Event:
    """One event in the contract's terms. Raises DataError with the first problem."""
    kind = _kind(fields)
    happened_at = _past(fields.get("at"), at) if is_history else _when(fields.get("at"), at)
    values = {column.name: _value(column, fields) for column in _REPORTED}
    is_listed = _is_listed(engine, values)
    shown = _impression(engine, fields, values["item_id"])
    if not is_listed and (shown is None or kind not in TIGHTENING):
        raise DataError(_not_listed(values["item_id"], kind))
    values["query"] = redact_query(engine.resources.harm_terms, values["query"])
    if shown:
        values |= {"request_id": shown.request_id, "position": shown.position}
    return Event(kind=kind, at=happened_at, is_attributed=shown is not None, is_history=is_history, **values)


def _value(column: Column, fields: Fields) -> Any:
    if not column.required and fields.get(column.name) is None:  # most columns of most events
        return None
    value = check_column(column, fields.get(column.name))
    return float(value) if column.dtype == "float" and value is not None else value


def _kind(fields: Fields) -> str:
    """The kind of an event that names just what its kind asks for."""
    kind = fields.get("kind")
    if kind not in EVENT_KINDS:
        raise DataError(f"kind: found {shorten(kind)}, expected one of {', '.join(EVENT_KINDS)}")
    subject = subject_of(str(kind))
    given = [name for name in _SUBJECTS if fields.get(name) not in (None, "")]
    expected = [subject] if subject in _SUBJECTS else []
    if given != expected:
        raise DataError(_wrong_subject(str(kind), given, subject))
    if subject == "value" and not fields.get("value"):
        raise DataError("value: is missing, expected the event_id to undo")
    return str(kind)


def _wrong_subject(kind: str, given: Sequence[str], subject: str | None) -> str:
    if subject not in _SUBJECTS:
        return f"{given[0]}: found in an event of kind {kind}, expected none of {', '.join(_SUBJECTS)}"
    if subject not in given:
        return f"{subject}: is missing, expected the one that the event of kind {kind} is about"
    others = " and ".join(name for name in given if name != subject)
    return f"{others}: found in an event of kind {kind}, expected {subject} alone"


def _is_listed(engine: Engine, values: Fields) -> bool:
    """Whether the catalogue holds the item that an event is about, if it is about one."""
    item_id, cache = values["item_id"], engine.resources.catalogue_cache
    if item_id is None or item_id in cache.items.index:
        return True
    cache.at_least(engine.stores.users.read(values["user_id"]).revision)  # it may be new
    return item_id in cache.items.index


def _not_listed(item_id: str, kind: str) -> str:
    sentence = f"item_id: found {shorten(item_id)}, expected the id of an item in the catalogue"
    return f"{sentence}, or the tracking_token of a page that showed it" if kind in TIGHTENING else sentence


class _Impression(NamedTuple):
    """The place of a page that an event is about."""

    request_id: str
    position: int


def _impression(engine: Engine, fields: Fields, item_id: str | None) -> _Impression | None:
    """
    What the tracking token says; None without one: the event counts, and is not attributed to a page.

    Raises DataError for a token that this service did not sign for this user and item.
    """
    token = fields.get("tracking_token")
    if not isinstance(token, str | None) or len(token or "") > MAX_TOKEN_LENGTH:
        expected = f"text of at most {MAX_TOKEN_LENGTH} characters"
        raise DataError(f"tracking_token: found {shorten(token)}, expected {expected}")
    if not token:  # the safe feed, which nothing counts, sends an empty one
        return None
    signed = verify(engine.key, token)
    is_ours = signed is not None and len(signed) == 6 and signed[:2] == ("t", fields.get("user_id"))
    if signed is None or not is_ours or not _is_of(engine, int(signed[3]), item_id):
        raise DataError(
            "tracking_token: found a text that this service did not sign for this user and item, "
            "expected the one that came with the item, or none"
        )
    return _Impression(request_id=str(signed[2]), position=int(signed[4]))


def _is_of(engine: Engine, item_no: int, item_id: str | None) -> bool:
    """
    Whether an item number in a token is an item's. What the catalogue did not hold then has no number, so that the
    token says the place on the page alone.
    """
    items = engine.resources.catalogue_cache.items
    if item_id is None:
        return True
    if item_no == UNLISTED_NO:  # of what is listed it would name another item's place
        return item_id not in items.index
    return item_no < len(items.item_ids) and items.item_ids[item_no] == item_id


def _when(value: object, now: Millis) -> Millis:
    """The time of an event: at most 7 days old, not from the future; the server's time when it is missing."""
    if value is None or value == "":
        return now
    at = _instant(value, now)
    if not now - MAX_AGE_MS <= at <= now + MAX_AHEAD_MS:
        raise DataError(f"at: found {shorten(value)}, expected within 7 days before {to_text(now)} and not after it")
    return at


def _past(value: object, now: Millis) -> Millis:
    """
    The time of an event of history, older than 7 days: a later one must tighten what it tightens, and its id would be
    taken.
    """
    at = _instant(value, now)
    if not EARLIEST <= at < now - MAX_AGE_MS:
        oldest, newest = to_text(EARLIEST), to_text(now - MAX_AGE_MS)
        raise DataError(
            f"at: found {shorten(value)}, expected history from {oldest} to before {newest}; send what came later to "
            "/v1/events"
        )
    return at


def _instant(value: object, now: Millis) -> Millis:
    at = read_instant(value)
    if at is None:
        raise DataError(f"at: found {shorten(value)}, expected an instant such as {to_text(now)}")
    return at
