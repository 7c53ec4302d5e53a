"""The scopes of service keys, and the one that each address needs. A test walks over all routes."""

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

Scope = Literal["feed", "events", "catalogue", "admin", "export", "audit"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
MEANINGS: Final[Mapping[Scope, str]] = {
    "feed": "pages and lists, why an item is on a page, and what a user set",
    "events": "what users do and set: events, profiles, controls, guardian limits and resets",
    "catalogue": "items, creators, and asking for a review",
    "admin": "the operator's decisions: models, experiments, reviews, the clock, previews, and erasing a user",
    "export": "everything that is stored about a user",
    "audit": "the audit log, decision records, replays, metrics, the policy and the models in force",
}
ANY: Final = "any"
"""For an address that every key may ask."""

_READ: Final = ("GET", "HEAD")
_WRITE: Final = ("POST", "PUT", "PATCH")
_ALL: Final = (*_READ, *_WRITE, "DELETE")
_RULES: Final = tuple(
    (frozenset(methods), re.compile(pattern), scope)
    for methods, pattern, scope in (
        (_ALL, "/v1/feed(/[^/]+)?|/v1/rank|/v1/why|/v1/(local|trending|latest|search)|/v1/similar/[^/]+", "feed"),
        (_ALL, "/v1/families/[^/]+/together", "feed"),
        (_ALL, "/rank|/api/(recommend/.+|(popular|latest|non-personalized)(/.+)?|item/[^/]+/neighbors(/.+)?)", "feed"),
        (_ALL, "/api/items?(/[^/]+)?", "catalogue"),
        (_READ, "/api/user/[^/]+/feedback(/[^/]+)?", "export"),
        (_READ, "/api/user/[^/]+", "feed"),
        (_WRITE, "/api/feedback|/api/users?(/[^/]+)?", "events"),
        (("DELETE",), "/api/user/[^/]+", "admin"),
        (_ALL, "/v1/events|/v1/bulk/(events|users)", "events"),
        (_READ, "/v1/users/[^/]+(/(controls|guardian|exposure|effects))?", "feed"),
        (_WRITE, "/v1/users/[^/]+(/(controls|guardian|reset))?", "events"),
        (_READ, "/v1/users/[^/]+/export", "export"),
        (("DELETE",), "/v1/users/[^/]+", "admin"),
        (_ALL, "/v1/(items|creators)(/[^/]+(/(review|exposure))?)?|/v1/bulk/(items|creators)", "catalogue"),
        (_READ, "/metrics|/v1/audit|/v1/requests/[^/]+|/v1/(policies|models|experiments(/[^/]+/assignment)?)", "audit"),
        (_WRITE, "/v1/requests/[^/]+/replay", "audit"),
        (_WRITE, "/v1/policies/preview|/v1/models/(rollback|[^/]+/activate)", "admin"),
        (_WRITE, "/v1/experiments/(reload|[^/]+/kill)", "admin"),
        (_ALL, "/v1/operator/.+", "admin"),
        (_READ, "/|/openapi.json|/v1/version", ANY),
    )
)  # fmt: skip
"""Methods, path and scope; the first rule that fits counts."""


def scope_of(method: str, path: str) -> Scope | Literal["any"] | None:
    """The scope that a call needs; None for an address that no rule knows, which no narrow key may ask."""
    for methods, pattern, scope in _RULES:
        if method in methods and pattern.fullmatch(path):
            return scope  # type: ignore[return-value]
    return None
