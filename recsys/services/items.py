"""
Items over the wire: read, put, changed, taken down. An answer means that the change is durable.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from recsys.clock import Millis, to_text
from recsys.columns import ITEMS, LABEL_WAITS, PREDICTED, REVIEWED
from recsys.errors import Conflict, DataError, StoreError
from recsys.feed.engine import Engine
from recsys.services.audit import item_decisions
from recsys.services.fields import check_id, check_row
from recsys.services.profiles import MAX_WRITE_TRIES
from recsys.stores.audit import LOCAL, AuditEntry
from recsys.stores.catalogue_write import NEVER_SERVED
from recsys.stores.protocols import ABSENT, Catalogue, ItemChange, ItemRow
from recsys.types import Fields, JsonObject


def get_item(catalogue: Catalogue, item_id: str) -> JsonObject | None:
    """One item in the contract's columns, times as text; None when there is none."""
    row = catalogue.get(check_id("item_id", item_id))
    return None if row is None else _shown(row)


def _shown(row: ItemRow) -> JsonObject:
    fields = {column.name: row.fields.get(column.name) for column in ITEMS.columns}
    return {**fields, "published_at": to_text(row.fields["published_at"])}


def list_items(engine: Engine, after: int, size: int) -> JsonObject:
    """A page of all items, hidden ones too, in order of their arrival; `next` is the `after` of the next page."""
    cache = engine.resources.catalogue_cache
    item_ids = cache.at_least(engine.stores.users.read("").revision).item_ids
    numbers = range(after + 1, min(after + 1 + size, len(item_ids)))
    items = [get_item(cache.catalogue, item_ids[number]) for number in numbers if item_ids[number]]
    return {"items": items, "next": numbers[-1] if numbers and numbers[-1] + 1 < len(item_ids) else None}


def put_item(catalogue: Catalogue, item_id: str, fields: Fields, at: Millis, who: str = LOCAL) -> JsonObject:
    """
    Insert or replace an item; binding on the next page of every worker. Raises DataError.

    An item that was taken down stays so unless `is_hidden` is false.
    """
    stored = _write(catalogue, item_id, lambda _: {"published_at": to_text(at), **fields}, at, who)
    return stored or {}


