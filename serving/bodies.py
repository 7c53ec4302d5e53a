"""
The bodies and queries that clients send, checked.

Unknown fields are refused, so that a typo never silently changes a feed. Requests are not converted. Values of the data
contract are read as in data files: see `recsys.services.fields.plain_value`.
"""

from typing import Annotated, Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from recsys.clock import Millis
from recsys.columns import CREATORS, EVENTS, ITEMS, MAX_ID_LENGTH, USERS, Table
from recsys.errors import DataError
from recsys.instants import read_instant
from recsys.messages import MAX_TOKEN_LENGTH, FeedRequest, RankRequest
from recsys.services.events import MAX_EVENTS, TABLE_ONLY
from recsys.types import Fields
from recsys.user.state import Profile
from recsys.vocabulary import CreatorKind, Family, Tier
from serving.body_fields import (
    BodyFields,
    ClientBody,
    Country,
    Id,
    Instant,
    Language,
    Region,
    Size,
    row_field,
    row_fields,
    struct_fields,
    with_fields,
)

MAX_TITLE_LENGTH: Final = 1_000  # characters; a table of another platform may hold longer titles


@with_fields(struct_fields(FeedRequest))
class FeedBody(ClientBody):
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

    @model_validator(mode="after")
    def _fits_surface(self) -> "FeedBody":
        fields = self.model_dump(include={"query", "anchor_item_id", "surface"})
        for name, surface in (("query", "search"), ("anchor_item_id", "related")):
            if (fields[name] is not None) != (fields["surface"] == surface):
                raise ValueError(f"expected {name} with surface {surface}, and with no other")
        return self

    def to_request(self) -> FeedRequest:
        """The request as the engine reads it."""
        return msgspec.convert(self.model_dump(), FeedRequest)


_NOT_TO_RANK: Final = ("cursor", "query", "anchor_item_id", "candidate_ids", "surface", "candidates", "explain")
_RANK_FIELDS: Final = struct_fields(RankRequest)


