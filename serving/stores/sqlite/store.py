"""
The state file: people, events, the catalogue, decisions and counts in one SQLite file, to the protocols of
`recsys.stores.protocols`.

What is answered was flushed to disk. It survives the end of the process at any moment; it survives a power cut when
the disk keeps its promise to flush. How writing works: `serving.stores.sqlite.file`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from recsys.clock import Millis
from recsys.stores.protocols import Stores
from recsys.stores.retention import LOG_RETENTION_MS, expiry, retention_cutoff
from serving.stores.sqlite.catalogue import SqliteCatalogue
from serving.stores.sqlite.decisions import SqliteDecisions
from serving.stores.sqlite.events import SqliteEvents
from serving.stores.sqlite.exposure import SqliteControllers, SqliteExposure, join_old_days
from serving.stores.sqlite.file import PATIENCE_S, Database
from serving.stores.sqlite.prune import prune_table
from serving.stores.sqlite.schema import open_schema
from serving.stores.sqlite.users import SqliteCutoffs, SqliteUsers, prune_users


class SqliteStore:
    """
    Every store over one file. Decisions and events stay for `log_retention_ms`, 8 days at least.

    Raises StoreError when the file is locked, damaged, not writable, of another program or of another format.
    """

    def __init__(self, path: Path, log_retention_ms: Millis = LOG_RETENTION_MS, patience_s: float = PATIENCE_S) -> None:
        self._database: Final = Database(path, open_schema, patience_s)
        self._log_retention_ms: Final = log_retention_ms
        with self._database.reading() as connection:
            self._hash_key: Final[bytes] = connection.execute("SELECT hash_key FROM meta").fetchone()[0]
        self.users: Final = SqliteUsers(self._database, self._hash_key)
        self.cutoffs: Final = SqliteCutoffs(self._database, self._hash_key)
        self.events: Final = SqliteEvents(self._database)
        self.catalogue: Final = SqliteCatalogue(self._database)
        self.decisions: Final = SqliteDecisions(self._database)
        self.exposure: Final = SqliteExposure(self._database)
        self.controllers: Final = SqliteControllers(self._database)
        self.stores: Final = Stores(
            users=self.users, cutoffs=self.cutoffs, events=self.events, catalogue=self.catalogue,
            decisions=self.decisions, exposure=self.exposure, controllers=self.controllers,
        )  # fmt: skip

    def committed_at(self) -> Millis:
        """The latest time that something was written at; 0 = never."""
        return self.users.committed_at()

    def retention_cutoff(self, at: Millis) -> Millis:
        """The instant before which `prune` at `at` deletes events: by then they must be folded in."""
        return retention_cutoff(at, self._log_retention_ms)

    def prune(self, at: Millis, people: Iterable[str] = ()) -> Mapping[str, int]:
        """
        Delete what is past its retention at `at`, a few rows (whole pages of deliveries) at a time; rows deleted.

        `people` are those whom the model in service knows: of an erased one among them the hash alone stays.
        """
        database, expired = self._database, expiry(at, self._log_retention_ms)
        return {
            **prune_users(database, self._hash_key, expired, people),
            "decisions": prune_table(database, "decisions", "at", expired.decisions),
            "events": prune_table(database, "events", "received_at", expired.events),
            "exposure": join_old_days(database, expired.first_day_apart),
        }

    def compact(self) -> None:
        """Rewrite the file without deleted content; writers wait. For a quiet hour. Raises StoreError."""
        self._database.compact()

    def close(self) -> None:
        """Write what is queued, then close the file. Later calls raise StoreError."""
        self._database.close()
