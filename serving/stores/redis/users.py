"""States of people on the servers, their deliveries, erasure, and the cut-offs for training."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from recsys.clock import Millis, to_text
from recsys.errors import StoreError
from recsys.stores.audit import LOCAL, AuditEntry, erased_name, erasure_entry
from recsys.stores.protocols import DecisionRecord, Forgotten, Read, StoredAnswer, Version
from recsys.stores.retention import ERASED, Expiry
from recsys.user.state import Delivery, UserState, pack, unpack_safety
from serving.stores.redis.audit import RedisAudit, packed_entry
from serving.stores.redis.committed import CommittedTime
from serving.stores.redis.decisions import RedisDecisions
from serving.stores.redis.events import read_logged
from serving.stores.redis.exposure import seal_counts
from serving.stores.redis.schema import Tags, call
from serving.stores.redis.servers import Argument, Command, Servers
from serving.stores.redis.vault import Vault, open_former, open_own
from serving.stores.sealing import (
    DECISIONS,
    DELIVERIES,
    PARTS,
    TOMBSTONES,
    Key,
    read_answer,
    read_pages,
    read_state,
    seal_answer,
    seal_page,
    seal_parts,
)

_AT_ONCE: Final = 1_000  # pages and events that one step of a pruning looks at: meanwhile the server does nothing else
_TOKEN: Final = 12  # bytes


class RedisUsers:
    """`UserStore` on Redis, sealed."""

    def __init__(
        self,
        servers: Servers,
        tags: Tags,
        vault: Vault,
        time: CommittedTime,
        audit: RedisAudit,
        decisions: RedisDecisions,
    ) -> None:
        self._servers = servers
        self._tags = tags
        self._vault = vault
        self._time = time
        self._audit = audit
        self._decisions = decisions

    def read(self, user_id: str, request_id: str | None = None) -> Read:
        """See `UserStore.read`. One step of the person's server, and beside it the revision from its own."""
        owner = self._vault.hide(user_id)
        request = b"" if request_id is None else self._vault.hide_short(request_id)
        tag, shared = self._tags.of(owner), self._tags.shared
        replies = self._servers.ask_all(
            {tag: [call("read", tag, owner, request)], shared: [("HGET", shared + b":meta", "revision")]}
        )
        state, stone, sealed, key, entries = replies[tag][0]
        own = self._vault.note(owner, *key)
        try:
            found, version = self._state_of(owner, own, state, stone)
        except msgspec.DecodeError as error:
            raise StoreError(f"the state of a user cannot be read ({error}); restore the server's last copy") from error
        return Read(
            state=found,
            version=version,
            revision=int(replies[shared][0] or 0),
            answer=None if sealed is None else self._answer(owner, own, sealed),
            logged=read_logged(own, owner, entries),
        )

    def _answer(self, owner: bytes, key: Key | None, sealed: bytes) -> StoredAnswer | None:
        """The answer; None for one of before an erasure, which its server has not deleted yet."""
        opened = open_former(key, sealed, DECISIONS + owner)
        return None if opened is None else read_answer(opened)

    def _state_of(
        self, owner: bytes, key: Key | None, state: Sequence[Any], stone: Sequence[Any]
    ) -> tuple[UserState, Version]:
        """State and version of the person, else of the tombstone, else afresh."""
        version, *parts, _ = state
        if version is not None:
            opened = [open_own(key, sealed, kind + owner) for sealed, kind in zip(parts, PARTS, strict=True)]
            return read_state(opened), int(version)
        if stone[0] is not None:
            packed = self._vault.own_key.open(stone[1], TOMBSTONES + owner)
            return UserState(safety=unpack_safety(packed)), int(stone[0])
        return UserState(), 0

    def write_if(self, user_id: str, state: UserState, version: Version, record: DecisionRecord | None = None) -> bool:
        """See `UserStore.write_if`. The page's counts and its record go on from the outbox of the same step."""
        owner, parts, token = self._vault.hide(user_id), pack(state), secrets.token_bytes(_TOKEN)
        tag = self._tags.of(owner)
        counts = b"" if record is None else seal_counts(self._vault.own_key, record.exposure)

        def attempt(key: Key, fresh: bytes) -> list[Any]:
            sealed = seal_parts(parts, key, owner)
            page = () if record is None else self._page(owner, key, record, counts)
            log_seq = state.interactions.log_seq
            write = call("write", tag, owner, version, token, key.number, fresh, *sealed, log_seq, *page)
            found: list[Any] = self._servers.write(tag, write)[0]
            return found

        said, *more = self._vault.seal_until(owner, attempt)
        if said == b"doubt":
            raise StoreError(
                "a failover may have lost what was counted of this person; pages are from the safe feed until "
                f"{to_text(int(more[0]) // 1_000)}"
            )
        if said == b"emptied":  # every start notes on what run it is
            raise StoreError(
                "found a server that was emptied under the running service; stop all services, put its last copy "
                "back, then start them again"
            )
        if said != b"ok":
            return False
        self._time.note(0 if record is None else record.answer.at)
        return True

    def _page(self, owner: bytes, key: Key, record: DecisionRecord, counts: bytes) -> tuple[Argument, ...]:
        deliveries, answer = record.deliveries, record.answer
        newest = max((delivery.at for delivery in deliveries), default=0)
        page = seal_page(deliveries, key, owner) if deliveries else b""
        request = self._vault.hide_short(answer.request_id)
        return answer.at, newest, len(deliveries), page, request, seal_answer(answer, key, owner), counts

    def deliveries(self, user_id: str, since: Millis) -> tuple[Delivery, ...]:
        """See `UserStore.deliveries`."""
        owner = self._vault.hide(user_id)
        tag = self._tags.of(owner)
        pages, key = self._servers.ask(
            tag, ("LRANGE", tag + b":l:" + owner, 0, -1), ("HMGET", tag + b":k:" + owner, "n", "k")
        )
        own = self._vault.note(owner, *key)
        newer = [sealed for at, _, sealed in (page.split(b":", 2) for page in pages) if int(at) >= since]
        return read_pages([open_former(own, sealed, DELIVERIES + owner) for sealed in newer], since)

    def committed_at(self) -> Millis:
        """See `UserStore.committed_at`; as of a second ago."""
        return self._time.read()

    def commit_time(self, at: Millis) -> None:
        """See `UserStore.commit_time`."""
        self._time.move(at)

    def set_time(self, at: Millis, audit: Sequence[AuditEntry] = ()) -> None:
        """See `UserStore.set_time`. The log comes first: a time that nobody noted must not stand."""
        self._audit.append(audit)
        self._time.set(at)

    def erase(
        self,
        user_id: str,
        at: Millis,
        tombstone: bytes | None,
        version: Version | None = None,
        log_seq: int | None = None,
        who: str = LOCAL,
    ) -> Mapping[str, int] | None:
        """
        See `UserStore.erase`. One step deletes the values and their key; with it what is left elsewhere, in the logs of
        the server and in the sink, cannot be read any more.
        """
        if tombstone is not None:
            unpack_safety(tombstone)
        owner = self._vault.hide(user_id)
        stone = b"" if tombstone is None else self._vault.own_key.seal(tombstone, TOMBSTONES + owner)
        entry = erasure_entry(at, who, self._vault.hide(erased_name(user_id)))
        noted = packed_entry(entry)
        tag = self._tags.of(owner)
        wanted: list[Argument] = ["" if value is None else value for value in (version, log_seq)]
        [reply] = self._servers.write(tag, call("erase", tag, owner, at, *wanted, stone, noted))
        if reply[0] != b"ok":
            return None
        self._time.note(at)
        _, states, deliveries, requests, events = reply
        in_sink = self._decisions.requests_of(owner)  # afterwards: a slow sink must not keep an erasure waiting
        return {
            "users": states, "deliveries": deliveries, "decisions": len(in_sink.union(requests)), "events": events,
        }  # fmt: skip