@with_fields(
    {"user_id": _RANK_FIELDS["user_id"], "candidates": (_RANK_FIELDS["candidates"][0], Field())}
    | {name: field for name, field in _RANK_FIELDS.items() if name not in _NOT_TO_RANK}
    | {"explain": (_RANK_FIELDS["explain"][0], Field(default="full"))}
)
class RankBody(ClientBody):
    """Candidates to rank for a user. Only `user_id` and `candidates` are required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "u42",
                    "size": 2,
                    "candidates": [
                        {"item_id": "v9", "features": {"watch_share": 0.4}},
                        {"item_id": "v3", "features": {"watch_share": 0.7}},
                        {"item_id": "new-1", "creator_id": "c7"},
                    ],
                    "feature_weights": {"watch_share": 0.5},
                }
            ]
        }
    )

    def to_request(self) -> RankRequest:
        """The request as the engine reads it."""
        fields = self.model_dump()
        ids = [candidate["item_id"] for candidate in fields["candidates"]]
        return msgspec.convert({**fields, "candidate_ids": ids}, RankRequest)


_INCLUDED: Final = r"^((title|creator|caption)(,(title|creator|caption)){0,2})?$"


class ShortForm(BaseModel):
    """The query of `GET /v1/feed/{user_id}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Size = 20
    include: Annotated[
        str,
        Field(
            pattern=_INCLUDED,
            description="What to tell of each item beside its id, divided by commas.",
            examples=["title,creator,caption"],
        ),
    ] = ""

    def to_request(self, user_id: str) -> FeedRequest:
        """The request as the engine reads it."""
        names = self.include.split(",") if self.include else ()
        return msgspec.convert({"user_id": user_id, "size": self.size, "include": names}, FeedRequest)


@with_fields(
    row_fields(EVENTS, leave_out=TABLE_ONLY, required=("event_id", "user_id", "kind"))
    | {
        "at": row_field(EVENTS["at"]),
        "tracking_token": (
            Annotated[str, Field(max_length=MAX_TOKEN_LENGTH)] | None,
            Field(default=None, description="The one that came with the item. It joins the event to its page."),
        ),
    }
)
class EventBody(ClientBody):
    """
    One event. Exactly one of `item_id`, `creator_id` and `query`, by kind; `undo` names an event in `value`.

    Described here and checked one by one by the engine, so that a wrong event does not hold up the others.
    """


class EventsBody(ClientBody):
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


_NOT_IN_A_PROFILE: Final = [c.name for c in USERS.columns if c.name not in Profile.__struct_fields__]


@with_fields(row_fields(USERS, leave_out=_NOT_IN_A_PROFILE))
class UserBody(ClientBody):
    """A user, as far as the platform knows. What is left out or null is unknown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"country": "MA", "region": "MA-06", "languages": ["ary", "fr"], "age_band": "18+",
                 "age_source": "verified", "consent": True}
            ]
        }
    )  # fmt: skip


class RowBody(ClientBody):
    """Columns of one row of the catalogue, whose key stands in the path."""

    def stated(self, key: str, path_id: str) -> Fields:
        """What the client stated, without the key. Raises DataError for a key that is not the one in the path."""
        fields = self.model_dump(exclude_unset=True)
        given = fields.pop(key, None)
        if given not in (None, path_id):
            raise DataError(f"{key}: found {given!a}, expected the id in the path or none; leave it out")
        return fields


def _catalogue_fields(table: Table, *, is_whole: bool) -> BodyFields:
    """The columns of a table as a body that changes a row, or that `is_whole` and holds what is required."""
    required = [name for name in table.required if name != table.key] if is_whole else []
    key = (Id | None, Field(default=None, description="May be given when it is the one in the path."))
    return row_fields(table, required=required) | {table.key: key}


def _item_fields(*, is_whole: bool) -> BodyFields:
    title = Annotated[str, Field(max_length=MAX_TITLE_LENGTH)]
    fields = _catalogue_fields(ITEMS, is_whole=is_whole)
    return fields | {"title": (title if is_whole else title | None, fields["title"][1])}


@with_fields(_item_fields(is_whole=False))
class ItemPatch(RowBody):
    """The fields of an item to change; null = unknown."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_hidden": True}, {"risk_tier": "R2"}]})


@with_fields(_item_fields(is_whole=True))
class ItemBody(RowBody):
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


@with_fields(_catalogue_fields(CREATORS, is_whole=False))
class CreatorPatch(RowBody):
    """The fields of a creator to change; null = unknown."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_hidden": True}, {"place_source": "partner"}]})


@with_fields(_catalogue_fields(CREATORS, is_whole=True))
class CreatorBody(RowBody):
    """A whole creator. What is left out is unknown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"country": "MA", "region": "MA-09", "languages": ["zgh", "ary"], "kind": "organisation",
                 "verified": True, "place_source": "partner"}
            ]
        }
    )  # fmt: skip


class ListQuery(BaseModel):
    """What narrows a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Size = 20


class AuditQuery(BaseModel):
    """The query of `GET /v1/audit`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: Instant | None = Field(default=None, description="Entries from this instant on.")
    after: int = Field(default=0, ge=0, le=2**62, description="Entries after this `seq`: `next` of the page before.")
    size: int = Field(default=100, ge=1, le=1_000)

    @property
    def since_ms(self) -> Millis:
        """`since` as milliseconds, 0 when it is left out."""
        return (read_instant(self.since) or 0) if self.since else 0


class ReviewsQuery(BaseModel):
    """The query of `GET /v1/operator/reviews`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: int = Field(default=0, ge=0, le=2**62, description="Reviews after this `seq`: `next` of the page before.")
    size: int = Field(default=100, ge=1, le=1_000)


class ReviewAnswer(BaseModel):
    """The answer to a review. An empty object upholds the label as it stands; a tier is a person's label."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [{}, {"risk_tier": "R0"}]})

    risk_tier: Tier | None = None
    risk_family: Family | None = None
    is_hidden: bool | None = Field(default=None, description="False puts an item back that was taken down.")


class LatestQuery(ListQuery):
    """The query of `GET /v1/latest`."""

    region: Region | None = Field(default=None, description="Only items from there.")
    language: Language | None = None


class ItemsQuery(ListQuery):
    """The query of `GET /v1/items`."""

    after: int = Field(default=0, ge=0, le=2**53, description="`next` of the page before; 0 for the first one.")


class CreatorsQuery(ListQuery):
    """The query of `GET /v1/creators`."""

    after: Annotated[str, Field(max_length=MAX_ID_LENGTH, description="`next` of the page before.")] = ""


class BulkQuery(BaseModel):
    """The query of `POST /v1/bulk/{table}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    history: bool = Field(default=False, description="Events older than 7 days: learned from and seen.")


class TrendingQuery(ListQuery):
    """The query of `GET /v1/trending`."""

    country: Country | None = Field(default=None, description="Whose users acted; the market's when left out.")
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
    size: Size = 5
    request_id: Id | None = Field(default=None, description="The same within 24 h gives the same page.")
