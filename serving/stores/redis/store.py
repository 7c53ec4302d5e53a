"""
The state on Redis or Valkey: people, events, the catalogue and counts on one server or a cluster, decision records in a
sink, to the protocols of `recsys.stores.protocols`.

What is answered is on the server's disk, and where there are replicas in theirs. How writing works:
`serving.stores.redis.servers`.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from recsys.clock import Millis
from recsys.errors import StoreError
from recsys.stores.protocols import Stores
from recsys.stores.retention import LOG_RETENTION_MS, Expiry, expiry, retention_cutoff
from serving.stores.redis.address import Address
from serving.stores.redis.audit import RedisAudit
from serving.stores.redis.catalogue import RedisCatalogue
from serving.stores.redis.committed import CommittedTime
from serving.stores.redis.decisions import RedisDecisions
from serving.stores.redis.doubt import Doubts
from serving.stores.redis.events import RedisEvents
from serving.stores.redis.exposure import RedisControllers, RedisExposure
from serving.stores.redis.outbox import Mover, Outbox
from serving.stores.redis.restored import doubt_what_is_older, erase_again
from serving.stores.redis.reviews import RedisReviews
from serving.stores.redis.rewrite import Rewriter
from serving.stores.redis.schema import Tags, call, check_servers
from serving.stores.redis.servers import Servers
from serving.stores.redis.sink import Sink, SinkError
from serving.stores.redis.users import RedisCutoffs, RedisUsers, prune_people
from serving.stores.redis.vault import Vault


class RedisStore:
    """
    Every store over one address. Decisions and events stay for `log_retention_ms`, 8 days at least.

    Raises StoreError when a server cannot be reached, does not keep what is promised, or the sink cannot be written.
    """

    def __init__(self, address: Address, log_retention_ms: Millis = LOG_RETENTION_MS) -> None:
        self._log_retention_ms: Final = log_retention_ms
        self._sink: Final = Sink(f"{address.records.rstrip('/')}/{address.name}")
        self._servers: Final = Servers(address)
        try:
            check_servers(self._servers)
            self._tags: Final = Tags(address.name)
            doubts = Doubts(self._servers, self._tags)
            doubts.look()
            self._servers.follow = doubts.follow
            doubt_what_is_older(self._servers, self._tags, self._sink)
            self._vault: Final = Vault(self._servers, self._tags)
            self.erased_again: Final = erase_again(self._servers, self._tags, self._vault, self._sink)
        except BaseException:
            self._servers.close()
            raise
        servers, tags, vault, time = self._servers, self._tags, self._vault, CommittedTime(self._servers, self._tags)
        self._outbox: Final = Outbox(servers, tags, vault, self._sink)
        drain = self._outbox.drain
        settle = self._outbox.settle
        self.audit: Final = RedisAudit(servers, tags, settle)
        self.decisions: Final = RedisDecisions(servers, tags, vault, self._sink, drain)
        self.users: Final = RedisUsers(servers, tags, vault, time, self.audit, self.decisions)
        self.cutoffs: Final = RedisCutoffs(servers, tags, vault)
        self.events: Final = RedisEvents(servers, tags, vault, time, self._outbox)
        self.catalogue: Final = RedisCatalogue(servers, tags, time)
        self.exposure: Final = RedisExposure(servers, tags, settle)
        self.controllers: Final = RedisControllers(servers, tags)
        self.reviews: Final = RedisReviews(servers, tags)
        self.stores: Final = Stores(
            users=self.users, cutoffs=self.cutoffs, events=self.events, catalogue=self.catalogue,
            decisions=self.decisions, exposure=self.exposure, controllers=self.controllers,
            audit=self.audit, reviews=self.reviews,
        )  # fmt: skip
        self.signing_key: Final = vault.signing_key
        self._rewriter: Final = Rewriter(servers, tags)
        self._mover: Final = Mover(drain, self._rewriter.work)

    def committed_at(self) -> Millis:
        """The latest time that something was written at; 0 = never."""
        return self.users.committed_at()

    def retention_cutoff(self, at: Millis) -> Millis:
        """The instant before which `prune` at `at` deletes events: by then they must be folded in."""
        return retention_cutoff(at, self._log_retention_ms)

    def prune(self, at: Millis, people: Iterable[str] = ()) -> Mapping[str, int]:
        """
        Delete what is past its retention at `at`, a few people (whole days of records) at a time; rows deleted.

        `people` are those whom a model that may be served knows: of an erased one among them the hash alone stays.
        """
        expired = expiry(at, self._log_retention_ms)
        with suppress(SinkError):
            self._outbox.drain()
        of_people = prune_people(self._servers, self._tags, self._vault, expired, people)
        shared = {
            "exposure": self._scan("join_exposure", expired.first_day_apart),
            "audit": self._prune_logs(expired),
            "reviews": self._scan("prune_reviews", expired.audit),
        }
        self._sink.prune_erased(expired.audit)  # the sink is last: where it fails, the servers are tidy all the same
        return {**of_people, "decisions": self._sink.prune(expired.decisions), **shared}

    def _prune_logs(self, expired: Expiry) -> int:
        deleted, tag = 0, self._tags.shared
        while True:
            [(audit, is_all)] = self._servers.write(tag, call("prune_logs", tag, expired.audit, expired.events))
            deleted += int(audit)
            if is_all:
                return deleted

    def _scan(self, function: str, limit: int) -> int:
        """Call a function that changes some rows of what is shared at a time, until it was at all; how many rows."""
        changed, tag, cursor = 0, self._tags.shared, b"0"
        while True:
            [(some, cursor)] = self._servers.write(tag, call(function, tag, limit, cursor))
            changed += int(some)
            if cursor == b"0":
                return changed

    def close(self) -> None:
        """Move what waits, then close every connection. Later calls raise StoreError."""
        self._mover.close()
        with suppress(StoreError):  # else it waits on the servers, for whoever is next
            self._outbox.drain()
        self._servers.close()
