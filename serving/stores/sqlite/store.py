"""
The state file: people, events, the catalogue, decisions and counts in one SQLite file, to the protocols of
`recsys.stores.protocols`.

What is answered was flushed to disk. It survives the end of the process at any moment; it survives a power cut when
the disk keeps its promise to flush. How writing works: `serving.stores.sqlite.file`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from recsys.clock import Millis, now
from recsys.stores.protocols import Stores
from recsys.stores.retention import LOG_RETENTION_MS, expiry, retention_cutoff
from serving.stores.sqlite.audit import SqliteAudit
from serving.stores.sqlite.catalogue import SqliteCatalogue
from serving.stores.sqlite.decisions import SqliteDecisions
from serving.stores.sqlite.events import SqliteEvents
from serving.stores.sqlite.exposure import CountsOfGroup, SqliteControllers, SqliteExposure, join_old_days
from serving.stores.sqlite.file import BUSY_WAIT_S, Database
from serving.stores.sqlite.prune import prune_table
from serving.stores.sqlite.reviews import SqliteReviews
from serving.stores.sqlite.schema import former_state, open_schema
from serving.stores.sqlite.sealed import SealedRows
from serving.stores.sqlite.users import SqliteCutoffs, SqliteUsers, erase_again, note_tombstones, prune_users
from serving.stores.sqlite.vault import Vault, vault_path


def table_path(state: Path) -> Path:
    """The file of the catalogue's table that belongs to a state file."""
    return state.with_name(state.name + ".catalogue")


class SqliteStore:
    """
    Every store over one file. Decisions and events stay for `log_retention_ms`, 8 days at least.

    Raises StoreError when the file is locked, damaged, not writable, of another program or of another format.
    """

    def __init__(
        self, path: Path, log_retention_ms: Millis = LOG_RETENTION_MS, busy_wait_s: float = BUSY_WAIT_S
    ) -> None:
        former, had_keys = former_state(path), vault_path(path).exists()
        self._log_retention_ms: Final = log_retention_ms
        self._vault: Final = Vault(vault_path(path), busy_wait_s, is_new=former.is_new, index_key=former.index_key)
        try:
            counts = CountsOfGroup()
            self._database: Final = Database(
                path, lambda connection: open_schema(connection, self._vault), busy_wait_s, counts
            )
        except BaseException:
            self._vault.close()
            if former.is_new and not had_keys:  # the file beside it is somebody else's: it gets no keys
                vault_path(path).unlink(missing_ok=True)
            raise
        rows = SealedRows(self._database, self._vault)
        rows.finish_shreds()
        self.erased_again: Final = self._finish(rows)
        self.users: Final = SqliteUsers(rows, counts)
        self.cutoffs: Final = SqliteCutoffs(rows)
        self.events: Final = SqliteEvents(rows)
        self.catalogue: Final = SqliteCatalogue(self._database)
        self.decisions: Final = SqliteDecisions(rows)
        self.exposure: Final = SqliteExposure(self._database)
        self.controllers: Final = SqliteControllers(self._database)
        self.audit: Final = SqliteAudit(self._database)
        self.reviews: Final = SqliteReviews(self._database)
        self._rows: Final = rows
        self.stores: Final = Stores(
            users=self.users, cutoffs=self.cutoffs, events=self.events, catalogue=self.catalogue,
            decisions=self.decisions, exposure=self.exposure, controllers=self.controllers,
            audit=self.audit, reviews=self.reviews, table_file=table_path(path),
        )  # fmt: skip

    def _finish(self, rows: SealedRows) -> Mapping[str, int]:
        """
        Finish a restored file, or one of an older format: erase again whoever was erased since, then rewrite it, so
        that nothing stands open in its free pages. Deleted rows by table.
        """
        with self._database.reading() as connection:
            is_clean = connection.execute("SELECT is_clean FROM meta").fetchone()[0]
        deleted: Mapping[str, int] = {}
        if not is_clean:
            deleted = erase_again(rows, now())
            self._database.compact()
            self._database.write(lambda connection: connection.execute("UPDATE meta SET is_clean = 1"))
        note_tombstones(rows)
        return deleted

    def committed_at(self) -> Millis:
        """The latest time that something was written at; 0 = never."""
        return self.users.committed_at()

    def retention_cutoff(self, at: Millis) -> Millis:
        """The instant before which `prune` at `at` deletes events: by then they must be folded in."""
        return retention_cutoff(at, self._log_retention_ms)

    def prune(self, at: Millis, people: Iterable[str] = ()) -> Mapping[str, int]:
        """
        Delete what is past its retention at `at`, a few rows (whole pages of deliveries) at a time; rows deleted.

        `people` are those whom a model that may be served knows: of an erased one among them the hash alone stays.
        """
        database, expired = self._database, expiry(at, self._log_retention_ms)
        self._vault.prune(expired.audit)
        database.write(lambda connection: connection.execute("PRAGMA incremental_vacuum(500)").fetchall())
        return {
            **prune_users(self._rows, expired, people),
            "decisions": prune_table(database, "decisions", "at", expired.decisions),
            "events": prune_table(database, "events", "received_at", expired.events),
            "exposure": join_old_days(database, expired.first_day_apart),
            "audit": prune_table(database, "audit", "at", expired.audit),
            "reviews": prune_table(database, "reviews", "answered_at", expired.audit),
        }

    def close(self) -> None:
        """Write what is queued, then close the file. Later calls raise StoreError."""
        self._database.close()
        self._vault.close()
