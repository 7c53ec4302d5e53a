"""
What clients send, checked; and, for the interface's description, what they get.

Unknown fields are refused, so that a typo never silently changes a feed. Nothing is converted: a number in quotes is
not a number.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from recsys.clock import from_text
from recsys.columns import ITEMS, MAX_FOLLOWERS, MAX_ID_LENGTH, USERS, Table
from recsys.messages import MAX_SIZE, FeedRequest
from recsys.vocabulary import (
    AgeBand,
    AgeSource,
    CreatorKind,
    EventKind,
    Family,
    PlaceSource,
    RiskSource,
    Script,
    Surface,
    Tier,
    Topic,
)

MAX_EVENTS: Final = 1_000
MAX_IDS: Final = 1_000  # in one list of a feed request
MAX_QUERY: Final = 200
_YEAR_3000: Final = from_text("3000-01-01T00:00:00Z")


def _safe(text: str) -> str:
    if not text.isprintable():  # nor control characters, nor marks that change the reading direction
        raise ValueError("expected printable characters only")
    return text


def _instant(text: str) -> str:
    try:
        is_plausible = 0 <= from_text(text) < _YEAR_3000
    except (ValueError, OverflowError):
        is_plausible = False
    if not is_plausible:
        raise ValueError("expected an instant such as 2026-11-20T18:00:00Z")
    return text


def _pattern(table: Table, name: str) -> str:
    """The pattern of a column of the data contract."""
    return next(column.pattern or "" for column in table.columns if column.name == name)


Id = Annotated[
    str,
    Field(min_length=1, max_length=MAX_ID_LENGTH, description="Printable characters."),
    AfterValidator(_safe),
]
Token = Annotated[str, Field(min_length=1, max_length=2_048)]
Instant = Annotated[str, Field(max_length=40, description="RFC 3339.", examples=["2026-11-20T18:00:00Z"]),
                    AfterValidator(_instant)]  # fmt: skip
Country = Annotated[str, Field(pattern=_pattern(USERS, "country"), description="ISO 3166-1.", examples=["MA"])]
Region = Annotated[str, Field(pattern=_pattern(USERS, "region"), description="ISO 3166-2.", examples=["MA-06"])]
Language = Annotated[str, Field(max_length=35, pattern=_pattern(USERS, "languages"), description="BCP 47.")]
Languages = Annotated[list[Language], Field(max_length=20, examples=[["ary", "fr"]])]
Place = Annotated[
    str, Field(pattern=_pattern(ITEMS, "reviewed_fit"), description="ISO 3166-1 or 3166-2.", examples=["MA"])
]


class Asked(BaseModel):
    """A value from a client."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ContextBody(Asked):
    """What the caller knows of the moment. What is left out is as stored."""

    country: Country | None = None
    region: Region | None = None
    languages: Languages | None = None
    age_band: AgeBand | None = Field(default=None, description="The stricter of this and the stored one counts.")
    device: Annotated[str, Field(max_length=64)] | None = None


class PauseChoiceBody(Asked):
    """The answer to a pause."""

    pause_id: Id
    choice: Literal["continue", "stop"]


