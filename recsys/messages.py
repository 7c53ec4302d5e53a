"""
The wire contract, version 1: requests, pages and the answer to events, as structs.

They are the only place where a field of these is spelled. Answers are encoded from them, and the description of the
interface (OpenAPI) is made from them.
"""

import hashlib
import hmac
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from recsys.columns import (
    COUNTRY,
    ID_PATTERN,
    LANGUAGE,
    MAX_ID_LENGTH,
    MAX_LANGUAGE_LENGTH,
    MAX_LANGUAGES,
    MAX_QUERY_LENGTH,
    PLACE,
    REGION,
)
from recsys.types import Fields
from recsys.vocabulary import TOPICS, AgeBand, PauseKind, Surface, Topic

MAX_SIZE: Final = 50  # items of a page
MAX_IDS: Final = 1_000  # in one list of a request
MAX_TOKEN_LENGTH: Final = 2_048  # characters
MAX_FEATURES: Final = 16  # of the caller's, for one request
FEATURE: Final = r"^[a-z][a-z0-9_]*$"

Id = Annotated[
    str,
    Meta(
        min_length=1, max_length=MAX_ID_LENGTH, description="Printable characters.", extra={"is_id": True},
        extra_json_schema={"pattern": ID_PATTERN},
    ),
]  # fmt: skip
Country = Annotated[str, Meta(pattern=COUNTRY, description="ISO 3166-1.", examples=["MA"])]
Region = Annotated[str, Meta(pattern=REGION, description="ISO 3166-2.", examples=["MA-06"])]
Place = Annotated[str, Meta(pattern=PLACE, description="ISO 3166-1 or 3166-2.", examples=["MA"])]
Language = Annotated[str, Meta(max_length=MAX_LANGUAGE_LENGTH, pattern=LANGUAGE, description="BCP 47.")]
Languages = Annotated[tuple[Language, ...], Meta(max_length=MAX_LANGUAGES, examples=[["ary", "fr"]])]
Ids = Annotated[tuple[Id, ...], Meta(max_length=MAX_IDS)]
Size = Annotated[int, Meta(ge=1, le=MAX_SIZE)]
FeatureName = Annotated[str, Meta(pattern=FEATURE, max_length=32, examples=["watch_share"])]
FeatureValue = Annotated[float, Meta(ge=-1e9, le=1e9)]
FeatureWeight = Annotated[float, Meta(ge=-10, le=10)]
ScoreParts = Annotated[
    dict[str, float],
    Meta(description="With explain full only. The score is the sum of each part times its weight in score_weights."),
]
ScoreWeights = Annotated[dict[str, float], Meta(description="With explain full only: the weight of each part.")]


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """A value that goes over the wire."""


class Context(Wire, frozen=True):
    """What the caller knows of the moment. What is left out is as stored."""

    country: Country | None = None
    region: Region | None = None
    languages: Languages | None = None
    age_band: Annotated[AgeBand | None, Meta(description="The stricter of this and the stored one counts.")] = None
    device: Annotated[str, Meta(max_length=64)] | None = None


class PauseChoice(Wire, frozen=True):
    """The answer to a pause."""

    pause_id: Id
    choice: Literal["continue", "stop"]


class FeedRequest(Wire, frozen=True):
    """
    A request for one page. Only `user_id` is required.

    The bounds hold for requests over the wire; a request that is made in Python is taken as it is.
    """

    user_id: Id
    size: Size = 20
    request_id: Annotated[
        Id | None,
        Meta(description="Chosen by the caller. The same id and body within 24 h give the same page again."),
    ] = None
    cursor: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN_LENGTH)] | None,
        Meta(description="From the page before. 410 when it has expired."),
    ] = None
    surface: Surface = "for_you"
    session_id: Annotated[Id | None, Meta(description="Information only: sessions end by the server's clock.")] = None
    context: Context = Context()
    mode: Literal["personalised", "non_personalised"] = "personalised"
    query: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_QUERY_LENGTH)] | None,
        Meta(description="For surface search. Matched and not stored."),
    ] = None
    anchor_item_id: Annotated[Id | None, Meta(description="For surface related.")] = None
    pause_choice: PauseChoice | None = None
    exclude_ids: Ids = ()
    topics: Annotated[
        Annotated[tuple[Topic, ...], Meta(max_length=len(TOPICS))] | None,
        Meta(description="Only items on one of these.", examples=[["S3"]]),
    ] = None
    languages_only: Annotated[
        Languages | None, Meta(description="Only items in one of these; one of unknown language is left out.")
    ] = None
    candidate_ids: Annotated[
        Ids | None, Meta(description="The page holds these items only, ranked under all rules.")
    ] = None
    include: Annotated[
        tuple[Literal["title", "creator", "caption"], ...],
        Meta(max_length=3, description="What to tell of each item beside its id.", examples=[["title"]]),
    ] = ()
    explain: Annotated[
        Literal["none", "reasons", "full"],
        Meta(description="full adds the parts of each score and the page's weights: the score is their weighted sum."),
    ] = "reasons"
    dry_run: Annotated[bool, Meta(description="Reserves nothing and is marked as such.")] = False

    def told(self) -> Fields:
        """The fields as they are recorded: without filters that came later and are not used."""
        unused = [name for name in ("topics", "languages_only") if getattr(self, name) is None]
        return {name: value for name, value in msgspec.to_builtins(self).items() if name not in unused}

    def body_hash(self, key: bytes) -> str:
        """
        A keyed hash over the parsed fields: the same question, however it was written. It tells no search.

        A field that came later counts only where it is used, so that a version before it hashed the same.
        """
        fields = dict(self.told())
        if not self.include:
            del fields["include"]
        return hmac.new(key, msgspec.json.encode(fields), hashlib.sha256).hexdigest()


