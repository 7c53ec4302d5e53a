"""Who calls, and whether they may: by a service key, by a cookie that one signed in, or from this machine."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from recsys.stores.audit import LOCAL
from serving.admission import is_page
from serving.auth.keys import Keyring, ServiceKey
from serving.auth.scopes import ANY, SCOPES, scope_of
from serving.auth.sessions import CSRF_HEADER, Sessions, is_of_another_site
from serving.metrics import Metrics
from serving.problems import Problem
from serving.settings import is_loopback

SIGN_IN_PATHS: Final = ("/sign-in", "/sign-out")
_READS: Final = ("GET", "HEAD", "OPTIONS")
_PROXY_HEADERS: Final = (b"forwarded", b"x-forwarded-for", b"x-real-ip")

RequestHeaders = Mapping[bytes, bytes]
"""By name in small letters."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The keys in force, and the sessions that they signed in."""

    keys: Keyring
    sessions: Sessions
    metrics: Metrics

    def identify(self, scope: Scope, headers: RequestHeaders) -> ServiceKey | None:
        """The key of the caller, who is named for the audit log; None where nobody needs one. Raises Problem."""
        if self.keys.is_open:
            if _leaves_something(scope) and is_of_another_site(headers):
                raise Problem(403, "Found a page of another site that asks for a change; programs alone may ask here.")
            check_local(scope.get("client"), headers)
            scope["state"]["who"] = LOCAL
            return None
        if scope["path"] in SIGN_IN_PATHS:
            return None
        given = headers.get(b"x-api-key")
        key = self.keys.find(given) if given is not None else self._signed_in(scope, headers)
        if key is None:
            self.metrics.refused("key")
            detail = "Found no known service key in X-API-Key; send one that the operator gave you."
            raise Problem(401, detail, {"WWW-Authenticate": "X-API-Key"})
        scope["state"]["who"] = key.name
        return key

    def _signed_in(self, scope: Scope, headers: RequestHeaders) -> ServiceKey | None:
        """The key of a signed-in browser, which has to show its token with every write. Raises Problem."""
        session = self.sessions.read(headers) if b"cookie" in headers else None
        if session is None:
            return None
        is_foreign = _leaves_something(scope) and is_of_another_site(headers)
        has_token = scope["method"] in _READS or session.may_write(headers.get(CSRF_HEADER, b"").decode("latin-1"))
        if is_foreign or not has_token:
            self.metrics.refused("csrf")
            raise Problem(403, "Found a write without the token of the session, expected it in X-CSRF-Token; sign in.")
        return session.key

    def allow(self, key: ServiceKey, method: str, path: str) -> None:
        """
        What an address needs, the key must be for; one that no rule knows is for keys of all scopes only. Then count
        the call. Raises Problem.
        """
        needed = scope_of(method, path)
        if needed != ANY and needed not in key.scopes and not (needed is None and len(key.scopes) == len(SCOPES)):
            self.metrics.refused("scope")
            if needed is None:
                raise Problem(404, "Found no such address for this key; the addresses are listed in /openapi.json.")
            scopes = ", ".join(key.scopes)
            raise Problem(403, f"Found a key for {scopes}, expected one for {needed}; ask the operator for such a key.")
        wait_s = self.keys.wait_s(key)
        if wait_s > 0:
            self.metrics.refused("rate")
            detail = f"This key may make {key.per_second:g} requests a second; ask again in {math.ceil(wait_s)} s."
            raise Problem(429, detail, {"Retry-After": str(math.ceil(wait_s))})


def _leaves_something(scope: Scope) -> bool:
    """Whether a request changes what is kept: a page counts, also that of a family, and where GET asks for it."""
    return scope["method"] not in _READS or is_page(scope["path"]) or scope["path"].startswith("/v1/families/")


def check_local(client: tuple[str, int] | None, headers: RequestHeaders) -> None:
    """
    Without service keys, only programs on this machine may call, by a local name.

    A web page that reaches this machine by another host name is not local, nor is a caller behind a proxy.
    Raises Problem.
    """
    name = headers.get(b"host", b"").decode("latin-1").rpartition("@")[2]
    name = name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0]
    if not (is_direct(client, headers) and is_loopback(name)):
        detail = "No service keys are set, so only programs on this machine may call; for others, see 'sanad key new'."
        raise Problem(403, detail)


def is_direct(client: tuple[str, int] | None, headers: RequestHeaders) -> bool:
    """Whether a caller is on this machine, and no proxy is in between."""
    return client is not None and is_loopback(client[0]) and not any(name in headers for name in _PROXY_HEADERS)
