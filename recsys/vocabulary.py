"""
The closed vocabularies of Sanad: each word is spelled here and nowhere else.

Every vocabulary is a `Literal` type and a tuple of the same words in the same order. Code, tables and records may hold
a word's position instead of the word, so the order never changes and a new word goes to the end.
"""

from typing import Final, Literal, get_args

Tier = Literal["R0", "R1", "R2", "R3", "R4"]
"""How risky an item is, from R0 (no risk) to R4 (never served)."""
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)

Family = Literal["despair", "body", "aggression", "self_diagnosis", "unlabelled"]
"""The kinds of an R2 item. An item without a label counts as R2 of the family `unlabelled`."""
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)

Topic = Literal["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12"]
"""What an item is about. A policy file names the topics and says which of them are supportive."""
TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)

EffectiveBand = Literal["under_13", "13-15", "16-17", "18+"]
"""An age band whose rules can hold for a person, strictest first."""
EFFECTIVE_BANDS: Final[tuple[EffectiveBand, ...]] = get_args(EffectiveBand)

AgeBand = Literal[EffectiveBand, "unknown"]
"""An age band as it is reported; `unknown` is treated as 13-15."""
AGE_BANDS: Final[tuple[AgeBand, ...]] = get_args(AgeBand)

AgeSource = Literal["verified", "declared", "none"]
"""Who vouches for an age band: a check, the person, nobody."""
AGE_SOURCES: Final[tuple[AgeSource, ...]] = get_args(AgeSource)

PlaceSource = Literal["partner", "platform", "declared", "inferred"]
"""Who vouches for a place, strongest first: a partner, the platform, the creator, something that suggests it."""
PLACE_SOURCES: Final[tuple[PlaceSource, ...]] = get_args(PlaceSource)

RiskSource = Literal["platform", "partner", "human", "model", "assumed"]
"""Who gave a tier; `assumed` is made up for a trial."""
RISK_SOURCES: Final[tuple[RiskSource, ...]] = get_args(RiskSource)
TRUSTED_RISK_SOURCES: Final[tuple[RiskSource, ...]] = ("platform", "partner", "human")
"""Whose label counts as sure when it comes without a confidence, and passes to whatever has the same platform hash."""

CreatorKind = Literal["professional", "organisation", "peer", "creator"]
CREATOR_KINDS: Final[tuple[CreatorKind, ...]] = get_args(CreatorKind)

Language = Literal["ar", "ary", "ary-Latn", "zgh", "zgh-Latn", "fr", "en"]
"""The languages that the text models know, as BCP 47. Items and people may name others."""
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

Script = Literal["Arab", "Latn", "Tfng"]
"""The letters of a text, as ISO 15924."""
SCRIPTS: Final[tuple[Script, ...]] = get_args(Script)

Surface = Literal["for_you", "following", "related", "search", "local", "together"]
"""The place in the platform that a page is for; `together` is the family feed."""
SURFACES: Final[tuple[Surface, ...]] = get_args(Surface)

ItemEvent = Literal[
    "impression", "view", "rewatch", "complete", "like", "share", "comment", "save",
    "helped", "not_interested", "too_much", "report",
]  # fmt: skip
ITEM_EVENTS: Final[tuple[ItemEvent, ...]] = get_args(ItemEvent)

CreatorEvent = Literal["follow", "hide_creator"]
CREATOR_EVENTS: Final[tuple[CreatorEvent, ...]] = get_args(CreatorEvent)

QueryEvent = Literal["search"]
QUERY_EVENTS: Final[tuple[QueryEvent, ...]] = get_args(QueryEvent)

OtherEvent = Literal["support_requested", "undo"]
OTHER_EVENTS: Final[tuple[OtherEvent, ...]] = get_args(OtherEvent)

EventKind = Literal[ItemEvent, CreatorEvent, QueryEvent, OtherEvent]
"""Every kind of an event: about an item, a creator, a search, or none of these."""
EVENT_KINDS: Final[tuple[EventKind, ...]] = get_args(EventKind)

Head = Literal["complete", "like", "helped", "share", "not_interested"]
"""The actions that the learned ranker predicts; `not_interested` stands for every negative feedback."""
HEADS: Final[tuple[Head, ...]] = get_args(Head)

PauseKind = Literal["break", "budget", "night", "guardian"]
"""Why a page ends or waits; see `recsys.safety.screen_time`."""
PAUSE_KINDS: Final[tuple[PauseKind, ...]] = get_args(PauseKind)

Counter = Literal["R1", "R2", "R1+R2", "S4"]
"""What the caps and gaps of a policy count; R1+R2 is the sum of both."""
COUNTERS: Final[tuple[Counter, ...]] = get_args(Counter)
