"""
What the service answers, for its description only: the bytes come from the structs in `recsys.messages`.

Every model here is the twin of a struct; a test compares them field by field.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class LocalityAnswer(BaseModel):
    """How near an item is; score null = unknown."""

    score: float | None
    match: str
    source: str
    confidence: float


class ReasonAnswer(BaseModel):
    """Why an item is here."""

    code: str
    text: str


class FeedItemAnswer(BaseModel):
    """One item of a page."""

    item_id: str
    creator_id: str
    position: int = Field(description="Within the page, from 1. The served order is binding.")
    score: float
    sources: list[str]
    tier: str
    family: str | None
    topics: list[str]
    language: str | None
    locality: LocalityAnswer
    reasons: list[ReasonAnswer]
    is_exploration: bool
    propensity: float = Field(description="The probability of this item at this position, given what came before.")
    tracking_token: str = Field(description="Sent back with events.")
    score_parts: dict[str, float] = Field({}, description="With explain full.")


class CardAnswer(BaseModel):
    """A card between items; 0 = before the first."""

    card_id: str
    after_position: int
    kind: str
    text: dict[str, str]
    entries: list[dict[str, Any]]


class PauseAnswer(BaseModel):
    """Why the page ends or waits."""

    pause_id: str
    kind: Literal["break", "budget", "night", "guardian"]
    until: str | None
    needs_choice: bool
    text: dict[str, str]


class ShortfallAnswer(BaseModel):
    """How many items are missing, and how many candidates were lost by reason."""

    missing: int
    because: dict[str, int]


class SafetyAnswer(BaseModel):
    """What bounds this person's feed now."""

    loop_level: int
    age_band: str
    is_night: bool
    remaining: dict[str, dict[str, int]]


class FeedAnswer(BaseModel):
    """One page."""

    model_config = ConfigDict(protected_namespaces=())

    request_id: str
    user_id: str
    served_at: str
    model_version: str
    policy_version: str
    took_ms: float
    items: list[FeedItemAnswer]
    cards: list[CardAnswer]
    pause: PauseAnswer | None
    shortfall: ShortfallAnswer
    degraded: list[str]
    experiments: dict[str, str]
    safety: SafetyAnswer
    replayed: bool
    cursor: str | None
    dry_run: bool = False


class RejectedAnswer(BaseModel):
    """An event that was not accepted, by its place in the batch."""

    index: int
    reason: str


class EventsAnswer(BaseModel):
    """Accepted events are on disk."""

    request_id: str
    accepted: int
    duplicates: int
    rejected: list[RejectedAnswer]


class RecordAnswer(BaseModel):
    """A person or an item as stored, with the id of this answer."""

    model_config = ConfigDict(extra="allow")

    request_id: str


class VersionAnswer(BaseModel):
    """What is running."""

    model_config = ConfigDict(protected_namespaces=())

    request_id: str
    sanad: str
    python: str
    model_version: str
    policy_version: str


class ClockAnswer(BaseModel):
    """The server's time, and how far it stood ahead of what was believed until now."""

    request_id: str
    at: str
    was_ahead_s: float


class LiveAnswer(BaseModel):
    """The process answers."""

    status: Literal["live"]


class ReadyAnswer(BaseModel):
    """Whether the service can serve, and how well."""

    status: Literal["ready", "not_ready"]
    model: str
    store: str
    policy: str
    clock: str


class FieldErrorAnswer(BaseModel):
    """One thing wrong with a request."""

    loc: list[str | int]
    msg: str
    found: str | None
    expected: str | None


class ProblemAnswer(BaseModel):
    """An error, as RFC 9457 has it. `type` is a name to compare with; `errors` comes with 422."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:sanad:problem:invalid",
                    "title": "The request breaks the contract",
                    "status": 422,
                    "detail": "size: found 0, expected greater than or equal to 1",
                    "instance": "/v1/feed",
                    "request_id": "0d9f",
                    "errors": [
                        {
                            "loc": ["body", "size"],
                            "msg": "size: found 0, expected greater than or equal to 1",
                            "found": "0",
                            "expected": "greater than or equal to 1",
                        }
                    ],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldErrorAnswer] = []