class FeedBody(Asked):
    """A request for one page. Only `user_id` is required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "u42"},
                {
                    "user_id": "u42",
                    "size": 20,
                    "request_id": "f3a1",
                    "context": {"country": "MA", "region": "MA-06", "languages": ["ary", "fr"], "device": "phone"},
                },
            ]
        }
    )

    user_id: Id
    size: int = Field(default=20, ge=1, le=MAX_SIZE)
    request_id: Id | None = Field(
        default=None, description="Chosen by the caller. The same id and body within 24 h give the same page again."
    )
    cursor: Token | None = Field(default=None, description="From the page before. 410 when it has expired.")
    surface: Surface = "for_you"
    session_id: Id | None = Field(default=None, description="Information only: sessions end by the server's clock.")
    context: ContextBody = ContextBody()
    mode: Literal["personalised", "non_personalised"] = "personalised"
    query: Annotated[str, Field(min_length=1, max_length=MAX_QUERY)] | None = Field(
        default=None, description="For surface search. Matched and not stored."
    )
    anchor_item_id: Id | None = Field(default=None, description="For surface related.")
    pause_choice: PauseChoiceBody | None = None
    exclude_ids: Annotated[list[Id], Field(max_length=MAX_IDS)] = []
    candidate_ids: Annotated[list[Id], Field(max_length=MAX_IDS)] | None = Field(
        default=None, description="The page holds these items only, ranked under all rules."
    )
    explain: Literal["none", "reasons", "full"] = "reasons"
    dry_run: bool = Field(default=False, description="Reserves nothing and is marked as such.")

    @model_validator(mode="after")
    def _belongs(self) -> "FeedBody":
        for name, surface in (("query", "search"), ("anchor_item_id", "related")):
            if (getattr(self, name) is not None) != (self.surface == surface):
                raise ValueError(f"expected {name} with surface {surface}, and with no other")
        return self

    def to_request(self) -> FeedRequest:
        """The request as the engine reads it."""
        return msgspec.convert(self.model_dump(), FeedRequest)


class ShortForm(BaseModel):
    """The query of `GET /v1/feed/{user_id}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=20, ge=1, le=MAX_SIZE)


class EventBody(Asked):
    """
    One event. Exactly one of `item_id`, `creator_id` and `query`, by kind; `undo` names an event in `value`.

    Described here and checked one by one by the engine, so that a wrong event does not hold up the others.
    """

    event_id: Id
    user_id: Id
    kind: EventKind
    at: Instant | None = Field(default=None, description="At most 7 days ago; the server's time when left out.")
    item_id: Id | None = None
    creator_id: Id | None = None
    query: Annotated[str, Field(max_length=MAX_QUERY)] | None = None
    value: Id | None = None
    watch_s: Annotated[float, Field(ge=0)] | None = None
    watch_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    tracking_token: Token | None = None
    request_id: Id | None = None
    position: Annotated[int, Field(ge=1)] | None = None


class EventsBody(Asked):
    """A batch of events. Safe to send again: an event_id counts once for a user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {"event_id": "e1", "user_id": "u42", "item_id": "v9", "kind": "view",
                         "at": "2026-11-20T18:00:00Z", "watch_s": 31.5, "watch_fraction": 0.9}
                    ]
                }
            ]
        }
    )  # fmt: skip

    events: Annotated[
        list[dict[str, Any]],
        Field(max_length=MAX_EVENTS),
        WithJsonSchema({"type": "array", "maxItems": MAX_EVENTS, "items": {"$ref": "#/components/schemas/EventBody"}}),
    ]


class UserBody(Asked):
    """A person, as far as the platform knows. What is left out or null is unknown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"country": "MA", "region": "MA-06", "languages": ["ary", "fr"], "age_band": "18+",
                 "age_source": "verified", "consent": True}
            ]
        }
    )  # fmt: skip

    country: Country | None = None
    region: Region | None = None
    languages: Languages | None = None
    age_band: AgeBand | None = None
    age_source: AgeSource | None = Field(
        default=None, description="Only a verified band counts as given, unless the market trusts declared ones."
    )
    guardian_id: Id | None = None
    consent: bool | None = Field(default=None, description="Personalised: yes or no.")


class ItemPatch(Asked):
    """The fields of an item to change; null = unknown."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_hidden": True}, {"risk_tier": "R2"}]})

    item_id: Id | None = Field(default=None, description="May be given when it is the one in the path.")
    creator_id: Id | None = None
    published_at: Instant | None = None
    title: Annotated[str, Field(max_length=1_000)] | None = None
    text: Annotated[str, Field(max_length=100_000, description="Caption, hashtags and transcript.")] | None = None
    language: Language | None = None
    dialect: Language | None = None
    script: Script | None = None
    country: Country | None = None
    region: Region | None = None
    place_source: PlaceSource | None = Field(default=None, description="Who says where it is from; null = declared.")
    reviewed_fit: Place | None = Field(
        default=None, description="The country or region that a partner found the item fits."
    )
    topics: Annotated[list[Topic], Field(max_length=12)] | None = None
    risk_tier: Tier | None = Field(default=None, description="Null = unlabelled: R2 for adults, not for minors.")
    risk_family: Family | None = None
    risk_source: RiskSource | None = Field(
        default=None, description="PATCH with `human` and a tier is a review: a label of ours gives way to it."
    )
    risk_confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    duration_s: Annotated[float, Field(ge=0)] | None = None
    sound_id: Id | None = None
    perceptual_hash: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{16}$")] | None = None
    min_age: Annotated[int, Field(ge=0, le=120)] | None = None
    is_hidden: bool | None = None

    def fields(self) -> Mapping[str, Any]:
        """What was said, without the id."""
        return self.model_dump(exclude_unset=True, exclude={"item_id"})


class ItemBody(ItemPatch):
    """A whole item. What is left out is unknown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"creator_id": "c7", "published_at": "2026-11-20T18:00:00Z", "title": "كيفاش نهدن راسي",
                 "language": "ary", "country": "MA", "region": "MA-06", "topics": ["S3"], "risk_tier": "R0",
                 "risk_source": "human"}
            ]
        }
    )  # fmt: skip

    creator_id: Id
    published_at: Instant
    title: Annotated[str, Field(max_length=1_000)]


class CreatorPatch(Asked):
    """The fields of a creator to change; null = unknown."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_hidden": True}, {"place_source": "partner"}]})

    creator_id: Id | None = Field(default=None, description="May be given when it is the one in the path.")
    country: Country | None = Field(default=None, description="ISO 3166-1; ZZ = nobody knows.")
    region: Region | None = None
    languages: Languages | None = None
    kind: CreatorKind | None = None
    verified: bool | None = Field(default=None, description="Checked by a partner.")
    followers: Annotated[int, Field(ge=0, le=MAX_FOLLOWERS)] | None = None
    joined_at: Instant | None = None
    place_source: PlaceSource | None = Field(
        default=None, description="Who says where they live; null = partner for the verified, else declared."
    )
    audience: Country | None = Field(default=None, description="Where most of the audience lives, by the platform.")
    is_hidden: bool | None = Field(default=None, description="Takes all of their items down.")

    def fields(self) -> Mapping[str, Any]:
        """What was said, without the id."""
        return self.model_dump(exclude_unset=True, exclude={"creator_id"})


class CreatorBody(CreatorPatch):
    """A whole creator. What is left out is unknown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"country": "MA", "region": "MA-09", "languages": ["zgh", "ary"], "kind": "organisation",
                 "verified": True, "place_source": "partner"}
            ]
        }
    )  # fmt: skip

    country: Country


class ListQuery(BaseModel):
    """What narrows a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=20, ge=1, le=MAX_SIZE)


class TrendingQuery(ListQuery):
    """The query of `GET /v1/trending`."""

    country: Country | None = Field(default=None, description="Whose people acted; the market's when left out.")
    region: Region | None = Field(default=None, description="Only items from there.")
    language: Language | None = None


class LocalQuery(ListQuery):
    """The query of `GET /v1/local`."""

    country: Country | None = None
    region: Region | None = None
    language: Language | None = None
    kind: CreatorKind | None = None


class TogetherQuery(BaseModel):
    """The query of `GET /v1/families/{guardian_id}/together`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    child_id: Id
    size: int = Field(default=5, ge=1, le=MAX_SIZE)
    request_id: Id | None = Field(default=None, description="The same within 24 h gives the same page.")
