"""Items and creators in memory. `recsys.stores.catalogue_write` decides what a write does."""

from collections.abc import Sequence

from recsys.clock import Millis
from recsys.stores import catalogue_write
from recsys.stores.audit import AuditEntry
from recsys.stores.memory.audit import add_entries
from recsys.stores.memory.tables import Tables
from recsys.stores.protocols import CatalogueDelta, CreatorChange, CreatorRow, ItemChange, ItemRow


class MemoryCatalogue:
    """`Catalogue` in memory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def since(self, revision: int) -> CatalogueDelta:
        """See `Catalogue.since`."""
        with self._tables.lock:
            stored = self._tables.catalogue
            newer = [i for i in stored.items.values() if i.revision > revision] if stored.revision > revision else []
            rows = tuple(catalogue_write.row(item) for item in sorted(newer, key=lambda item: item.item_no))
            creators = tuple(c for c in self._tables.creators.values() if c.revision > revision)
            return CatalogueDelta(
                revision=stored.revision, newest_raise=stored.newest_raise, rows=rows, creators=creators
            )

    def put(
        self, changes: Sequence[ItemChange], at: Millis, audit: Sequence[AuditEntry] = (), source: str | None = None
    ) -> int:
        """See `Catalogue.put`. Raises DataError on a change that is no item."""
        prepared = catalogue_write.prepare(changes)
        with self._tables.lock:
            if catalogue_write.write(self._tables.catalogue, prepared):
                self._tables.commit(at)
                add_entries(self._tables, audit)
            if source is not None or catalogue_write.is_artifact(prepared):
                self._tables.catalogue_source = source
            return self._tables.catalogue.revision

    def source(self) -> str | None:
        """See `Catalogue.source`."""
        return self._tables.catalogue_source

    def get(self, item_id: str) -> ItemRow | None:
        """See `Catalogue.get`."""
        with self._tables.lock:
            item = self._tables.catalogue.items.get(item_id)
            return None if item is None else catalogue_write.row(item)

    def put_creators(self, changes: Sequence[CreatorChange], at: Millis, audit: Sequence[AuditEntry] = ()) -> int:
        """See `Catalogue.put_creators`."""
        tables = self._tables
        with tables.lock:
            written = catalogue_write.write_creators(tables.creators, tables.catalogue.revision, changes)
            if written:
                tables.creators |= written
                tables.catalogue.revision += 1
                tables.commit(at)
                add_entries(tables, audit)
            return tables.catalogue.revision

    def renew(self, at: Millis) -> int:
        """See `Catalogue.renew`."""
        with self._tables.lock:
            self._tables.catalogue.revision += 1
            self._tables.commit(at)
            return self._tables.catalogue.revision

    def creator(self, creator_id: str) -> CreatorRow | None:
        """See `Catalogue.creator`."""
        return self._tables.creators.get(creator_id)
