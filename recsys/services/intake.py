"""
What comes in beside feeds: events, profiles and items. Nothing accepted is ever lost: an answer means it is durable.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from recsys.clock import DAY, MINUTE, Millis, from_text, to_text
from recsys.columns import (
    ITEMS,
    LABEL_WAITS,
    MAX_ID_LENGTH,
    MAX_TEXT_LENGTH,
    PREDICTED,
    REVIEWED,
    Column,
    Table,
    subject_of,
)
from recsys.errors import Conflict, DataError, StoreError
from recsys.feed.engine import Engine
from recsys.feed.viewer import profile_of
from recsys.safety.harm_terms import kept_of
from recsys.stores.protocols import Catalogue, ItemChange, ItemRow
from recsys.text.clusters import cluster_id
from recsys.types import Event
from recsys.user.state import Profile, UserState
from recsys.vocabulary import AGE_BANDS, AGE_SOURCES, EVENT_KINDS, TIERS

MAX_EVENTS: Final = 1_000
LATE: Final = 7 * DAY
EARLY: Final = 5 * MINUTE  # clocks differ; an event from further ahead is refused
MAX_WRITE_TRIES: Final = 20
NEVER: Final = ("R3", "R4")  # never served, whatever a policy says
_SUBJECTS: Final = ("item_id", "creator_id", "query")


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a batch of events."""

    accepted: int
    duplicates: int
    rejected: list[dict[str, Any]]


def accept(engine: Engine, events: Sequence[Mapping[str, Any]], at: Millis) -> Accepted:
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
    return Accepted(accepted=result.accepted, duplicates=result.duplicates, rejected=rejected)


def _event(engine: Engine, fields: Mapping[str, Any], at: Millis) -> Event:
    kind = fields.get("kind")
    if kind not in EVENT_KINDS:
        raise DataError(f"kind: found {_short(kind)}, expected one of {', '.join(EVENT_KINDS)}")
    happened = _when(fields.get("at"), at)
    subject = subject_of(str(kind))
    given = [name for name in _SUBJECTS if fields.get(name) is not None]
    wanted = [subject] if subject in _SUBJECTS else []
    if given != wanted:
        found = " and ".join(given) or "none"
        raise DataError(f"{kind}: found {found}, expected {' and '.join(wanted) or 'none of ' + ', '.join(_SUBJECTS)}")
    if subject == "value" and not fields.get("value"):
        raise DataError("undo: found no value, expected the event_id to undo")
    item_id = _optional_id("item_id", fields)
    if item_id is not None and item_id not in engine.resources.catalogue_cache.items.index:
        engine.resources.catalogue_cache.at_least(engine.users.read(_id("user_id", fields)).revision)  # it may be new
        if item_id not in engine.resources.catalogue_cache.items.index:
            raise DataError(f"item_id: found {_short(item_id)}, expected the id of an item in the catalogue")
    return Event(
        event_id=_id("event_id", fields),
        user_id=_id("user_id", fields),
        kind=str(kind),
        at=happened,
        item_id=item_id,
        creator_id=_optional_id("creator_id", fields),
        query=kept_of(engine.resources.harm_terms, _text("query", fields, 200)),
        value=_text("value", fields, MAX_ID_LENGTH),
        watch_s=_number("watch_s", fields, 0, 86_400),
        watch_fraction=_number("watch_fraction", fields, 0, 1),
        request_id=_optional_id("request_id", fields),
        position=None if fields.get("position") is None else int(_number("position", fields, 1, 50) or 1),
    )


def _when(value: Any, now: Millis) -> Millis:
    """The time of an event: at most 7 days old, not from the future; the server's time when it is missing."""
    if value is None:
        return now
    try:
        at = from_text(str(value)) if not isinstance(value, int) or isinstance(value, bool) else value
    except ValueError as error:
        raise DataError(f"at: found {_short(value)}, expected an instant such as {to_text(now)}") from error
    if not now - LATE <= at <= now + EARLY:
        raise DataError(f"at: found {_short(value)}, expected within 7 days before {to_text(now)} and not after it")
    return at