def put_items(catalogue: Catalogue, rows: Sequence[Fields], at: Millis, who: str = LOCAL) -> Mapping[int, str]:
    """
    Insert or replace items, each as by `put_item`, in as few writes as hold. Returns the problems of those that were
    refused, by their places.
    """
    problems: dict[int, str] = {}
    batch = _Batch()
    for index, row in enumerate(rows):
        try:
            item_id = check_id("item_id", row.get("item_id"))
            if item_id in batch.rows:  # the second one is written on top of the first
                _put_batch(catalogue, batch, at, who)
                batch = _Batch()
            old, stated = catalogue.get(item_id), {"published_at": to_text(at), **row}
            change = _change(item_id, stated, old)
        except DataError as error:
            problems[index] = str(error)
            continue
        batch.rows[item_id] = stated
        batch.changes.append(change)
        batch.decisions.extend(item_decisions(item_id, {} if old is None else old.fields, change.fields, at, who))
    _put_batch(catalogue, batch, at, who)
    return problems


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows by item, and what writes them."""

    rows: dict[str, Fields] = field(default_factory=dict)
    changes: list[ItemChange] = field(default_factory=list)
    decisions: list[AuditEntry] = field(default_factory=list)


def _put_batch(catalogue: Catalogue, batch: _Batch, at: Millis, who: str) -> None:
    """One write; where somebody else writes one of the items meanwhile, one after the other."""
    try:
        catalogue.put(batch.changes, at, batch.decisions)
    except Conflict:
        for item_id, row in batch.rows.items():
            put_item(catalogue, item_id, row, at, who)


def _write(
    catalogue: Catalogue,
    item_id: str,
    new_fields: Callable[[ItemRow | None], Fields | None],
    at: Millis,
    who: str,
    *,
    is_review: bool = False,
) -> JsonObject | None:
    """
    The item as stored once `new_fields` of the row that is there are written; None, and nothing written, where they
    are None. A write in between holds as well: then the row is read again.
    """
    for _ in range(MAX_WRITE_TRIES):
        row = catalogue.get(check_id("item_id", item_id))
        fields = new_fields(row)
        if fields is None:
            return None
        change = _change(item_id, fields, row, is_review=is_review)
        decisions = item_decisions(item_id, {} if row is None else row.fields, change.fields, at, who)
        with suppress(Conflict):
            catalogue.put([change], at, decisions)
            return get_item(catalogue, item_id)
    raise StoreError(f"found {MAX_WRITE_TRIES} other writes of item {item_id!r} at once, expected fewer; try again")


def _change(item_id: str, fields: Fields, old: ItemRow | None, *, is_review: bool = False) -> ItemChange:
    lasting = _lasting_fields(old, fields) if old else {}
    item = check_row(ITEMS, {**fields, **lasting, "item_id": check_id("item_id", item_id)})
    predicted = _still_predicted(old.fields, item) if old else {}
    predicted = {"label_version": REVIEWED} if is_review else predicted
    return ItemChange(fields={**predicted, **item}, expects=ABSENT if old is None else old.revision)


def _lasting_fields(old: ItemRow, fields: Fields) -> Fields:
    """
    What no silence takes away: a takedown, until `is_hidden` is false, and a label of R3 or R4, until there is another.
    No label counts as R2, and what must never be served would be served after an edit of its title.
    """
    is_label_held = fields.get("risk_tier") is None and old.fields.get("risk_tier") in NEVER_SERVED
    label = {name: value for name, value in old.fields.items() if is_label_held and name.startswith("risk_")}
    is_down = fields.get("is_hidden") is None and old.fields.get("is_hidden")
    return {**label, "is_hidden": True} if is_down else label


def _still_predicted(old: Fields, new: Fields) -> JsonObject:
    """
    The predicted label of an item. It stays when the item is edited, so that an edit cannot shake off a raised tier;
    with other words the item waits for the labelling job.
    """
    is_other = any(old.get(name) != new.get(name) for name in ("title", "text"))
    predicted = {name: old[name] for name in (*PREDICTED, LABEL_WAITS) if name in old}
    return predicted | {LABEL_WAITS: True} if is_other else predicted


def patch_item(catalogue: Catalogue, item_id: str, fields: Fields, at: Millis, who: str = LOCAL) -> JsonObject | None:
    """
    Change some columns of an item; None when there is none.

    Two patches at once both hold: a changed title never brings back an item that was taken down meanwhile. New words
    need a new label: without one in the same call the item is unlabelled until somebody looks at it, unless it was
    R3 or R4, which it stays. A tier from the source `human` is a review: our own label gives way to it until the words
    are others.
    """

    def new_fields(row: ItemRow | None) -> Fields | None:
        if row is None:
            return None
        before = _unlabelled(_shown(row)) if _says_other(row, fields) else _shown(row)
        return {**before, **fields}

    is_review = fields.get("risk_source") == "human" and fields.get("risk_tier") is not None
    return _write(catalogue, item_id, new_fields, at, who, is_review=is_review)


def _says_other(row: ItemRow, fields: Fields) -> bool:
    """Whether a patch changes what an item says without saying what it is now."""
    is_other = any(name in fields and fields[name] != row.fields.get(name) for name in ("title", "text"))
    return is_other and "risk_tier" not in fields


def _unlabelled(fields: Fields) -> JsonObject:
    return {name: value for name, value in fields.items() if not name.startswith("risk_")}


def delete_item(catalogue: Catalogue, item_id: str, at: Millis, who: str = LOCAL) -> bool:
    """Take an item down, until somebody puts it back with `is_hidden` false. False when there is none."""
    return patch_item(catalogue, item_id, {"is_hidden": True}, at, who) is not None
