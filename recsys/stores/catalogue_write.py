"""
What a write to the live catalogue does: numbers, clusters, highest tiers, and whether it is a raise. Pure; every
store applies this one rule to what it holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from recsys.errors import Conflict, DataError
from recsys.stores.protocols import CreatorChange, CreatorRow, ItemChange, ItemRow
from recsys.vocabulary import TIERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A checked change; `packed` holds the fields as msgpack, so that two equal rows are equal bytes."""

    item_id: str
    cluster_id: str
    tier: int
    is_edited: bool
    packed: bytes
    expects: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredItem:
    """An item as a store holds it. Its cluster's number stands with the cluster."""

    item_no: int
    cluster_id: str
    revision: int
    peak_tier: int
    is_edited: bool
    packed: bytes


@dataclass(frozen=True, slots=True)
class Cluster:
    """A group of near-duplicates: its number, and the highest tier any copy ever had."""

    cluster_no: int
    peak_tier: int


@dataclass(slots=True, kw_only=True)
class StoredCatalogue:
    """
    The part of the catalogue that a write touches, or all of it: items by item_id and clusters by cluster_id, among
    them the clusters of those items. `last_no` is the last number given to an item or a cluster.
    """

    items: dict[str, StoredItem] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    last_no: int = 0
    revision: int = 0
    newest_raise: int = 0


@dataclass(slots=True)
class Touched:
    """The keys of what a write changed."""

    items: set[str] = field(default_factory=set)
    clusters: set[str] = field(default_factory=set)


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
    if not isinstance(item_id, str) or not item_id or not change.cluster_id:
        raise DataError(f"found item_id {item_id!r} and cluster {change.cluster_id!r}, expected two texts")
    if tier is not None and tier not in TIERS:
        raise DataError(f"found risk_tier {tier!r} of item {item_id!r}, expected one of {', '.join(TIERS)} or null")
    predicted = change.fields.get("predicted_tier")  # a raise by the model re-counts past deliveries like any other
    if predicted is not None and predicted not in TIERS:
        raise DataError(f"found predicted_tier {predicted!r} of item {item_id!r}, expected one of {', '.join(TIERS)}")
    return Prepared(
        item_id=item_id,
        cluster_id=change.cluster_id,
        tier=max(TIERS.index(tier or "R0"), TIERS.index(predicted or "R0")),
        is_edited=change.is_edited,
        packed=msgspec.msgpack.encode(dict(change.fields), order="deterministic"),
        expects=change.expects,
    )


def write(known: StoredCatalogue, changes: Iterable[Prepared]) -> Touched:
    """
    Apply changes in order to `known`, in place; says which items and clusters are different now.

    A write that changes nothing leaves the revision alone. A raise is one after which an item that was there counts
    higher than before: it was labelled higher, or its cluster was, or it moved to a cluster that is. A label of another
    source, confidence or topics counts as one, because what that means for a viewer is for the policy to say.
    """
    touched, revision, is_raise = Touched(), known.revision + 1, False
    for change in changes:
        old = known.items.get(change.item_id)
        if change.expects is not None and (old is None or old.revision != change.expects):
            raise Conflict(
                f"item {change.item_id!r}: found a newer write, expected none since it was read; read it again"
            )
        if old is not None and _is_settled(old, change):
            continue
        is_raise |= _replace(known, change, old, revision)
        touched.items.add(change.item_id)
        touched.clusters.add(change.cluster_id)
    if touched.items:
        known.revision = revision
    if is_raise:
        known.newest_raise = revision
    return touched


def _is_settled(old: StoredItem, change: Prepared) -> bool:
    """Whether the row stays as it is: an artifact never wins over the wire, and an equal row is no change."""
    if old.is_edited and not change.is_edited:
        return True
    return (old.packed, old.cluster_id, old.is_edited) == (change.packed, change.cluster_id, change.is_edited)


def _replace(known: StoredCatalogue, change: Prepared, old: StoredItem | None, revision: int) -> bool:
    """Put one item in its place; True when that is a raise."""
    if old is None:
        known.last_no += 1
    item_no = known.last_no if old is None else old.item_no
    peak = max(change.tier, 0 if old is None else old.peak_tier)
    group = known.clusters.get(change.cluster_id)
    if group is not None:
        cluster_no, group_peak = group.cluster_no, max(group.peak_tier, peak)
    else:
        # The first member names the cluster. An item that was in another one cannot: its number may name that one.
        known.last_no += 0 if old is None else 1
        cluster_no, group_peak = known.last_no, peak
    counted = None if old is None else known.clusters[old.cluster_id].peak_tier
    known.clusters[change.cluster_id] = Cluster(cluster_no, group_peak)
    known.items[change.item_id] = StoredItem(
        item_no=item_no,
        cluster_id=change.cluster_id,
        revision=revision,
        peak_tier=peak,
        is_edited=change.is_edited,
        packed=change.packed,
    )
    grew = group is not None and group_peak > group.peak_tier
    if old is None:
        return grew
    is_relabelled = _is_doubted(old.packed, change.packed)
    return grew or is_relabelled or peak > old.peak_tier or (counted is not None and group_peak > counted)


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


def row(item: StoredItem, cluster: Cluster) -> ItemRow:
    """A stored item as the engine sees it."""
    fields: dict[str, Any] = msgspec.msgpack.decode(item.packed)
    return ItemRow(
        item_no=item.item_no,
        cluster_id=item.cluster_id,
        cluster_no=cluster.cluster_no,
        cluster_peak=cluster.peak_tier,
        revision=item.revision,
        peak_tier=item.peak_tier,
        is_edited=item.is_edited,
        fields=fields,
    )


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
        if change.expects is not None and (old is None or old.revision != change.expects):
            raise Conflict(
                f"creator {creator_id!r}: found a newer write, expected none since it was read; read it again"
            )
        new = CreatorRow(revision=revision + 1, is_edited=change.is_edited, fields=dict(change.fields))
        is_kept = old is not None and old.is_edited and not change.is_edited
        if old is None or not (is_kept or (old.fields, old.is_edited) == (new.fields, new.is_edited)):
            written[creator_id] = new
    return written
