"""Events reported by the platform. Nothing accepted is ever lost: an answer means it is durable."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from recsys.clock import DAY, MINUTE, Millis, from_text, to_text
from recsys.columns import MAX_ID_LENGTH, subject_of
from recsys.errors import DataError
from recsys.feed.engine import Engine
from recsys.safety.harm_terms import kept_of
from recsys.services.fields import optional_id, optional_number, optional_text, required_id, shorten
from recsys.types import Event
from recsys.vocabulary import EVENT_KINDS

MAX_EVENTS: Final = 1_000
MAX_AGE_MS: Final = 7 * DAY
MAX_AHEAD_MS: Final = 5 * MINUTE  # clocks differ; an event from further ahead is refused
_SUBJECTS: Final = ("item_id", "creator_id", "query")


class EventReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a batch of events."""

    accepted: int
    duplicates: int
    rejected: list[dict[str, Any]]


def accept_events(engine: Engine, events: Sequence[Mapping[str, Any]], at: Millis) -> EventReceipt:
    """
    Events into the log: durable before this returns, once per (user, event_id), acting on the next feed.

    An event that breaks the contract is rejected by itself, with a sentence. Raises StoreError when the log does not
    answer (then none is accepted) and DataError for more than 1,000 events.
    """
    if len(events) > MAX_EVENTS:
        raise DataError(f"events: found {len(events)}, expected at most {MAX_EVENTS}; send several batches")
    good: list[Event] = []
    rejected: list[dict[str, Any]] = []
    for index, fields in enumerate(events):
        try:
            good.append(_event(engine, fields, at))
        except DataError as error:
            rejected.append({"index": index, "reason": str(error)})
    result = engine.log.append(good, at)
    return EventReceipt(accepted=result.accepted, duplicates=result.duplicates, rejected=rejected)


def _event(engine: Engine, fields: Mapping[str, Any], at: Millis) -> Event:
    kind = fields.get("kind")
    if kind not in EVENT_KINDS:
        raise DataError(f"kind: found {shorten(kind)}, expected one of {', '.join(EVENT_KINDS)}")
    happened = _when(fields.get("at"), at)
    subject = subject_of(str(kind))
    given = [name for name in _SUBJECTS if fields.get(name) is not None]
    wanted = [subject] if subject in _SUBJECTS else []
    if given != wanted:
        found = " and ".join(given) or "none"
        raise DataError(f"{kind}: found {found}, expected {' and '.join(wanted) or 'none of ' + ', '.join(_SUBJECTS)}")
    if subject == "value" and not fields.get("value"):
        raise DataError("undo: found no value, expected the event_id to undo")
    item_id = optional_id("item_id", fields)
    if item_id is not None and item_id not in engine.resources.catalogue_cache.items.index:
        engine.resources.catalogue_cache.at_least(
            engine.users.read(required_id("user_id", fields)).revision
        )  # it may be new
        if item_id not in engine.resources.catalogue_cache.items.index:
            raise DataError(f"item_id: found {shorten(item_id)}, expected the id of an item in the catalogue")
    return Event(
        event_id=required_id("event_id", fields),
        user_id=required_id("user_id", fields),
        kind=str(kind),
        at=happened,
        item_id=item_id,
        creator_id=optional_id("creator_id", fields),
        query=kept_of(engine.resources.harm_terms, optional_text("query", fields, 200)),
        value=optional_text("value", fields, MAX_ID_LENGTH),
        watch_s=optional_number("watch_s", fields, 0, 86_400),
        watch_fraction=optional_number("watch_fraction", fields, 0, 1),
        request_id=optional_id("request_id", fields),
        position=None if fields.get("position") is None else int(optional_number("position", fields, 1, 50) or 1),
    )


def _when(value: Any, now: Millis) -> Millis:
    """The time of an event: at most 7 days old, not from the future; the server's time when it is missing."""
    if value is None:
        return now
    try:
        at = from_text(str(value)) if not isinstance(value, int) or isinstance(value, bool) else value
    except ValueError as error:
        raise DataError(f"at: found {shorten(value)}, expected an instant such as {to_text(now)}") from error
    if not now - MAX_AGE_MS <= at <= now + MAX_AHEAD_MS:
        raise DataError(f"at: found {shorten(value)}, expected within 7 days before {to_text(now)} and not after it")
    return at
