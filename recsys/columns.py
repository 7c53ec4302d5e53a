"""
The data contract: the only place where a column, its dtype and its unit are spelled. The words that a closed column may
hold are in `recsys.vocabulary`.

A dataset is a folder with the four tables below, each as Parquet, CSV or JSON Lines, whole or in parts.
Required columns must be there; the others may be missing, and null means unknown. External ids are strings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from recsys import languages
from recsys.clock import Millis, from_text
from recsys.vocabulary import (
    AGE_BANDS,
    AGE_SOURCES,
    CREATOR_EVENTS,
    CREATOR_KINDS,
    EVENT_KINDS,
    FAMILIES,
    ITEM_EVENTS,
    PLACE_SOURCES,
    QUERY_EVENTS,
    RISK_SOURCES,
    SCRIPTS,
    SURFACES,
    TIERS,
    TOPICS,
)

Dtype = Literal["str", "int", "float", "bool", "time", "list"]
"""`time` is an instant in UTC; `list` is a list of strings (in CSV: joined by `|`)."""

EARLIEST: Final[Millis] = from_text("1990-01-01T00:00:00Z")
LATEST: Final[Millis] = from_text("2100-01-01T00:00:00Z")
"""Instants outside are mistakes of a unit or a sign. Videos may be scheduled, within reason."""

MAX_ID_LENGTH: Final = 128  # characters
ID_PATTERN: Final = r"^ *[^\p{C}\p{Z}](?:[^\p{C}\p{Z}]| )*$"
"""Printable characters, not all of them spaces, as descriptions say it: ECMA-262 with the flag u."""

MAX_TEXT_LENGTH: Final = 100_000  # characters; longer text is refused, not cut

MAX_QUERY_LENGTH: Final = 200  # characters
MAX_WATCH_S: Final = 86_400
"""A day, in seconds: nobody watches a short video for longer, and a clock that failed says more."""
MAX_POSITION: Final = 10_000
"""Far down a feed without pages, as other platforms log them; a larger number is a mistake."""
MAX_FOLLOWERS: Final = 10_000_000_000
"""More than there are people; a larger number is a mistake, and may fit no table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """
    One column of a table; `minimum` and `maximum` are inclusive, `one_of` closes the vocabulary.

    `max_length` bounds each text in characters, `max_items` the texts of a list. `unit` names the unit or the standard
    of a value; `about` is the sentence about the column in the description of the interface; `if_missing` says what
    null costs (docs/data.md).
    """

    name: str
    dtype: Dtype
    required: bool = False
    one_of: tuple[str, ...] | None = None
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: int = MAX_TEXT_LENGTH
    max_items: int | None = None
    unit: str = ""
    about: str = ""
    if_missing: str = ""

    @property
    def is_id(self) -> bool:
        """Whether the texts are external ids: 1 to `MAX_ID_LENGTH` printable characters, not all of them spaces."""
        return self.dtype == "str" and self.max_length == MAX_ID_LENGTH


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its name, its key column and its columns in order."""

    name: str
    key: str
    columns: tuple[Column, ...]

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the columns that must be there."""
        return tuple(c.name for c in self.columns if c.required)

    def __getitem__(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


COUNTRY: Final = r"^[A-Z]{2}$"
REGION: Final = r"^[A-Z]{2}-[A-Z0-9]{1,3}$"
PLACE: Final = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"
LANGUAGE: Final = languages.PATTERN
MAX_LANGUAGE_LENGTH: Final = 35  # characters
MAX_LANGUAGES: Final = 20  # of one person or creator


def _id(name: str, *, required: bool = False, about: str = "", if_missing: str = "") -> Column:
    return Column(
        name=name, dtype="str", required=required, max_length=MAX_ID_LENGTH, about=about, if_missing=if_missing
    )


def _country(name: str, *, required: bool = False, about: str = "", if_missing: str = "") -> Column:
    return Column(
        name=name, dtype="str", required=required, pattern=COUNTRY, unit="ISO 3166-1", about=about,
        if_missing=if_missing,
    )  # fmt: skip


def _region(name: str, if_missing: str) -> Column:
    return Column(name=name, dtype="str", pattern=REGION, unit="ISO 3166-2", if_missing=if_missing)


def _language(name: str, if_missing: str) -> Column:
    return Column(
        name=name, dtype="str", pattern=LANGUAGE, max_length=MAX_LANGUAGE_LENGTH, unit="BCP 47", if_missing=if_missing
    )


def _languages(name: str, if_missing: str) -> Column:
    return Column(
        name=name, dtype="list", pattern=LANGUAGE, max_length=MAX_LANGUAGE_LENGTH, max_items=MAX_LANGUAGES,
        unit="BCP 47", if_missing=if_missing,
    )  # fmt: skip


CREATORS: Final = Table(
    "creators",
    "creator_id",
    (
        _id("creator_id", required=True),
        _country("country", required=True, about="ISO 3166-1; ZZ = nobody knows."),
        _region("region", "Their items are near by country at most."),
        _languages("languages", "An item without a language has none."),
        Column(name="kind", dtype="str", one_of=CREATOR_KINDS, if_missing="`GET /v1/local?kind=` leaves them out."),
        Column(
            name="verified",
            dtype="bool",
            about="Checked by a partner.",
            if_missing="Not checked: the place counts as declared.",
        ),
        Column(
            name="followers",
            dtype="int",
            minimum=0,
            maximum=MAX_FOLLOWERS,
            unit="people",
            if_missing="Reports name no size for them.",
        ),
        Column(name="joined_at", dtype="time", if_missing="Nothing: it is only shown."),
        Column(
            name="place_source",
            dtype="str",
            one_of=PLACE_SOURCES,
            about="Who says where they live; null = partner for the verified, else declared.",
            if_missing="Partner for the verified, else declared.",
        ),
        _country(
            "audience",
            about="Where most of the audience lives, by the platform.",
            if_missing="Work from abroad for people here is not found.",
        ),
        Column(name="is_hidden", dtype="bool", about="Takes all of their items down.", if_missing="Not hidden."),
    ),
)

ITEMS: Final = Table(
    "items",
    "item_id",
    (
        _id("item_id", required=True),
        _id("creator_id", required=True),
        Column(name="published_at", dtype="time", required=True),
        Column(name="title", dtype="str", required=True),
        Column(
            name="text",
            dtype="str",
            about="Caption, hashtags and transcript.",
            if_missing="The title alone says what it is about.",
        ),
        _language("language", "The first language of the creator; without one, everybody may get it."),
        _language("dialect", "Local speech is known by the language only."),
        Column(
            name="script",
            dtype="str",
            one_of=SCRIPTS,
            unit="ISO 15924",
            if_missing="Nothing: the language tag says the script.",
        ),
        _country("country", if_missing="The country of the creator."),
        _region("region", "The region of the creator."),
        Column(
            name="place_source",
            dtype="str",
            one_of=PLACE_SOURCES,
            about="Who says where it is from; null = declared.",
            if_missing="Declared.",
        ),
        Column(
            name="reviewed_fit",
            dtype="str",
            pattern=PLACE,
            unit="ISO 3166-1 or 3166-2",
            about="The country or region that a partner found the item fits.",
            if_missing="The item is near by its place and language only.",
        ),
        Column(
            name="topics",
            dtype="list",
            one_of=TOPICS,
            max_items=len(TOPICS),
            if_missing="No topic: never supportive, never on a family page.",
        ),
        Column(
            name="risk_tier",
            dtype="str",
            one_of=TIERS,
            about="Null = unlabelled: R2 for adults, not for minors.",
            if_missing="R2 for adults, never shown to minors, and not learned from.",
        ),
        Column(
            name="risk_family",
            dtype="str",
            one_of=FAMILIES,
            if_missing="An R2 item counts in no family; an unlabelled one in `unlabelled`.",
        ),
        Column(
            name="risk_source",
            dtype="str",
            one_of=RISK_SOURCES,
            about="PATCH with `human` and a tier is a review: a predicted label gives way to it.",
            if_missing="The label is unsure without a confidence: one tier higher for minors.",
        ),
        Column(
            name="risk_confidence",
            dtype="float",
            minimum=0,
            maximum=1,
            if_missing="Sure from a platform, partner or person; else one tier higher for minors.",
        ),
        Column(
            name="duration_s",
            dtype="float",
            minimum=0,
            unit="seconds",
            if_missing="The ranker knows no length; copies by other creators are not found by text.",
        ),
        _id("sound_id", if_missing="Nothing: it is only kept."),
        Column(
            name="perceptual_hash",
            dtype="str",
            pattern=r"^[0-9a-fA-F]{16}$",
            unit="64 bits in hexadecimal",
            if_missing="Copies are found by their text only.",
        ),
        Column(
            name="min_age",
            dtype="int",
            minimum=0,
            maximum=120,
            unit="years",
            if_missing="For every age that its tier allows.",
        ),
        Column(name="is_hidden", dtype="bool", if_missing="Not hidden."),
    ),
)

USERS: Final = Table(
    "users",
    "user_id",
    (
        _id("user_id", required=True),
        _country("country", if_missing="The place of the request, else the country of the policy."),
        _region("region", "Near is by country."),
        _languages("languages", "The languages of the market, those of the region first."),
        Column(name="age_band", dtype="str", one_of=AGE_BANDS, if_missing="The rules of 13 to 15 hold."),
        Column(
            name="age_source",
            dtype="str",
            one_of=AGE_SOURCES,
            about="Only a verified band counts as given, unless the market trusts declared ones.",
            if_missing="The rules of 13 to 15 hold, or stricter ones if the band is younger.",
        ),
        Column(name="joined_at", dtype="time", if_missing="Nothing: it is only kept."),
        Column(
            name="consent",
            dtype="bool",
            about="Personalised: yes or no.",
            if_missing="Personalised where the market allows it.",
        ),
        _id("guardian_id", if_missing="No family page."),
    ),
)

EVENTS: Final = Table(
    "events",
    "event_id",
    (
        _id("event_id", required=True),
        _id("user_id", required=True),
        Column(name="kind", dtype="str", required=True, one_of=EVENT_KINDS),
        Column(name="at", dtype="time", required=True, about="At most 7 days ago; the server's time when left out."),
        _id("item_id", if_missing="Only for kinds about creators, searches or none."),
        _id("creator_id", if_missing="Only for kinds about items, searches or none."),
        Column(
            name="query", dtype="str", max_length=MAX_QUERY_LENGTH, if_missing="Only for kinds other than `search`."
        ),
        _id("value", about="For `undo`, the event_id to undo.", if_missing="Nothing, but an `undo` needs it."),
        Column(
            name="watch_s",
            dtype="float",
            minimum=0,
            maximum=MAX_WATCH_S,
            unit="seconds",
            if_missing="Nothing: it is only kept; `watch_fraction` counts.",
        ),
        Column(
            name="watch_fraction",
            dtype="float",
            minimum=0,
            maximum=1,
            if_missing="A view says little: it counts a quarter.",
        ),
        _id("request_id", if_missing="Slates are guessed by person and hour."),
        Column(
            name="position",
            dtype="int",
            minimum=1,
            maximum=MAX_POSITION,
            unit="1-based slot in the page",
            if_missing="The ranker cannot take the place on a page out.",
        ),
        Column(name="surface", dtype="str", one_of=SURFACES, if_missing="Nothing: it is only kept."),
        Column(
            name="propensity",
            dtype="float",
            minimum=0,
            maximum=1,
            if_missing="It is estimated, so `sanad eval` is less sure.",
        ),
        _id("variant", if_missing="Nothing: it is only kept."),
    ),
)

PREDICTED: Final = ("predicted_tier", "predicted_family", "predicted_topics", "label_confidence", "label_version")
"""Columns that training adds to an artifact's items: predicted labels, null = unknown. They only raise a tier."""

LABEL_WAITS: Final = "label_waits"
"""A mark on a live item: its text was edited after its label was predicted."""

REVIEWED: Final = "reviewed"
"""Instead of a `label_version`: a person reviewed the item later, and no predicted label counts."""

TABLES: Final = (CREATORS, ITEMS, USERS, EVENTS)

FORMER_NAMES: Final[Mapping[str, Mapping[str, str]]] = {"items": {"fits": "reviewed_fit"}}
"""By table: what a column was called before, and its name now. Data files may still use the former one."""

FOR_READERS: Final[Mapping[str, tuple[str, ...]]] = {"items": ("gloss",)}
"""By table: text columns that a folder may hold for people who read it. No model and no service reads them."""


def subject_of(kind: str) -> str | None:
    """The column that an event of this kind must fill (`item_id`, `creator_id`, `query`, `value` or None)."""
    if kind in ITEM_EVENTS:
        return "item_id"
    if kind in CREATOR_EVENTS:
        return "creator_id"
    if kind in QUERY_EVENTS:
        return "query"
    return "value" if kind == "undo" else None
