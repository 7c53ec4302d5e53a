"""
What the engine needs from storage, by concern. Rules are pure functions elsewhere; a store only stores.

    UserStore        states of people, their deliveries, erasure
    TrainingCutoffs  what the next model must not learn
    EventLog         what people did
    Catalogue        items and creators
    DecisionLog      the record of every page
    ExposureCounts   how often creators were delivered; names no person
    ControllerStore  what the exposure controller of a market remembers
    AuditLog         who decided what, and when (`recsys.stores.audit`)
    ReviewQueue      whose label a person should look at (`recsys.stores.reviews`)

A page writes state, deliveries and decision in one transaction: `UserStore.write_if` takes them together. What is not
of one person (counts, `of_request`, `waiting`, `received_since`) may come a little later: a store with many machines
puts it into an outbox within that transaction, and sorts it from there. Nothing in it is lost.
Every implementation passes the same contract tests (`tests/contracts`). In memory: `recsys.stores.memory`; in a
file: `serving.stores.sqlite`; on servers: `serving.stores.postgres` and `serving.stores.redis`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from recsys.clock import Millis
from recsys.stores.audit import LOCAL, AuditEntry, AuditLog
from recsys.stores.reviews import ReviewQueue
from recsys.text.clusters import Wording
from recsys.types import Event, Fields
from recsys.user.state import Delivery, UserState

Version = int
"""
Another one with every write of a user, and after an erasure; 0 = never written. No version is given to a person twice,
so that a page that was being made when its user was erased cannot bring anything back.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The answer to a request_id: the hash of what was asked, the page as sent, and the packed decision."""

    request_id: str
    user_id: str
    at: Millis
    body_hash: str
    answer: bytes
    decision: bytes


@dataclass(frozen=True, slots=True)
class Logged:
    """An event in the log: its place among its person's, when the server received it, and the event."""

    seq: int
    received_at: Millis
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """
    One look: the state, its version, the catalogue's revision, the answer if the request is a repeat, and the events
    above the state's `log_seq`, in order.

    State, version and answer are of one moment. The revision may be read elsewhere meanwhile: a takedown that was
    committed before the read began binds the page.
    """

    state: UserState
    version: Version
    revision: int
    answer: StoredAnswer | None
    logged: tuple[Logged, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureCount:
    """
    How often a creator's items were delivered to people of a place on a day.

    `day` counts whole days since 1970 UTC; 0 = all the days that are no longer told apart. `attribution` is how the
    slots were won: `floor`, `exploration` or `merit`. `is_local`: in a place that a slot of the local floor takes.
    `region` is "" where it is unknown.
    """

    creator_id: str
    day: int
    country: str
    region: str
    attribution: str
    is_local: bool
    n: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """What one page commits with the state: the answer under its request_id, deliveries, and counts of exposure."""

    answer: StoredAnswer
    deliveries: tuple[Delivery, ...]
    exposure: tuple[ExposureCount, ...] = ()


@dataclass(frozen=True, slots=True)
class Forgotten:
    """
    Training cut-offs: HMAC-SHA256 of a user id under `key`, and the instant up to which nothing may be learned.
    `erased` are those among them who were erased and did not come back: their ids are gone, and so must their profile.
    """

    key: bytes
    before: Mapping[bytes, Millis]
    erased: frozenset[bytes] = frozenset()


class UserStore(Protocol):
    """States of people; linearizable per user, nothing more."""

    def read(self, user_id: str, request_id: str | None = None) -> Read:
        """
        State (a fresh one for an unknown user), what was answered to this user's `request_id`, and the events that
        the state has not taken in, in one round trip.

        An answer is there as long as its decision is. It counts as a repeat for 24 h: the caller, who knows the time,
        compares `answer.at`; a later write under the same id replaces it.
        """
        ...

    def write_if(self, user_id: str, state: UserState, version: Version, record: DecisionRecord | None = None) -> bool:
        """
        Write the state and all of `record` in one durable transaction if the user's version is still `version`.

        Returns False, and writes nothing, when it is not. Durable before it returns. Raises StoreError.
        """
        ...

    def deliveries(self, user_id: str, since: Millis) -> tuple[Delivery, ...]:
        """Deliveries at or after `since`, in commit order, as they were delivered. They stay 8 days."""
        ...

    def committed_at(self) -> Millis:
        """The latest time that anything was written at, in any of the stores; 0 = never."""
        ...

    def commit_time(self, at: Millis) -> None:
        """Move the last committed time on to `at`, and nothing else: it never goes back. Durable before it returns."""
        ...

    def set_time(self, at: Millis, audit: Sequence[AuditEntry] = ()) -> None:
        """Make `at` the last committed time, also where it is earlier, and note who said so; change nothing else."""
        ...

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
        Delete everything of a user in every store but counts that name nobody, and note in the audit log that `who`
        erased somebody; rows deleted per kind. None, and nothing deleted, when the user's version is not the given one
        any more, or the log holds an event of theirs after the given `log_seq`.

        What `tombstone` holds (a packed `SafetyState`: expiring counters) stays 8 days under a keyed hash of the id;
        until the user is written again, `read` of the same id starts from it. None leaves nothing. Raises
        `msgspec.DecodeError` when it is not a `SafetyState`.
        """
        ...


class TrainingCutoffs(Protocol):
    """Whom the next training run must leave out; an erasure notes it by itself."""

    def forget(self, user_id: str, before: Millis) -> None:
        """Note that nothing may be learned of what the person did before an instant. Stays 8 days."""
        ...

    def forgotten(self) -> Forgotten:
        """Every cut-off that stands."""
        ...


class DecisionLog(Protocol):
    """The record of every page, written with it by `UserStore.write_if`."""

    def of_request(self, request_id: str) -> StoredAnswer | None:
        """The record of a request; the newest one when two people used the same id. May come later than its page."""
        ...

    def of_user(self, user_id: str) -> tuple[StoredAnswer, ...]:
        """Every record of a person, oldest first."""
        ...

    def newest(self, n: int) -> tuple[StoredAnswer, ...]:
        """The newest records of everybody, newest first, at most n."""
        ...

    def since(self, at: Millis) -> Iterator[StoredAnswer]:
        """The records of everybody at `at` or later, in order of their writing, read a few at a time."""
        ...


class ExposureCounts(Protocol):
    """How often creators were delivered, written with each page by `UserStore.write_if`. It names no person."""

    def counts(self, creator_id: str | None = None) -> tuple[ExposureCount, ...]:
        """What was counted of a creator, or of all, ordered by the fields. Days older than 90 are one."""
        ...

    def totals(self) -> Mapping[str, int]:
        """Deliveries of each creator, ever."""
        ...

    def local_deliveries(self, country: str, since_day: int) -> tuple[int, int]:
        """Of the deliveries to people of a country from a day on: how many were local, and how many there were."""
        ...


class ControllerStore(Protocol):
    """
    Small records by name: the exposure controller's of each market, when an artifact was first activated, and which
    file holds the table of the catalogue.
    """

    def read(self, market: str) -> bytes | None:
        """The packed state; None for a market without one."""
        ...

    def replace(self, market: str, before: bytes | None, after: bytes) -> bool:
        """Write `after` if the state is still `before`; False, and nothing written, when it is not."""
        ...


@dataclass(frozen=True, slots=True)
class AppendResult:
    """How many events were new, and how many were already there."""

    accepted: int
    duplicates: int


class EventLog(Protocol):
    """Append-only, unique by (user_id, event_id), kept at least 8 days."""

    def append(self, events: Sequence[Event], at: Millis) -> AppendResult:
        """
        Durable before it returns; of one person all or nothing, and safe to send again: an event counts once by
        (user_id, event_id). Raises StoreError; then those of some people may be there.
        """
        ...

    def since(self, user_id: str, seq: int) -> tuple[Logged, ...]:
        """A user's entries with a higher `seq`, in order. No number is given twice, also not after an erasure."""
        ...

    def waiting(self, until: Millis) -> tuple[str, ...]:
        """Everybody with an entry that was received before an instant, in order of their ids."""
        ...

    def received_since(self, at: Millis, after: int = 0) -> Iterator[Logged]:
        """
        The entries of everybody that were received at `at` or later and have a place above `after`, in order, read a
        few at a time. Their `seq` is the place among everybody's, which may be another number than the person's own;
        an entry that comes to be seen later has a higher one.
        """
        ...

    def last_seq(self, behind: int = 0) -> int:
        """
        The place in `received_since` after which about `behind` entries come; by default the last one. 0 or less =
        there are none before them.
        """
        ...


class StatedWording(msgspec.Struct, frozen=True, array_like=True):
    """
    The text that an item has or had: a hash of its words, how many there are, and the catalogue's revision since which
    it has it (below 0: before that was noted). By a wording that `is_joined` it is among the copies with that text.
    """

    text_id: str | None
    n_words: int
    since: int
    is_joined: bool = True


class HashLabel(msgspec.Struct, frozen=True, array_like=True):
    """A label that a person, a partner or the platform gave, under the key of the item's hash at that time."""

    key: int
    tier: str
    family: str | None
    source: str
    confidence: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """
    One live item. `fields` are the columns of `columns.ITEMS` and `columns.PREDICTED`; `peak_tier` is the highest tier
    (0 to 4) the item ever had itself; `is_edited` rows came over the wire and win over an artifact's. `wordings`, the
    present one first, and `hash_labels` decide beside its fields what its copies are.
    """

    item_no: int
    revision: int
    peak_tier: int
    is_edited: bool
    fields: Fields
    wordings: tuple[StatedWording, ...]
    hash_labels: tuple[HashLabel, ...] = ()


ABSENT: Final = 0
"""The revision of a row that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """
    What to write about an item: contract columns. With `expects` the write holds only if the item is still at that
    revision (`ABSENT`: still not there). `wording` is that of title and text, where it is known: to work it out takes
    0.1 to 0.2 ms.
    """

    fields: Fields
    wording: Wording | None = None
    is_edited: bool = True
    expects: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatorRow:
    """One creator: the columns of `columns.CREATORS`. `is_edited` rows came over the wire, as with items."""

    revision: int
    is_edited: bool
    fields: Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatorChange:
    """What to write about a creator. With `expects` the write holds only if the record is still at that revision."""

    fields: Fields
    is_edited: bool = True
    expects: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueDelta:
    """
    Items and creators newer than a revision. `newest_raise` is the revision of the last raise of any item's tier. Of
    many rows each may be read when it is asked for: go through them once.
    """

    revision: int
    newest_raise: int
    rows: Sequence[ItemRow]
    creators: tuple[CreatorRow, ...] = ()


class Catalogue(Protocol):
    """The live catalogue. An `item_no` is assigned once and never reused."""

    def since(self, revision: int) -> CatalogueDelta:
        """Rows with a higher revision."""
        ...

    def put(
        self, changes: Sequence[ItemChange], at: Millis, audit: Sequence[AuditEntry] = (), source: str | None = None
    ) -> int:
        """
        Insert or replace items by `item_id`; returns the new revision, durable before it returns. `audit` is appended
        in the same transaction, where anything is written.

        A change with `is_edited=False` (an artifact being loaded) leaves rows alone that were edited over the wire.
        `source` names the artifact whose items these all are, and is noted in the same transaction, see `source`.
        Raises Conflict, with nothing written, when an item is not at the revision that its change expects.
        """
        ...

    def source(self) -> str | None:
        """
        The artifact that was put last, whole: to put it again would change nothing. None when none was, or when
        something that did not come over the wire was written since without a `source`.
        """
        ...

    def get(self, item_id: str) -> ItemRow | None:
        """One item, also a hidden one."""
        ...

    def put_creators(self, changes: Sequence[CreatorChange], at: Millis, audit: Sequence[AuditEntry] = ()) -> int:
        """
        Insert or replace creators by `creator_id`; the new revision, durable before it returns. As with items, an
        artifact's record never replaces one that came over the wire. Raises Conflict as `put` does.
        """
        ...

    def renew(self, at: Millis) -> int:
        """A new revision in which no row changed: the tiers of all are to be read again. Durable before it returns."""
        ...

    def creator(self, creator_id: str) -> CreatorRow | None:
        """One creator, also a hidden one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stores:
    """
    Every store that an engine needs, over one database. `table_file` is where the table of the catalogue may lie
    between starts (`recsys.catalogue.saved`); None keeps none.
    """

    users: UserStore
    cutoffs: TrainingCutoffs
    events: EventLog
    catalogue: Catalogue
    decisions: DecisionLog
    exposure: ExposureCounts
    controllers: ControllerStore
    audit: AuditLog
    reviews: ReviewQueue
    table_file: Path | None = None