class RedisCutoffs:
    """`TrainingCutoffs` on Redis."""

    def __init__(self, servers: Servers, tags: Tags, vault: Vault) -> None:
        self._servers = servers
        self._tags = tags
        self._vault = vault

    def forget(self, user_id: str, before: Millis) -> None:
        """See `TrainingCutoffs.forget`."""
        owner = self._vault.hide(user_id)
        tag = self._tags.of(owner)
        self._servers.write(tag, call("forget", tag, owner, before))

    def forgotten(self) -> Forgotten:
        """See `TrainingCutoffs.forgotten`."""
        commands: dict[bytes, list[Command]] = {
            tag: [("ZRANGE", tag + b":forgotten", 0, -1, "WITHSCORES"), ("ZRANGE", tag + b":stones", 0, -1)]
            for tag in self._tags.people
        }
        before: dict[bytes, Millis] = {}
        erased: set[bytes] = set()
        for scored, stones in self._servers.ask_all(commands).values():
            before |= {owner: int(at) for owner, at in zip(scored[::2], scored[1::2], strict=True)}
            erased |= set(stones)
        return Forgotten(self._vault.index_key, before, frozenset(erased & before.keys()))


def prune_people(servers: Servers, tags: Tags, vault: Vault, expired: Expiry, people: Iterable[str]) -> dict[str, int]:
    """
    Delete what is past its retention under the tags of people; rows deleted per table.

    `people`: whom the model in service knows. Of an erased one among them the hash alone stays.
    """
    deleted = {"deliveries": 0, "events": 0, "tombstones": 0, "forgotten": 0}
    for tag in tags.people:
        prune = call("prune", tag, expired.deliveries, expired.decisions, expired.events, _AT_ONCE)
        is_all = 0
        while not is_all:
            [(pages, events, is_all)] = servers.write(tag, prune)
            deleted["deliveries"] += pages
            deleted["events"] += events
    known = _known_stones(servers, tags, vault, expired, people)
    for tag in tags.people:
        bare = [value for owner in known.get(tag, ()) for value in (owner, _bare(vault, owner))]
        [(stones, cutoffs)] = servers.write(tag, call("prune_stones", tag, expired.tombstones, expired.cutoffs, *bare))
        deleted["tombstones"] += stones
        deleted["forgotten"] += cutoffs
    return deleted


def _bare(vault: Vault, owner: bytes) -> bytes:
    return vault.own_key.seal(pack(UserState(safety=ERASED))[1], TOMBSTONES + owner)


def _known_stones(
    servers: Servers, tags: Tags, vault: Vault, expired: Expiry, people: Iterable[str]
) -> dict[bytes, list[bytes]]:
    """Old tombstones of people whom the model in service knows, by tag."""
    commands: dict[bytes, list[Command]] = {
        tag: [("ZRANGEBYSCORE", tag + b":stones", "-inf", f"({expired.tombstones}")] for tag in tags.people
    }
    old = {tag: set(replies[0]) for tag, replies in servers.ask_all(commands).items()}
    known: dict[bytes, list[bytes]] = {}
    if any(old.values()):
        for owner in map(vault.hide, people):
            if owner in old[tags.of(owner)]:
                known.setdefault(tags.of(owner), []).append(owner)
    return known
