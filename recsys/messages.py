"""The wire contract of a feed, version 1: what is asked and what is answered. Fields as in the interface's page."""

import hashlib
import hmac
from typing import Any, Final, Literal

import msgspec

from recsys.vocabulary import AgeBand, PauseKind, Surface

MAX_SIZE: Final = 50


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """A value that goes over the wire."""


class Context(Wire, frozen=True):
    """What the caller knows of the moment. Omitted fields mean what is stored."""

    country: str | None = None
    region: str | None = None
    languages: tuple[str, ...] | None = None
    age_band: AgeBand | None = None
    device: str | None = None


class PauseChoice(Wire, frozen=True):
    """The answer to a pause."""

    pause_id: str
    choice: Literal["continue", "stop"]


class FeedRequest(Wire, frozen=True):
    """A request for one page. Only `user_id` is required."""

    user_id: str
    size: int = 20
    request_id: str | None = None
    cursor: str | None = None
    surface: Surface = "for_you"
    session_id: str | None = None
    context: Context = Context()
    mode: Literal["personalised", "non_personalised"] = "personalised"
    query: str | None = None
    anchor_item_id: str | None = None
    pause_choice: PauseChoice | None = None
    exclude_ids: tuple[str, ...] = ()
    candidate_ids: tuple[str, ...] | None = None
    explain: Literal["none", "reasons", "full"] = "reasons"
    dry_run: bool = False

    def body_hash(self, key: bytes) -> str:
        """A keyed hash over the parsed fields: the same question, however it was written. It tells no search."""
        return hmac.new(key, msgspec.json.encode(self), hashlib.sha256).hexdigest()


class Locality(Wire, frozen=True):
    """How near an item is; score None = unknown."""

    score: float | None
    match: str
    source: str
    confidence: float


class Reason(Wire, frozen=True):
    """Why an item is here, as a code and in the person's language."""

    code: str
    text: str


class FeedItem(Wire, frozen=True):
    """One item of a page."""

    item_id: str
    creator_id: str
    position: int
    score: float
    sources: list[str]
    tier: str
    family: str | None
    topics: list[str]
    language: str | None
    locality: Locality
    reasons: list[Reason]
    is_exploration: bool
    propensity: float
    tracking_token: str
    score_parts: dict[str, float] | msgspec.UnsetType = msgspec.UNSET  # explain: full


class Card(Wire, frozen=True):
    """A card between items; 0 = before the first."""

    card_id: str
    after_position: int
    kind: str
    text: dict[str, str]
    entries: list[dict[str, Any]]


class Pause(Wire, frozen=True):
    """Why the page ends or waits."""

    pause_id: str
    kind: PauseKind
    until: str | None
    needs_choice: bool
    text: dict[str, str]


class Shortfall(Wire, frozen=True):
    """How many items are missing, and how many candidates were lost by reason."""

    missing: int
    because: dict[str, int]


class Safety(Wire, frozen=True):
    """What bounds this person's feed now."""

    loop_level: int
    age_band: str
    is_night: bool
    remaining: dict[str, dict[str, int]]


class FeedResponse(Wire, frozen=True):
    """One page."""

    request_id: str
    user_id: str
    served_at: str
    model_version: str
    policy_version: str
    took_ms: float
    items: list[FeedItem]
    cards: list[Card]
    pause: Pause | None
    shortfall: Shortfall
    degraded: list[str]
    experiments: dict[str, str]
    safety: Safety
    replayed: bool
    cursor: str | None
    dry_run: bool = False
