"""
A browser signed in with a service key: a cookie that no script can read, for some hours, and a token for each write.

The cookie names the key and its end, signed. So a key that is revoked ends what it signed in, and nothing is stored.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

import msgspec

from recsys.clock import HOUR, SECOND, Millis, now
from serving.auth.keys import Keyring, ServiceKey

COOKIE: Final = "sanad_session"
LIFE_MS: Final = 8 * HOUR
CSRF_HEADER: Final = b"x-csrf-token"


class _Ticket(msgspec.Struct, frozen=True, array_like=True):
    key_id: str
    until: Millis
    nonce: str  # two sessions of one key have two tokens


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in, until when, and what a write has to bring along."""

    key: ServiceKey
    until: Millis
    csrf: str

    def may_write(self, given: str) -> bool:
        """Whether the token of a write is that of this session."""
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.csrf.encode())


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes cookies and reads them. `secret` is asked for when the first one is made."""

    keys: Keyring
    secret: Callable[[], bytes]
    clock: Callable[[], Millis] = now

    def begin(self, key: ServiceKey) -> str:
        """The value of a new cookie."""
        ticket = _Ticket(key.id, self.clock() + LIFE_MS, secrets.token_hex(8))
        body = base64.urlsafe_b64encode(msgspec.json.encode(ticket)).decode()
        return f"{body}.{self._sign('session', body)}"

    def read(self, headers: Mapping[bytes, bytes]) -> Session | None:
        """The session of a request; None without one, after its end, and for a key that is not in force."""
        value = _cookie(headers.get(b"cookie", b""))
        body, _, signature = value.partition(".")
        if not signature or not hmac.compare_digest(signature.encode(), self._sign("session", body).encode()):
            return None
        ticket = msgspec.json.decode(base64.urlsafe_b64decode(body), type=_Ticket)
        key = self.keys.by_id(ticket.key_id)
        if key is None or self.clock() >= ticket.until:
            return None
        return Session(key, ticket.until, self._sign("csrf", body))

    def _sign(self, use: str, body: str) -> str:
        return hmac.new(self.secret(), f"{use} {body}".encode(), hashlib.sha256).hexdigest()


def set_cookie(value: str, *, is_secure: bool) -> str:
    """The header that sets the cookie, or ends it where `value` is empty."""
    life_s = LIFE_MS // SECOND if value else 0
    secure = "; Secure" if is_secure else ""
    return f"{COOKIE}={value}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict{secure}"


def is_tls(scheme: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser came over TLS, to this service or to the proxy in front of it."""
    return scheme == "https" or headers.get(b"x-forwarded-proto", b"").strip().lower() == b"https"


def is_of_another_site(headers: Mapping[bytes, bytes]) -> bool:
    """
    Whether a browser says that a page of another origin makes this request. Programs say nothing.

    A picture of another page names no `Origin`, so `Sec-Fetch-Site` is asked too.
    """
    if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
        return True
    origin = headers.get(b"origin")
    return origin is not None and origin.partition(b"://")[2].lower() != headers.get(b"host", b"").lower()


def _cookie(header: bytes) -> str:
    try:
        morsel = SimpleCookie(header.decode("ascii")).get(COOKIE)
    except (CookieError, UnicodeDecodeError):
        return ""
    return "" if morsel is None or not morsel.value.isascii() else morsel.value
