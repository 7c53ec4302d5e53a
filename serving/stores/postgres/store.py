"""
The state on PostgreSQL: people, events, the catalogue, decisions and counts, to the protocols of
`recsys.stores.protocols`.

What is answered is on the server's disk, and on its synchronous standby where it has one. How calls work:
`serving.stores.postgres.server`.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from recsys.clock import Millis, now
from recsys.stores.protocols import Stores
from recsys.stores.retention import LOG_RETENTION_MS, expiry, retention_cutoff
from serving.stores.postgres.audit import PostgresAudit
from serving.stores.postgres.catalogue import PostgresCatalogue
from serving.stores.postgres.decisions import PostgresDecisions
from serving.stores.postgres.events import PostgresEvents
from serving.stores.postgres.exposure import PostgresControllers, PostgresExposure, join_old_days
from serving.stores.postgres.prune import forget_connections, make_ahead, prune_days, prune_table
from serving.stores.postgres.reviews import PostgresReviews
from serving.stores.postgres.schema import check_server, open_state
from serving.stores.postgres.sealed import SealedRows
from serving.stores.postgres.server import Database
from serving.stores.postgres.users import PostgresCutoffs, PostgresUsers, erase_again, note_tombstones, prune_people
from serving.stores.postgres.vault import Vault


class PostgresStore:
    """
    Every store over one database, or two where `?keys=` names another one for the keys. Decisions and events stay for
    `log_retention_ms`, 8 days at least. `where` is the address as messages show it.

    Raises StoreError when a server cannot be reached, does not keep what is promised, or holds something else.
    """

    def __init__(self, url: str, where: str, log_retention_ms: Millis = LOG_RETENTION_MS) -> None:
        state, keys = _addresses(url)
        self._log_retention_ms: Final = log_retention_ms
        self._database: Final = Database(state, where)
        self._of_keys: Final = self._database if keys is None else Database(keys, f"{where} (keys)", "sanad keys")
        try:
            for database in {self._database, self._of_keys}:
                check_server(database)
            self._vault: Final = Vault(self._of_keys)
            open_state(self._database, self._vault.installation)
            make_ahead(self._database, now())
            self._rows: Final = SealedRows(self._database, self._vault)
            self._rows.finish_shreds()
            self.erased_again: Final = erase_again(self._rows, now())
            note_tombstones(self._rows)
        except BaseException:
            self._close_connections()
            raise
        self.users: Final = PostgresUsers(self._rows)
        self.cutoffs: Final = PostgresCutoffs(self._rows)
        self.events: Final = PostgresEvents(self._rows)
        self.catalogue: Final = PostgresCatalogue(self._database)
        self.decisions: Final = PostgresDecisions(self._rows)
        self.exposure: Final = PostgresExposure(self._database)
        self.controllers: Final = PostgresControllers(self._database)
        self.audit: Final = PostgresAudit(self._database)
        self.reviews: Final = PostgresReviews(self._database)
        self.signing_key: Final = self._vault.signing_key
        self.stores: Final = Stores(
            users=self.users, cutoffs=self.cutoffs, events=self.events, catalogue=self.catalogue,
            decisions=self.decisions, exposure=self.exposure, controllers=self.controllers,
            audit=self.audit, reviews=self.reviews,
        )  # fmt: skip

    def committed_at(self) -> Millis:
        """The latest time that something was written at; 0 = never."""
        return self.users.committed_at()

    def retention_cutoff(self, at: Millis) -> Millis:
        """The instant before which `prune` at `at` deletes events: by then they must be folded in."""
        return retention_cutoff(at, self._log_retention_ms)

    def prune(self, at: Millis, people: Iterable[str] = ()) -> Mapping[str, int]:
        """
        Delete what is past its retention at `at`; rows (whole pages of deliveries) deleted per table.

        `people` are those whom a model that may be served knows: of an erased one among them the hash alone stays.
        """
        database, expired = self._database, expiry(at, self._log_retention_ms)
        make_ahead(database, at)
        self._rows.finish_shreds()  # what the server of the keys could not do at an erasure
        note_tombstones(self._rows)
        self._vault.prune(expired.audit)
        forget_connections(database)
        return {
            "deliveries": prune_days(database, "deliveries", expired.deliveries),
            **prune_people(self._rows, expired, people),
            "decisions": prune_days(database, "decisions", expired.decisions),
            "events": prune_days(database, "events", expired.events),
            "exposure": join_old_days(database, expired.first_day_apart),
            "audit": prune_table(database, "audit", "at", expired.audit),
            "reviews": prune_table(database, "reviews", "answered_at", expired.audit),
        }

    def close(self) -> None:
        """Close every connection. Later calls raise StoreError."""
        self._close_connections()

    def _close_connections(self) -> None:
        self._database.close()
        self._of_keys.close()


def _addresses(url: str) -> tuple[str, str | None]:
    """The address of the state as it was given, and that of the keys where it names another one."""
    place, _, query = url.partition("?")
    options = [option for option in query.split("&") if option]
    keys = [unquote(option.removeprefix("keys=")) for option in options if option.startswith("keys=")]
    rest = "&".join(option for option in options if not option.startswith("keys="))
    return f"{place}?{rest}" if rest else place, keys[-1] if keys else None