def check_id(name: str, value: Any) -> str:
    """An external id: 1 to 128 characters, all printable, no direction marks. Raises DataError."""
    is_id = isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH and value.isprintable()
    if not is_id or _has_marks(value):
        raise DataError(f"{name}: found {_short(value)}, expected 1 to {MAX_ID_LENGTH} printable characters")
    return str(value)


def _has_marks(text: str) -> bool:
    return any(c in "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" for c in text)


def _id(name: str, fields: Mapping[str, Any]) -> str:
    return check_id(name, fields.get(name))


def _optional_id(name: str, fields: Mapping[str, Any]) -> str | None:
    return None if fields.get(name) is None else check_id(name, fields[name])


def _text(name: str, fields: Mapping[str, Any], most: int) -> str | None:
    value = fields.get(name)
    if value is not None and not (isinstance(value, str) and len(value) <= most):
        raise DataError(f"{name}: found {_short(value)}, expected text of at most {most} characters")
    return value


def _number(name: str, fields: Mapping[str, Any], low: float, high: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise DataError(f"{name}: found {_short(value)}, expected a number from {low:g} to {high:g}")
    return float(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def get_profile(engine: Engine, user_id: str) -> dict[str, Any]:
    """The profile in force; what was never said is null."""
    state = engine.users.read(check_id("user_id", user_id)).state
    return {"user_id": user_id, **msgspec.to_builtins(_named(profile_of(state, engine.resources.model, user_id)))}


def _named(profile: Profile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in profile.__struct_fields__}


def put_profile(engine: Engine, user_id: str, fields: Mapping[str, Any], at: Millis) -> dict[str, Any]:
    """Replace the profile. Moving to an older band frees nothing: the ledger stays."""
    check_id("user_id", user_id)
    profile = _profile(fields)

    def change(state: UserState) -> UserState:
        person = msgspec.structs.replace(state.person, profile=profile, is_put=True)
        return msgspec.structs.replace(state, person=person)

    update(engine, user_id, change)
    return get_profile(engine, user_id)


def _profile(fields: Mapping[str, Any]) -> Profile:
    problems = [f"{name}: found an unknown field, expected one of {', '.join(Profile.__struct_fields__)}"
                for name in fields if name not in Profile.__struct_fields__]  # fmt: skip
    if fields.get("age_band") not in (None, *AGE_BANDS):
        problems.append(f"age_band: found {_short(fields['age_band'])}, expected one of {', '.join(AGE_BANDS)}")
    if fields.get("age_source") not in (None, *AGE_SOURCES):
        problems.append(f"age_source: found {_short(fields['age_source'])}, expected one of {', '.join(AGE_SOURCES)}")
    if problems:
        raise DataError(*problems)
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return _converted(given)
    except msgspec.ValidationError as error:
        raise DataError(f"profile: {error}") from error


def _converted(given: Mapping[str, Any]) -> Profile:
    kinds: Mapping[str, Any] = {"languages": tuple[str, ...], "consent": bool}
    values: dict[str, Any] = {name: msgspec.convert(value, kinds.get(name, str)) for name, value in given.items()}
    return Profile(**values)


def update(engine: Engine, user_id: str, change: Callable[[UserState], UserState]) -> None:
    """Change a person's state by compare-and-swap. Raises StoreError when others keep winning."""
    for _ in range(MAX_WRITE_TRIES):
        read = engine.users.read(user_id)
        if engine.users.write_if(user_id, change(read.state), read.version):
            return
    raise StoreError(f"found {MAX_WRITE_TRIES} other writes of one person at once, expected fewer; try again")


def get_item(catalogue: Catalogue, item_id: str) -> dict[str, Any] | None:
    """One item in the contract's columns, times as text; None when there is none."""
    row = catalogue.get(check_id("item_id", item_id))
    return None if row is None else _shown(row)


def _shown(row: ItemRow) -> dict[str, Any]:
    fields: dict[str, Any] = {column.name: row.fields.get(column.name) for column in ITEMS.columns}
    fields["published_at"] = to_text(fields["published_at"])
    return fields


_NO_CLUSTERS: Final[Mapping[str, str]] = {}


def put_item(
    catalogue: Catalogue,
    item_id: str,
    fields: Mapping[str, Any],
    at: Millis,
    clusters: Mapping[str, str] = _NO_CLUSTERS,
) -> dict[str, Any]:
    """
    Insert or replace an item; binding on the next page of every worker. Raises DataError.

    An item that was taken down stays so unless `is_hidden` is false. `clusters` are those of `Model.clusters`: an item
    that says what a known copy says joins its cluster.
    """
    stored = _written(catalogue, item_id, lambda _: {"published_at": to_text(at), **fields}, at, clusters)
    return stored or {}


def _written(
    catalogue: Catalogue,
    item_id: str,
    said: Callable[[ItemRow | None], Mapping[str, Any] | None],
    at: Millis,
    clusters: Mapping[str, str],
    *,
    is_review: bool = False,
) -> dict[str, Any] | None:
    """
    The item as stored after what is `said` of the row that is there; None, and nothing written, where that is None.
    Whatever is written in between holds as well: then it is read and said again.
    """
    for _ in range(MAX_WRITE_TRIES):
        row = catalogue.get(check_id("item_id", item_id))
        fields = said(row)
        if fields is None:
            return None
        with suppress(Conflict):
            catalogue.put([_change(item_id, fields, clusters, row, is_review=is_review)], at)
            return get_item(catalogue, item_id)
    raise StoreError(f"found {MAX_WRITE_TRIES} other writes of item {item_id!r} at once, expected fewer; try again")


def _change(
    item_id: str,
    fields: Mapping[str, Any],
    clusters: Mapping[str, str],
    old: ItemRow | None,
    *,
    is_review: bool = False,
) -> ItemChange:
    held = _held(old, fields) if old else {}
    item = checked_row(ITEMS, {**fields, **held, "item_id": check_id("item_id", item_id)})
    predicted = _still_predicted(old.fields, item) if old else {}
    predicted = {"label_version": REVIEWED} if is_review else predicted
    said = cluster_id(item_id, item["title"], item.get("text"))
    joined = old.cluster_id if old and _stays(old, item) else clusters.get(said, said)
    return ItemChange(fields={**predicted, **item}, cluster_id=joined, expects=None if old is None else old.revision)


def _held(old: ItemRow, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    What no silence takes away: a takedown, until `is_hidden` is false, and a label of R3 or R4, until there is another.
    No label counts as R2, and what must never be served would be served after an edit of its title.
    """
    is_label_held = fields.get("risk_tier") is None and old.fields.get("risk_tier") in NEVER
    label = {name: value for name, value in old.fields.items() if is_label_held and name.startswith("risk_")}
    is_down = fields.get("is_hidden") is None and old.fields.get("is_hidden")
    return {**label, "is_hidden": True} if is_down else label


def _stays(old: ItemRow, item: Mapping[str, Any]) -> bool:
    """
    Whether an edited item stays among its copies: where one of them was R3 or R4, until it is labelled lower itself.
    New words make no new video. Left to its words, it would shake off its copies' tier, or they would lose its own.
    """
    return old.cluster_peak >= TIERS.index(NEVER[0]) and item.get("risk_tier") in (None, *NEVER)


def _still_predicted(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """
    What the model said of an item. It stays when the item is edited, so that an edit cannot shake off a raised tier;
    with other words the item waits for the labelling job.
    """
    is_other = any(old.get(name) != new.get(name) for name in ("title", "text"))
    kept = {name: old[name] for name in (*PREDICTED, LABEL_WAITS) if name in old}
    return kept | {LABEL_WAITS: True} if is_other else kept


def patch_item(
    catalogue: Catalogue,
    item_id: str,
    fields: Mapping[str, Any],
    at: Millis,
    clusters: Mapping[str, str] = _NO_CLUSTERS,
) -> dict[str, Any] | None:
    """
    Change some columns of an item; None when there is none.

    Two patches at once both hold: a changed title never brings back an item that was taken down meanwhile. New words
    need a new label: without one in the same call the item is unlabelled until somebody looks at it, unless it was
    R3 or R4, which it stays. A tier from the source `human` is a review: our own label gives way to it until the words
    are others.
    """

    def said(row: ItemRow | None) -> Mapping[str, Any] | None:
        if row is None:
            return None
        kept = _unlabelled(_shown(row)) if _says_other(row, fields) else _shown(row)
        return {**kept, **fields}

    is_review = fields.get("risk_source") == "human" and fields.get("risk_tier") is not None
    return _written(catalogue, item_id, said, at, clusters, is_review=is_review)


def _says_other(row: ItemRow, fields: Mapping[str, Any]) -> bool:
    """Whether a patch changes what an item says without saying what it is now."""
    is_other = any(name in fields and fields[name] != row.fields.get(name) for name in ("title", "text"))
    return is_other and "risk_tier" not in fields


def _unlabelled(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not name.startswith("risk_")}


def delete_item(catalogue: Catalogue, item_id: str, at: Millis, clusters: Mapping[str, str] = _NO_CLUSTERS) -> bool:
    """Take an item down, until somebody puts it back with `is_hidden` false. False when there is none."""
    return patch_item(catalogue, item_id, {"is_hidden": True}, at, clusters) is not None


def checked_row(table: Table, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of a row of a table, times in milliseconds. Raises DataError with every problem."""
    columns = {column.name: column for column in table.columns}
    problems = [
        f"{name}: found an unknown field, expected one of {', '.join(columns)}"
        for name in fields
        if name not in columns
    ]
    row: dict[str, Any] = {}
    for name, column in columns.items():
        value = fields.get(name)
        problem = _column_problem(column, value)
        if problem:
            problems.append(f"{name}: found {_short(value)}, expected {problem}")
        elif value is not None:
            row[name] = from_text(value) if column.dtype == "time" else value
    if problems:
        raise DataError(*problems)
    return row


def _column_problem(column: Column, value: Any) -> str | None:
    """What a value should have been; None when it is fine."""
    if value is None:
        return "a value" if column.required else None
    if column.dtype == "time":
        return _time_problem(value)
    if column.dtype == "bool":
        return None if isinstance(value, bool) else "true or false"
    if column.dtype in ("int", "float"):
        return _number_problem(column, value)
    parts = value if column.dtype == "list" else [value]
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        return "a list of texts" if column.dtype == "list" else "text"
    if any(len(part) > min(column.max_length, MAX_TEXT_LENGTH) for part in parts):
        return f"at most {column.max_length} characters"
    if column.one_of and any(part not in column.one_of for part in parts):
        return "one of " + ", ".join(column.one_of)
    if column.pattern and not all(re.match(column.pattern, part) for part in parts):
        return f"{column.unit} (pattern {column.pattern})"
    return None


def _time_problem(value: Any) -> str | None:
    try:
        from_text(value)
    except (ValueError, TypeError):
        return "an instant such as 2026-11-20T18:00:00Z"
    return None


def _number_problem(column: Column, value: Any) -> str | None:
    low = -float("inf") if column.minimum is None else column.minimum
    high = float("inf") if column.maximum is None else column.maximum
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (column.dtype == "int" and not isinstance(value, int)) or not low <= value <= high:
        return f"a number from {low:g} to {high:g}"
    return None
