"""
The catalogue on the server of what is shared. `recsys.stores.catalogue_write` decides what a write does: it is worked
out here on what was read, and published in one step if the revision is still that one.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from recsys.clock import Millis
from recsys.errors import StoreError
from recsys.stores import catalogue_write
from recsys.stores.audit import AuditEntry
from recsys.stores.catalogue_write import PackedRow, PackedRows, Prepared, StoredCatalogue, StoredItem
from recsys.stores.protocols import CatalogueDelta, CreatorChange, CreatorRow, ItemChange, ItemRow
from serving.stores.redis.audit import audit_arguments
from serving.stores.redis.committed import CommittedTime
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Argument, Servers

_AT_ONCE: Final = 2_000  # rows in one step: more would keep the pages of others waiting
_MAX_TRIES: Final = 100  # beside other writers of the catalogue
_KEEP, _FORGET, _NOTE = "=", "-", "+"  # what becomes of the note of the artifact
_CREATOR: Final = msgspec.msgpack.Decoder(tuple[int, bool, dict[str, Any]])
_ROW: Final = msgspec.msgpack.Decoder(tuple[int, int, int, int, bytes, bytes])

_Written = tuple[str, str, int, bytes]
"""Kind of row, id, revision, and the row, packed."""


class RedisCatalogue:
    """`Catalogue` on Redis. Of very many rows some may be stored where a write of them fails half way."""

    def __init__(self, servers: Servers, tags: Tags, time: CommittedTime) -> None:
        self._servers = servers
        self._tag = tags.shared
        self._time = time

    def since(self, revision: int) -> CatalogueDelta:
        """See `Catalogue.since`. Rows are read after the revision: what comes in between comes again next time."""
        newest, newest_raise, _ = self._meta()
        packed = sorted(map(_ROW.decode, self._newer("item", revision)))
        creators = sorted(self._newer("creator", revision, with_ids=True))
        return CatalogueDelta(
            revision=newest,
            newest_raise=newest_raise,
            rows=PackedRows(packed) if packed else (),
            creators=tuple(_creator(row) for _, row in creators),
        )

    def _newer(self, kind: str, revision: int, *, with_ids: bool = False) -> list[Any]:
        """Packed rows with a higher revision, with their ids where asked for."""
        name = self._tag + b":" + kind.encode()
        [ids] = self._servers.ask(self._tag, ("ZRANGEBYSCORE", name + b"_revisions", f"({revision}", "+inf"))
        rows: list[Any] = []
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            [found] = self._servers.ask(self._tag, ("HMGET", name + b"s", *some))
            rows += zip(some, found, strict=True) if with_ids else found
        return rows

    def put(
        self, changes: Sequence[ItemChange], at: Millis, audit: Sequence[AuditEntry] = (), source: str | None = None
    ) -> int:
        """See `Catalogue.put`. Raises DataError on a change that is no item."""
        prepared = catalogue_write.prepare(changes)
        revision = 0
        for start in range(0, max(1, len(prepared)), _AT_ONCE):
            some, is_last = prepared[start : start + _AT_ONCE], start + _AT_ONCE >= len(prepared)
            mark = _mark(some, source if is_last else None, has_source=source is not None and is_last)
            revision = self._publish(partial(self._items, some), at, audit if is_last else (), mark)
        return revision

    def _items(self, changes: Sequence[Prepared]) -> tuple[StoredCatalogue, list[_Written]]:
        """The catalogue after some changes, as far as they touch it, and the rows that are different."""
        revision, newest_raise, last_no = self._meta()
        known = StoredCatalogue(last_no=last_no, revision=revision, newest_raise=newest_raise)
        ids = list({change.item_id: None for change in changes})
        if last_no and ids:
            [found] = self._servers.ask(self._tag, ("HMGET", self._tag + b":items", *ids))
            known.items.update((key, _item(packed)) for key, packed in zip(ids, found, strict=True) if packed)
        touched = sorted(catalogue_write.write(known, changes))
        return known, [("item", key, known.revision, _packed(known.items[key])) for key in touched]

    def put_creators(self, changes: Sequence[CreatorChange], at: Millis, audit: Sequence[AuditEntry] = ()) -> int:
        """See `Catalogue.put_creators`."""
        return self._publish(lambda: self._creators(changes), at, audit, _KEEP)

    def _creators(self, changes: Sequence[CreatorChange]) -> tuple[StoredCatalogue, list[_Written]]:
        revision, newest_raise, last_no = self._meta()
        ids = list({str(change.fields.get("creator_id")): None for change in changes})
        known: Mapping[str, CreatorRow] = {}
        if ids:
            [found] = self._servers.ask(self._tag, ("HMGET", self._tag + b":creators", *ids))
            known = {key: _creator(packed) for key, packed in zip(ids, found, strict=True) if packed}
        written = catalogue_write.write_creators(known, revision, changes)
        after = StoredCatalogue(last_no=last_no, revision=revision + bool(written), newest_raise=newest_raise)
        return after, [("creator", key, row.revision, _packed_creator(row)) for key, row in written.items()]

    def _publish(
        self,
        work: Callable[[], tuple[StoredCatalogue, list[_Written]]],
        at: Millis,
        audit: Sequence[AuditEntry],
        mark: str,
    ) -> int:
        """Publish what `work` makes of the catalogue; again where another writer came first. The revision after it."""
        for _ in range(_MAX_TRIES):
            after, rows = work()
            if not rows and mark == _KEEP:
                return after.revision
            before = after.revision - bool(rows)
            arguments: list[Argument] = [
                before, secrets.token_bytes(12), at, after.newest_raise, after.last_no, mark, int(bool(rows)),
                *audit_arguments(audit), *(value for row in rows for value in row),
            ]  # fmt: skip
            [reply] = self._servers.write(self._tag, call("publish", self._tag, *arguments))
            if reply[0] == b"ok":
                self._time.note(at if rows else 0)
                return int(reply[1])
        raise StoreError("the catalogue was written by others all the time; ask again")

    def source(self) -> str | None:
        """See `Catalogue.source`."""
        [source] = self._servers.ask(self._tag, ("HGET", self._tag + b":meta", "source"))
        return None if source is None else str(source.decode())

    def get(self, item_id: str) -> ItemRow | None:
        """See `Catalogue.get`."""
        [packed] = self._servers.ask(self._tag, ("HGET", self._tag + b":items", item_id))
        return None if packed is None else catalogue_write.unpack_row(_ROW.decode(packed))

    def renew(self, at: Millis) -> int:
        """See `Catalogue.renew`."""
        [revision] = self._servers.write(self._tag, call("renew", self._tag, at, secrets.token_bytes(12)))
        self._time.note(at)
        return int(revision)

    def creator(self, creator_id: str) -> CreatorRow | None:
        """See `Catalogue.creator`."""
        [packed] = self._servers.ask(self._tag, ("HGET", self._tag + b":creators", creator_id))
        return None if packed is None else _creator(packed)

    def _meta(self) -> tuple[int, int, int]:
        """Revision, newest raise, and the last number of an item."""
        [found] = self._servers.ask(self._tag, ("HMGET", self._tag + b":meta", "revision", "newest_raise", "last_no"))
        revision, newest_raise, last_no = (int(value or 0) for value in found)
        return revision, newest_raise, last_no


def _mark(changes: Iterable[Prepared], source: str | None, *, has_source: bool) -> str:
    if has_source:
        return f"{_NOTE}{source}"
    return _FORGET if catalogue_write.is_artifact(changes) else _KEEP


def _packed(item: StoredItem) -> bytes:
    row: PackedRow = (item.item_no, item.revision, item.peak_tier, int(item.is_edited), item.packed, item.memory)
    return msgspec.msgpack.encode(row)


def _item(packed: bytes) -> StoredItem:
    item_no, revision, peak_tier, is_edited, fields, memory = _ROW.decode(packed)
    return StoredItem(
        item_no=item_no, revision=revision, peak_tier=peak_tier, is_edited=bool(is_edited), packed=fields,
        memory=memory,
    )  # fmt: skip


def _packed_creator(row: CreatorRow) -> bytes:
    return msgspec.msgpack.encode((row.revision, row.is_edited, dict(row.fields)))


def _creator(packed: bytes) -> CreatorRow:
    revision, is_edited, fields = _CREATOR.decode(packed)
    return CreatorRow(revision=revision, is_edited=is_edited, fields=fields)
