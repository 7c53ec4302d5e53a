"""
Keys of people on the servers, and what hides their ids.

A person's key lies beside what it seals, under the same tag, so that one step of the server destroys both: from then on
nothing is sealed with it, and what copies there are of the values, in streams, logs or the sink, say nothing any more.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from recsys.errors import StoreError
from serving.stores.redis.schema import Tags
from serving.stores.redis.servers import Servers
from serving.stores.sealing import MAX_TRIES, NUMBER_BYTES, Key, number_of

_MAX_KNOWN: Final = 65_536  # keys that a process remembers
_SHORT: Final = 16  # bytes of a hidden id that is looked up under its person


class Vault:
    """The keys of one installation. Makes those of the installation where there are none."""

    def __init__(self, servers: Servers, tags: Tags) -> None:
        self._known: Final[OrderedDict[bytes, Key]] = OrderedDict()
        self._lock: Final = Lock()
        name = tags.shared + b":installation"
        servers.write(
            tags.shared,
            ("HSETNX", name, "index", secrets.token_bytes(32)),
            ("HSETNX", name, "seal", secrets.token_bytes(32)),
            ("HSETNX", name, "sign", secrets.token_bytes(32)),
        )
        [(index_key, seal_key, signing_key)] = servers.ask(tags.shared, ("HMGET", name, "index", "seal", "sign"))
        self.index_key: Final[bytes] = index_key
        self.signing_key: Final[bytes] = signing_key
        """Signs cursors and tracking tokens, in every process alike."""
        self.own_key: Final = Key(b"\0" * NUMBER_BYTES, seal_key)
        """The installation's key: what outlives an erasure is sealed with it, and counts on their way."""

    def hide(self, text: str) -> bytes:
        """The keyed hash under which an id stands on the servers."""
        return hmac.digest(self.index_key, text.encode(), hashlib.sha256)

    def hide_short(self, text: str) -> bytes:
        """The beginning of it, for ids that stand under their person."""
        return self.hide(text)[:_SHORT]

    def proposed(self, owner: bytes) -> tuple[Key, bytes]:
        """The key to seal with, and its bytes where it is a new one that the server is to take."""
        with self._lock:
            key = self._known.get(owner)
        if key is not None:
            return key, b""
        key = Key(secrets.token_bytes(NUMBER_BYTES), secrets.token_bytes(32))
        return key, key.key

    def is_settled(self, owner: bytes, key: Key, reply: list[Any]) -> bool:
        """Whether the server took what a key sealed; else the key to use next time is known, or that there is none."""
        other = reply[1:] if reply[0] == b"key" else None
        if other is None:
            self.note(owner, key.number, key.key)
        elif other:
            self.note(owner, *other)
        else:
            with self._lock:
                self._known.pop(owner, None)
        return other is None

    def seal_until(self, owner: bytes, attempt: Callable[[Key, bytes], list[Any]]) -> list[Any]:
        """What the server answered to something that was sealed with the person's key of that moment."""
        for _ in range(MAX_TRIES):  # an erasure may destroy a key at any time
            key, fresh = self.proposed(owner)
            reply = attempt(key, fresh)
            if self.is_settled(owner, key, reply):
                return reply
        raise StoreError("the key of a person was destroyed while it was used; ask again")

    def note(self, owner: bytes, number: bytes | None, key: bytes | None) -> Key | None:
        """Remember a person's key, as a server told it; None where there is none."""
        if number is None or key is None:
            return None
        found = Key(number, key)
        with self._lock:
            self._known[owner] = found
            self._known.move_to_end(owner)
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return found


def open_own(key: Key | None, sealed: bytes, place: bytes) -> bytes:
    """A value that is of one moment with its key. Raises StoreError when another key sealed it, or none is there."""
    if key is None or key.number != number_of(sealed):
        raise StoreError("a sealed value is damaged, or its key is missing; restore the last copy of the server")
    return key.open(sealed, place)


def open_former(key: Key | None, sealed: bytes, place: bytes) -> bytes | None:
    """A value from elsewhere, such as the sink; None where the key that sealed it was destroyed."""
    return None if key is None or key.number != number_of(sealed) else key.open(sealed, place)
