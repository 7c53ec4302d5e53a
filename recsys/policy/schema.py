"""
The policy file of a market, as frozen values. `policies/morocco.yaml` is the worked example; its comments and
docs/safety.md explain the keys. Nothing about a market stands in code.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Literal

from recsys.config import Range
from recsys.policy.limits import Windows
from recsys.user.feedback import SEEN_EVENTS
from recsys.user.state import LAST
from recsys.vocabulary import COUNTERS, FAMILIES, TIERS, Counter, ItemEvent, PauseKind, PlaceSource, Tier, Topic

Share = Annotated[float, Range(0, 1)]
Count = Annotated[int, Range(0, 10_000)]
Gap = Annotated[int, Range(0, LAST - 1)]  # the ledger keeps 50 deliveries one by one
Positive = Annotated[int, Range(1, 100_000)]
Days = Annotated[int, Range(1, 7)]  # the loop breaker keeps 7 days one by one
Weight = Annotated[float, Range(-10, 10)]
Texts = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """Hours of the local day, and which counters they halve or set to zero."""

    hours: tuple[str, ...] = ()
    half: tuple[Counter, ...] = ()
    zero: tuple[Counter, ...] = ()
    is_optional: bool = False  # a person of this band may switch the night rules off
    needs_choice: bool = False  # a page at night needs an active choice first

    def __post_init__(self) -> None:
        for hours in self.hours:
            parse_hours(hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a loop level sets beside the base."""

    windows: Mapping[str, Windows] = field(default_factory=dict)
    gaps: Mapping[str, Gap] = field(default_factory=dict)
    supportive_floor: Share = 0.0
    night: Night = Night()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeRules:
    """Base limits of one age band, its night and its loop levels 1 and 2."""

    windows: Mapping[str, Windows]
    gaps: Mapping[str, Gap]
    supportive_floor: Share
    night: Night
    levels: Mapping[int, Level]
    is_minor: bool = False
    labelled_only: bool = False
    non_personalised: bool = False
    blocked_tiers: tuple[Tier, ...] = ()
    daily_minutes: Positive | None = None

    def __post_init__(self) -> None:
        if sorted(self.levels) != [1, 2]:
            raise ValueError(f"levels: found {sorted(self.levels)}, expected 1 and 2")
        counters = [
            *self.windows,
            *self.gaps,
            *(c for level in self.levels.values() for c in [*level.windows, *level.gaps]),
        ]
        if set(self.windows) != set(COUNTERS) or not set(counters) <= set(COUNTERS):
            raise ValueError(f"windows and gaps: found {sorted(set(counters))}, expected {', '.join(COUNTERS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRules:
    """Sessions, soft stops, and what counts as seen: for `seen_days`, by delivery or by one of `seen_events`."""

    idle_minutes: Positive = 30
    gap_minutes: Positive = 5
    break_every: Positive = 20
    seen_days: Positive = 30
    seen_events: tuple[ItemEvent, ...] = SEEN_EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCreator:
    """Who is a new local creator, and the share of local slots kept for them."""

    impressions: Count = 1_000
    share: Share = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerRules:
    """
    How the weight of locality is steered towards the weekly target: at most `most` times it, at least 1 / `most` times;
    `least` deliveries in the week. `most` 1 switches it off. See `recsys.exposure.controller`.
    """

    most: Annotated[float, Range(1, 4)] = 2.0
    proportional: Annotated[float, Range(0, 10)] = 1.0
    integral: Annotated[float, Range(0, 2)] = 0.3
    every_hours: Annotated[int, Range(1, 168)] = 6
    least: Positive = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityRules:
    """
    How near an item is to a viewer, and how much of a feed is near. Scores are in [0, 1].

    `other_script` is what speech counts when its captions are in letters that the viewer did not name. `floor_eligible`
    are the sources that are enough for a slot of the floor; weaker ones need local speech beside them.
    """

    floor: Share
    supply_factor: Annotated[float, Range(0, 10)]
    target: Share
    creator_last_20: Positive
    local_from: Annotated[float, Range(0.01, 1)]
    dialects: tuple[str, ...]
    scores: Mapping[
        Literal["region", "neighbour", "country", "fit", "dialect", "audience", "language", "foreign"], Share
    ]
    evidence: Mapping[PlaceSource, Share]
    other_script: Share = 0.8
    floor_eligible: tuple[PlaceSource, ...] = field(default=("partner", "platform"), metadata={"before": "proven"})
    new_creator: NewCreator = NewCreator()
    controller: ControllerRules = ControllerRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """
    Slots given to a uniform draw from feasible reviewed items. `pool` of them are retrieved by chance. `draw_from`: the
    draw is from at most so many, those that score best; 0 = from all that are on hand.
    """

    slots: Annotated[int, Range(0, 2)] = 1
    pool: Positive = 20
    draw_from: Annotated[int, Range(0, 10_000)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopRules:
    """Thresholds of the loop breaker (policy-spec 4), by signal."""

    # a: how much of the last deliveries is R1 or R2, and how often the ranker wanted more than a cap admits
    risk_share: Share
    risk_share_items: Annotated[int, Range(1, LAST)]
    refusals: Positive
    # b: R2 watched to the end more often than the person's own R0
    completion_ratio: Annotated[float, Range(1, 10)]
    completion_exposures: Positive
    completion_days: Days
    completed_from: Share
    baseline_days: Positive
    # c: long sessions
    long_session_minutes: Positive
    long_session_items: Positive
    # d: nights
    night_minutes: Positive
    night_count: Positive
    night_window: Days
    # e: fewer and fewer topics
    entropy_drop: Share
    entropy_items: Positive
    entropy_days: Days
    entropy_memory_days: Positive
    # f: whom a person follows: this share of a creator's items is R3 or R4, and at least one
    follow_share: Annotated[float, Range(0, 1)]
    # g: what a person says
    repeated: Positive
    repeated_days: Days
    not_interested_from: Tier
    distressing: tuple[str, ...]
    # levels
    counted_daily: Annotated[int, Range(1, 10)]
    signals_to_raise: Positive
    clean_days: Positive
    clean_days_minor: Positive
    # "not interested" on a risk topic
    topic_off_days: Positive
    topic_reduced_days: Positive
    topic_reduced_from: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card outside the ranking; `text` by language. It is shown whether or not somebody verified it."""

    kind: Literal["helpline", "link"]
    text: Texts
    verified_at: date | None = None
    verified_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """What should fill the next `slots` after a helpline card, where the rules admit it."""

    slots: Positive
    topics: tuple[Topic, ...]
    is_local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRules:
    """How often a card may come by itself. Asked-for cards have no limit."""

    level_1_session: Count
    level_1_daily: Count
    level_2_daily: Count
    link_topics: tuple[Topic, ...]
    follow_up: tuple[FollowUp, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """The cards of the market."""

    support: Card
    crisis: Card
    link: Card
    rules: CardRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Helpline:
    """Where to turn to. Hidden unless somebody verified it lately."""

    id: str
    name: Texts
    contact: str
    hours: str
    languages: tuple[str, ...]
    purpose: str = field(metadata={"key": "for"})
    verified_at: date | None
    verified_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region's names, the regions it borders on, and what share of its people understand a language."""

    name: Texts
    neighbours: tuple[str, ...]
    languages: Mapping[str, Share] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOff:
    """Who accepted the numbers, and when."""

    name: str
    role: str
    at: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One policy file."""

    apiVersion: Literal["sanad.policy/v1"]
    kind: Literal["Policy"]
    market: str
    version: str
    signed_off: SignOff | None
    time_zone: str
    languages: tuple[str, ...]
    trust_declared_age: bool
    label_threshold: Share
    never_served: tuple[Tier, ...]
    supportive_topics: tuple[Topic, ...]
    hope_topic: Topic
    grief_topic: Topic
    ages: Mapping[str, AgeRules]
    session: SessionRules
    locality: LocalityRules
    exploration: Exploration
    weights: Mapping[str, Weight]
    loop: LoopRules
    cards: Cards
    pauses: Mapping[PauseKind, Texts]
    stale_days: Positive
    helplines: tuple[Helpline, ...]
    topics: Mapping[Topic, Texts]
    regions: Mapping[str, Region]
    language_ranges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # see `recsys.languages`
    review_hours: Positive = 72  # in which a review that a creator asked for is to be answered


def parse_hours(hours: str) -> tuple[int, int]:
    """`22:00-07:00` as minutes of the day. Raises ValueError."""
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", hours)
    if not match:
        raise ValueError(f"hours: found {hours!r}, expected such as 22:00-07:00")
    h1, m1, h2, m2 = map(int, match.groups())
    return 60 * h1 + m1, 60 * h2 + m2


def tier_number(tier: str) -> int:
    """R0 to R4 as 0 to 4."""
    return TIERS.index(tier)


def family_number(family: str | None) -> int:
    """The family's number, -1 for none."""
    return FAMILIES.index(family) if family else -1
