"""Opaque, signed tokens: what a client sends back cannot be forged or changed, and says nothing to it."""

import base64
import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from recsys.clock import Millis

_SIZE: Final = 12  # bytes of signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """What makes tokens for one answer."""

    key: bytes
    request_id: str
    user_id: str
    at: Millis

    def tracking(self, item_no: int, position: int) -> str:
        """The token of one delivered item."""
        return sign(self.key, "t", self.user_id, self.request_id, item_no, position, self.at)

    def cursor(self) -> str:
        """The token that asks for the next page."""
        return sign(self.key, "c", self.user_id, self.request_id, self.at)


def sign(key: bytes, *fields: str | int) -> str:
    """The fields as an opaque token."""
    payload = msgspec.msgpack.encode(fields)
    return _text(_signature(key, payload) + payload)


def verify(key: bytes, token: str) -> tuple[str | int, ...] | None:
    """The fields of a token that this key signed; None for any other text."""
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        if _text(raw) != token:  # the decoder would overlook letters that mean nothing
            return None
        if not hmac.compare_digest(raw[:_SIZE], _signature(key, raw[_SIZE:])):
            return None
        return tuple(msgspec.msgpack.decode(raw[_SIZE:]))
    except (ValueError, TypeError, msgspec.DecodeError):
        return None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _signature(key: bytes, payload: bytes) -> bytes:
    signature = _keyed(key).copy()
    signature.update(payload)
    return signature.digest()[:_SIZE]


@lru_cache(maxsize=4)
def _keyed(key: bytes) -> hmac.HMAC:
    """HMAC-SHA256 of a key before any text: a page signs each of its items with the same one."""
    return hmac.new(key, digestmod="sha256")
