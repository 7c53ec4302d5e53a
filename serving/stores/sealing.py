"""
What every store seals, and how: each value about a person under that person's own key, ids as keyed hashes.

A value is sealed for its place, which is a kind of value and its owner: moved elsewhere it does not open. Where keys
and values lie is the store's own; the bytes are the same in all.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from recsys.errors import StoreError
from recsys.stores.protocols import StoredAnswer
from recsys.types import Event
from recsys.user.packed import pack_page, unpack_page
from recsys.user.state import Delivery, SafetyState, UserState, unpack, unpack_safety

NUMBER_BYTES: Final = 8  # of a key's number, with which everything begins that the key sealed
MAX_TRIES: Final = 32  # at the same moment as erasures of the same person
_NONCE: Final = 12  # bytes

DELIVERIES: Final = b"deliveries"
SEEN: Final = b"users.seen"
PARTS: Final = (b"users.person", b"users.safety", SEEN, b"users.interactions")
TOMBSTONES: Final = b"tombstones"
EVENTS: Final = b"events"
DECISIONS: Final = b"decisions"

_EVENT: Final = msgspec.msgpack.Decoder(Event)
_RECORD: Final = msgspec.msgpack.Decoder(StoredAnswer)
_NAMES: Final = ("request_id", "user_id", "at", "body_hash", "answer", "decision")  # in the order of a packed record
_MAP: Final = 0x80  # how msgpack starts a small map: versions before wrote records by the names of their fields
_SHA256: Final = re.compile("[0-9a-f]{64}")  # half as long as bytes


@dataclass(frozen=True, slots=True)
class Key:
    """One key and its number, which stands before everything that it seals."""

    number: bytes
    key: bytes

    def seal(self, value: bytes, place: bytes) -> bytes:
        """The value sealed for one place (table and owner): elsewhere it does not open."""
        nonce = os.urandom(_NONCE)
        return self.number + nonce + AESGCM(self.key).encrypt(nonce, value, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """The inverse of `seal`. Raises StoreError when the value is damaged."""
        nonce, text = sealed[NUMBER_BYTES : NUMBER_BYTES + _NONCE], sealed[NUMBER_BYTES + _NONCE :]
        try:
            return AESGCM(self.key).decrypt(nonce, text, place)
        except (InvalidTag, ValueError) as error:
            raise StoreError("a sealed value cannot be read; restore the last copy of the state") from error


class KeyStore(Protocol):
    """
    Where the keys of people are. A key is durable before the first value that it seals.

    `index_key` hides ids; `own_key` is the installation's: what outlives an erasure is sealed with it.
    """

    @property
    def index_key(self) -> bytes:
        """The key of the hashes under which ids stand in the store."""
        ...

    @property
    def own_key(self) -> Key:
        """The installation's key."""
        ...

    def hide(self, text: str) -> bytes:
        """The keyed hash of an id."""
        ...

    def find(self, owner: bytes) -> Key | None:
        """The key of a person, by the hash of the id."""
        ...

    def ensure(self, owners: Iterable[bytes]) -> Mapping[bytes, Key]:
        """The keys of people; those who have none get one, durable before this returns."""
        ...

    def destroy(self, number: bytes) -> None:
        """Destroy a key for good; nothing where it is gone already."""
        ...

    def is_destroyed(self, number: bytes) -> bool:
        """Whether a number was a key's that was destroyed."""
        ...


def number_of(sealed: bytes) -> bytes:
    """The number of the key that sealed a value."""
    return sealed[:NUMBER_BYTES]


def open_values(keys: KeyStore, owner: bytes, *values: tuple[bytes, bytes]) -> list[bytes | None]:
    """
    Sealed values of one person, each with its kind; None for one whose key was destroyed.

    The key is looked up after the values were read: a key is there before its values. Raises StoreError for a value
    that no key of the person sealed: a damaged ledger must not be taken for an empty one.
    """
    key = keys.find(owner)
    return [_open_one(keys, key, sealed, kind + owner) for sealed, kind in values]


def _open_one(keys: KeyStore, key: Key | None, sealed: bytes, place: bytes) -> bytes | None:
    if key is not None and key.number == number_of(sealed):
        return key.open(sealed, place)
    if keys.is_destroyed(number_of(sealed)):
        return None
    raise StoreError(
        "a sealed value is damaged, or its key is missing; restore the last copies of the state and of its keys"
    )


# --- a person's state ---


def seal_parts(parts: Sequence[bytes], key: Key, owner: bytes) -> tuple[bytes, ...]:
    """The four parts of a packed state, sealed for their columns."""
    return tuple(key.seal(part, kind + owner) for part, kind in zip(parts, PARTS, strict=True))


def read_state(opened: Sequence[bytes | None]) -> UserState:
    """The state from its opened parts: a fresh one of somebody whose key was destroyed, as in a restored copy."""
    person, safety, seen, interactions = opened
    if person is None or safety is None or seen is None or interactions is None:
        return UserState()
    return unpack((person, safety, seen, interactions))


def seal_tombstone(keys: KeyStore, packed: bytes, owner: bytes) -> bytes:
    """What outlives an erasure, under the installation's key."""
    return keys.own_key.seal(packed, TOMBSTONES + owner)


def open_tombstone(keys: KeyStore, sealed: bytes, owner: bytes) -> SafetyState:
    """The inverse of `seal_tombstone`."""
    return unpack_safety(keys.own_key.open(sealed, TOMBSTONES + owner))


# --- what a person was delivered, did and was answered ---


def seal_page(deliveries: Sequence[Delivery], key: Key, owner: bytes) -> bytes:
    """The deliveries of a page, which are written and read whole."""
    return key.seal(pack_page(deliveries), DELIVERIES + owner)


def read_pages(opened: Iterable[bytes | None], since: int) -> tuple[Delivery, ...]:
    """The deliveries of opened pages at `since` or later."""
    return tuple(d for page in opened if page is not None for d in unpack_page(page) if d.at >= since)


def seal_event(event: Event, key: Key, owner: bytes) -> bytes:
    """An event, sealed for its person."""
    return key.seal(msgspec.msgpack.encode(event), EVENTS + owner)


def read_event(opened: bytes) -> Event:
    """An opened event."""
    return _EVENT.decode(opened)


def seal_answer(answer: StoredAnswer, key: Key, owner: bytes) -> bytes:
    """A record, sealed for its person."""
    fields = {name: getattr(answer, name) for name in _NAMES}
    if _SHA256.fullmatch(answer.body_hash):
        fields["body_hash"] = bytes.fromhex(answer.body_hash)
    return key.seal(msgspec.msgpack.encode(list(fields.values())), DECISIONS + owner)


def read_answer(opened: bytes) -> StoredAnswer:
    """An opened record."""
    if opened[0] & 0xF0 == _MAP:
        return _RECORD.decode(opened)
    fields = dict(zip(_NAMES, msgspec.msgpack.decode(opened), strict=True))
    if isinstance(fields["body_hash"], bytes):
        fields["body_hash"] = fields["body_hash"].hex()
    return msgspec.convert(fields, StoredAnswer)
