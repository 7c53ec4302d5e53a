"""
What a write to the live catalogue does: numbers, what an item said and was called before, and whether it is a raise.
Pure; every store applies this one rule to what it holds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, overload

import msgspec

from recsys.errors import Conflict, DataError
from recsys.stores.protocols import ABSENT, CreatorChange, CreatorRow, HashLabel, ItemChange, ItemRow, StatedWording
from recsys.text.clusters import Wording, hash_key, wording_of
from recsys.types import Fields
from recsys.vocabulary import TIERS, TRUSTED_RISK_SOURCES

MAX_WORDINGS: Final = 64  # of one item: the present one, those it is joined by, and its first ones
MAX_HASH_LABELS: Final = 16  # of one item: the highest
NEVER_SERVED: Final = ("R3", "R4")  # never served, whatever a policy says


class CopyMemory(msgspec.Struct, frozen=True, array_like=True):
    """
    What an item was before, as far as its copies go by it (policy-spec 0, Copies). Nobody's words: hashes of them.

    `wordings`, the present one first: an item that returns to former words does not come later for it. `hash_labels`:
    what a person, a partner or the platform called the item under another hash, or before its label was lost.
    """

    wordings: tuple[StatedWording, ...] = ()
    hash_labels: tuple[HashLabel, ...] = ()


_MEMORY: Final = msgspec.msgpack.Decoder(CopyMemory)


class Prepared(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A checked change; `packed` holds the fields as msgpack, so that two equal rows are equal bytes."""

    item_id: str
    fields: Fields
    wording: Wording
    tier: int
    is_edited: bool
    packed: bytes
    expects: int | None = None


class StoredItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An item as a store holds it. `memory` is a packed `CopyMemory`."""

    item_no: int
    revision: int
    peak_tier: int
    is_edited: bool
    packed: bytes
    memory: bytes


@dataclass(slots=True, kw_only=True)
class StoredCatalogue:
    """
    The part of the catalogue that a write touches, or all of it: items by item_id. `last_no` is the last number given
    to an item.
    """

    items: dict[str, StoredItem] = field(default_factory=dict)
    last_no: int = 0
    revision: int = 0
    newest_raise: int = 0


def prepare(changes: Sequence[ItemChange]) -> tuple[Prepared, ...]:
    """Changes as a store needs them. Raises DataError with every problem found."""
    problems: list[str] = []
    prepared: list[Prepared] = []
    for index, change in enumerate(changes):
        try:
            prepared.append(_prepared(change))
        except (DataError, TypeError, OverflowError, UnicodeEncodeError) as error:
            problems.append(f"change {index}: {error}")
    if problems:
        raise DataError(*problems)
    return tuple(prepared)


def _prepared(change: ItemChange) -> Prepared:
    item_id, tier = change.fields.get("item_id"), change.fields.get("risk_tier")
    if not isinstance(item_id, str) or not item_id:
        raise DataError(f"found item_id {item_id!r}, expected a text")
    if tier is not None and tier not in TIERS:
        raise DataError(f"found risk_tier {tier!r} of item {item_id!r}, expected one of {', '.join(TIERS)} or null")
    predicted = change.fields.get("predicted_tier")  # a raise by the model re-counts past deliveries like any other
    if predicted is not None and predicted not in TIERS:
        raise DataError(f"found predicted_tier {predicted!r} of item {item_id!r}, expected one of {', '.join(TIERS)}")
    return Prepared(
        item_id=item_id,
        fields=change.fields,
        wording=change.wording or _wording_of(change.fields),
        tier=max(TIERS.index(tier or "R0"), TIERS.index(predicted or "R0")),
        is_edited=change.is_edited,
        packed=msgspec.msgpack.encode(dict(change.fields), order="deterministic"),
        expects=change.expects,
    )


def _wording_of(fields: Fields) -> Wording:
    return wording_of(fields.get("title") or "", fields.get("text"))


def is_artifact(changes: Iterable[Prepared]) -> bool:
    """Whether any of the changes did not come over the wire."""
    return any(not change.is_edited for change in changes)


def write(stored: StoredCatalogue, changes: Iterable[Prepared]) -> set[str]:
    """
    Apply changes in order to `stored`, in place; the ids of the items that are different now.

    A write that changes nothing leaves the revision alone. A raise is one after which an item that was there may count
    higher than before by itself: it was labelled higher; or its label has another source, confidence or topics, because
    what that means for a viewer is for the policy to say. What its copies count: `recsys.catalogue.items.apply`.
    """
    touched, revision, is_raise = set[str](), stored.revision + 1, False
    for change in changes:
        old = stored.items.get(change.item_id)
        if change.expects is not None and (ABSENT if old is None else old.revision) != change.expects:
            raise Conflict(
                f"item {change.item_id!r}: found a newer write, expected none since it was read; read it again"
            )
        if old is not None and _is_settled(old, change):
            continue
        is_raise |= _replace(stored, change, old, revision)
        touched.add(change.item_id)
    if touched:
        stored.revision = revision
    if is_raise:
        stored.newest_raise = revision
    return touched


def _is_settled(old: StoredItem, change: Prepared) -> bool:
    """Whether the row stays as it is: an artifact never wins over the wire, and an equal row is no change."""
    if old.is_edited and not change.is_edited:
        return True
    return (old.packed, old.is_edited) == (change.packed, change.is_edited)


def _replace(stored: StoredCatalogue, change: Prepared, old: StoredItem | None, revision: int) -> bool:
    """Put one item in its place; True when that is a raise."""
    stored.last_no += old is None
    item_no = stored.last_no if old is None else old.item_no
    peak = max(change.tier, 0 if old is None else old.peak_tier)
    stored.items[change.item_id] = StoredItem(
        item_no=item_no,
        revision=revision,
        peak_tier=peak,
        is_edited=change.is_edited,
        packed=change.packed,
        memory=msgspec.msgpack.encode(_remembered(old, change, revision)),
    )
    return old is not None and (_is_doubted(old.packed, change.packed) or peak > old.peak_tier)


def _is_doubted(before: bytes, after: bytes) -> bool:
    """
    Whether an item may count higher although its peak is the same: its label rose again after it was lowered, and what
    was delivered in between counts low; it lost its label, which makes it R2; its source or confidence changed, which
    raises it for minors; its topics did, and grief is R1 at least; the model is surer than before, and may have come to
    a market's threshold.
    """
    old, new = msgspec.msgpack.decode(before), msgspec.msgpack.decode(after)
    tiers = old.get("risk_tier"), new.get("risk_tier")
    lost_label = tiers[0] is not None and tiers[1] is None
    is_higher = None not in tiers and tiers[1] > tiers[0]  # R0 to R4 sort as text
    is_surer = (new.get("label_confidence") or 0.0) > (old.get("label_confidence") or 0.0)
    is_other = any(old.get(name) != new.get(name) for name in ("risk_source", "risk_confidence", "topics"))
    return lost_label or is_higher or is_surer or is_other


# --- what an item was before ---


def _remembered(old: StoredItem | None, change: Prepared, revision: int) -> CopyMemory:
    """The memory of an item after a change that makes a revision."""
    now = StatedWording(*change.wording, revision)
    if old is None:
        return CopyMemory(wordings=(now,))
    fields = msgspec.msgpack.decode(old.packed)
    before = _MEMORY.decode(old.memory)
    return CopyMemory(
        wordings=_with_wording(before.wordings, now, is_joined=_stays_joined(change.fields, old.peak_tier)),
        hash_labels=_with_labels(before.hash_labels, fields, change.fields),
    )


def first_memory(fields: Fields, peak_tier: int, since: int, mates: Iterable[Fields]) -> bytes:
    """
    The packed memory of an item that was there before memories were; `since` orders such items, and is below 0.

    `mates` are the items of its former cluster. Whoever was kept among them in spite of new words, stays joined by
    theirs, as far as there is evidence.
    """
    now, before = _wording_of(fields), set[Wording]()
    if _stays_joined(fields, peak_tier):
        before = {_wording_of(mate) for mate in mates} - {now}
    former = sorted((StatedWording(*wording, since) for wording in before if wording.text_id), key=msgspec.to_builtins)
    return msgspec.msgpack.encode(CopyMemory(wordings=(StatedWording(*now, since), *former)))


def _stays_joined(fields: Fields, former_peak: int) -> bool:
    """
    Whether an item stays among the copies of its former words: new words need a new label, and of what was R3 or R4 a
    lower one. New words make no new video: left to them, it would shake off its copies' tier, or they would lose its
    own.
    """
    tier = fields.get("risk_tier")
    return tier is None or (former_peak >= TIERS.index(NEVER_SERVED[0]) and tier in NEVER_SERVED)


def _with_wording(
    before: tuple[StatedWording, ...], now: StatedWording, *, is_joined: bool
) -> tuple[StatedWording, ...]:
    """The wordings with the present one first: since when it was said at first, and joined by in any case."""
    former = [
        msgspec.structs.replace(wording, is_joined=is_joined and wording.is_joined)
        for wording in before
        if wording.text_id != now.text_id
    ]
    if len(former) >= MAX_WORDINGS:  # the first ones say who came first
        former = sorted(former, key=lambda wording: (not wording.is_joined, wording.since))[: MAX_WORDINGS - 1]
    since = next((wording.since for wording in before if wording.text_id == now.text_id), now.since)
    return (msgspec.structs.replace(now, since=since), *former)


def _with_labels(before: tuple[HashLabel, ...], old: Fields, new: Fields) -> tuple[HashLabel, ...]:
    """
    The labels that stay with a hash when the item has it no more, or lost its label. A trusted label of now speaks for
    the item's hash of now.
    """
    labels = {label.key: label for label in before}
    given = given_label(old)
    if given is not None and given.tier != TIERS[0]:
        labels[given.key] = given
    present = given_label(new)
    if present is not None:
        labels.pop(present.key, None)
    highest = sorted(labels.values(), key=lambda label: label.tier, reverse=True)[:MAX_HASH_LABELS]
    return tuple(sorted(highest, key=lambda label: label.key))


def given_label(fields: Fields) -> HashLabel | None:
    """The label that a person, a partner or the platform gave an item with a known hash; None where there is none."""
    key = hash_key(fields.get("perceptual_hash"), fields.get("duration_s"))
    tier, source = fields.get("risk_tier"), fields.get("risk_source")
    if not key or tier is None or source not in TRUSTED_RISK_SOURCES:
        return None
    return HashLabel(key, tier, fields.get("risk_family"), source, fields.get("risk_confidence"))


def row(item: StoredItem) -> ItemRow:
    """A stored item as the engine sees it."""
    return unpack_row((item.item_no, item.revision, item.peak_tier, item.is_edited, item.packed, item.memory))


PackedRow = tuple[int, int, int, int, bytes, bytes]
"""The values of a `StoredItem` in their order."""


def unpack_row(values: PackedRow) -> ItemRow:
    """An item as the engine sees it, from its stored values."""
    item_no, revision, peak_tier, is_edited, packed, memory = values
    remembered = _MEMORY.decode(memory)
    return ItemRow(
        item_no=item_no,
        revision=revision,
        peak_tier=peak_tier,
        is_edited=bool(is_edited),
        fields=msgspec.msgpack.decode(packed),
        wordings=remembered.wordings,
        hash_labels=remembered.hash_labels,
    )


class PackedRows(Sequence[ItemRow]):
    """Stored items, each unpacked when it is asked for: unpacked, a million take 2.5 GB."""

    __slots__ = ("_packed",)

    def __init__(self, packed: Sequence[PackedRow]) -> None:
        self._packed: Final = packed

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, n: int) -> ItemRow: ...
    @overload
    def __getitem__(self, n: slice) -> Sequence[ItemRow]: ...
    def __getitem__(self, n: int | slice) -> ItemRow | Sequence[ItemRow]:
        return PackedRows(self._packed[n]) if isinstance(n, slice) else unpack_row(self._packed[n])

    def __iter__(self) -> Iterator[ItemRow]:
        return map(unpack_row, self._packed)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._packed))


def write_creators(
    known: Mapping[str, CreatorRow], revision: int, changes: Sequence[CreatorChange]
) -> Mapping[str, CreatorRow]:
    """
    The creators that are different after the changes, at the revision after `revision`; `known` are those there now.

    Raises DataError for a change that names nobody, and Conflict, both with nothing written.
    """
    written: dict[str, CreatorRow] = {}
    for index, change in enumerate(changes):
        creator_id = change.fields.get("creator_id")
        if not isinstance(creator_id, str) or not creator_id:
            raise DataError(f"change {index}: found creator_id {creator_id!r}, expected a text")
        old = written.get(creator_id) or known.get(creator_id)
        if change.expects is not None and (ABSENT if old is None else old.revision) != change.expects:
            raise Conflict(
                f"creator {creator_id!r}: found a newer write, expected none since it was read; read it again"
            )
        new = CreatorRow(revision=revision + 1, is_edited=change.is_edited, fields=dict(change.fields))
        is_kept = old is not None and old.is_edited and not change.is_edited
        if old is None or not (is_kept or (old.fields, old.is_edited) == (new.fields, new.is_edited)):
            written[creator_id] = new
    return written