class RankCandidate(Wire, frozen=True, omit_defaults=True):
    """An item to rank, and what the caller knows of it for this request."""

    item_id: Id
    creator_id: Annotated[
        Id | None, Meta(description="Of an item that the catalogue does not hold; else the catalogue's counts.")
    ] = None
    features: Annotated[
        dict[FeatureName, FeatureValue],
        Meta(
            max_length=MAX_FEATURES, description="Numbers that feature_weights names.", examples=[{"watch_share": 0.4}]
        ),
    ] = {}


class RankRequest(FeedRequest, frozen=True):
    """
    A request for one page of the caller's candidates, best first. `user_id` and `candidates` are required.

    It is a request for a feed whose `candidate_ids` are those of the candidates.
    """

    candidates: Annotated[
        tuple[RankCandidate, ...],
        Meta(min_length=1, max_length=MAX_IDS, description="In the caller's order. Of one id the first counts."),
    ] = ()
    feature_weights: Annotated[
        dict[FeatureName, FeatureWeight],
        Meta(
            max_length=MAX_FEATURES,
            description="What one standard deviation of a feature, over the candidates, adds to the score of an item.",
            examples=[{"watch_share": 0.5}],
        ),
    ] = {}

    def told(self) -> Fields:
        """The fields as they are recorded; the candidates say what `candidate_ids` are."""
        return {name: value for name, value in FeedRequest.told(self).items() if name != "candidate_ids"}


class Locality(Wire, frozen=True):
    """How near an item is. A null score is unknown."""

    score: float | None
    match: str
    source: str
    confidence: float


class Reason(Wire, frozen=True):
    """Why an item is here, as a code and in the person's language."""

    code: str
    text: str


class ItemCreator(Wire, frozen=True):
    """Who made an item, as far as the catalogue knows."""

    creator_id: str
    country: str | None
    region: str | None
    languages: list[str]
    kind: str | None
    verified: bool


class FeedItem(Wire, frozen=True):
    """One item of a page."""

    item_id: str
    creator_id: str
    position: Annotated[int, Meta(description="Within the page, from 1. The served order is binding.")]
    score: float
    sources: list[str]
    tier: str
    family: str | None
    topics: list[str]
    language: str | None
    locality: Locality
    reasons: list[Reason]
    is_exploration: bool
    propensity: Annotated[
        float, Meta(description="The probability of this item at this position, given the page so far.")
    ]
    tracking_token: Annotated[str, Meta(description="To be sent back with events.")]
    score_parts: ScoreParts | msgspec.UnsetType = msgspec.UNSET
    title: Annotated[str | None, Meta(description="When included.")] | msgspec.UnsetType = msgspec.UNSET
    caption: Annotated[str | None, Meta(description="When included.")] | msgspec.UnsetType = msgspec.UNSET
    creator: Annotated[ItemCreator | None, Meta(description="When included.")] | msgspec.UnsetType = msgspec.UNSET


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
    because: Annotated[
        dict[str, int],
        Meta(
            description="Candidates lost by reason, when items are missing. unknown comes always: how many ids of the "
            "request nothing is known of, candidates and the user."
        ),
    ]


class Safety(Wire, frozen=True):
    """What bounds this person's feed now."""

    loop_level: int
    age_band: str
    is_night: bool
    remaining: dict[str, dict[str, int]]


class RejectedEvent(Wire, frozen=True):
    """An event that was not accepted, by its place in the batch."""

    index: int
    reason: str


class EventsResponse(Wire, frozen=True):
    """The answer to a batch of events. The accepted ones are on disk."""

    request_id: str
    accepted: int
    duplicates: int
    rejected: tuple[RejectedEvent, ...]


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
    score_weights: ScoreWeights | msgspec.UnsetType = msgspec.UNSET
