"""
Recovery and helpline cards (policy-spec 5). They stand outside the ranking: this module reads the loop level, what a
person asked for and the policy's texts. It reads no score, no limit, no experiment and nothing that a guardian set, so
none of them can remove, delay, shrink or order a card.

| card | comes |
|------|-------|
| crisis | after a search, follow or "more like this" that looks for R3 or R4: always |
| support | when the person asks for support: always |
| level-1 | at level 1: once per session, twice in 24 hours |
| level-2 | at level 2: before the first item of each session, three times in 24 hours |
| link | after every hope or grief item |
"""

from collections.abc import Mapping, Sequence
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from recsys.catalogue.items import topic_bits
from recsys.clock import DAY, Millis
from recsys.messages import MAX_SIZE, Card
from recsys.policy.nights import local_time
from recsys.policy.schema import Card as CardText
from recsys.policy.schema import FollowUp, Market
from recsys.safety.helplines import shown_helplines
from recsys.types import Candidates, JsonObject
from recsys.user.state import Delivery, UserState

REQUESTED_CARDS: Final = ("crisis", "support")  # most urgent first
LEVEL_CARDS: Final = {1: "level-1", 2: "level-2"}
FAMILY_SURFACE: Final = "together"
CONVERSATION_STARTERS: Final = FollowUp(slots=MAX_SIZE, topics=("S6",))


def cards_due(state: UserState, market: Market, surface: str, at: Millis) -> tuple[str, ...]:
    """
    The helpline cards of the next page, most urgent first: those asked for, else the one of the loop level.

    None on a page that a guardian looks at too: what a person asked for stays due for the next page of their own.
    """
    if surface == FAMILY_SURFACE:
        return ()
    asked = tuple(name for name in REQUESTED_CARDS if name in state.safety.loop.cards_due)
    name = LEVEL_CARDS.get(state.safety.loop.level)
    return asked or ((name,) if name and _may_come(state, market, at) else ())


def _may_come(state: UserState, market: Market, at: Millis) -> bool:
    """Whether the level's card may come by itself now."""
    rules, level = market.cards.rules, state.safety.loop.level
    shown = [(name, t) for name, t in state.interactions.cards_shown if t >= at - DAY]
    session = state.safety.ledger.session_started_at
    in_session = sum(name == LEVEL_CARDS[level] and t >= session for name, t in shown)
    per_session, per_day = (rules.level_1_session, rules.level_1_daily) if level == 1 else (1, rules.level_2_daily)
    return in_session < per_session and len(shown) < per_day


def follow_ups(names: Sequence[str], market: Market, surface: str) -> tuple[FollowUp, ...]:
    """
    What should come first on a page, where the rules admit it: what follows a helpline card, and on a page for a
    guardian and a child whatever starts a conversation.
    """
    after_card = market.cards.rules.follow_up if names else ()
    return (*after_card, CONVERSATION_STARTERS) if surface == FAMILY_SURFACE else after_card


def promote(candidates: Candidates, wanted: Sequence[FollowUp]) -> Candidates:
    """
    The candidates, best first, with those that should follow a card moved to the front; the rules still decide whether
    they may come. Reads `is_supportive`, so nothing but labelled R0 is moved.
    """
    front: list[int] = []
    for follow in wanted:
        is_match = candidates["is_supportive"] & ((candidates["topics"] & topic_bits(follow.topics)) != 0)
        if follow.is_local:
            is_match = is_match & candidates["is_local"]
        front += [row for row in np.flatnonzero(is_match).tolist() if row not in front][: follow.slots]
    if not front:
        return candidates
    rest = np.setdiff1d(np.arange(len(candidates)), front)
    return candidates.take(np.array([*front, *rest], np.intp))


def cards_for(
    names: Sequence[str], page: Sequence[Delivery], market: Market, zone: ZoneInfo, surface: str, at: Millis
) -> list[Card]:
    """The cards of a page in order: helpline cards before the first item, a small link after hope and grief items."""
    entries = shown_helplines(market, local_time(at, zone).date())
    texts = {"crisis": market.cards.crisis}
    cards = [_card(name, 0, texts.get(name, market.cards.support), market, entries) for name in names]
    if surface == FAMILY_SURFACE:
        return cards
    linked = topic_bits(market.cards.rules.link_topics)
    places = [place for place, delivery in enumerate(page, start=1) if delivery.topics & linked]
    return cards + [_card(f"link-{place}", place, market.cards.link, market, []) for place in places]


def _card(card_id: str, place: int, card: CardText, market: Market, entries: list[JsonObject]) -> Card:
    return Card(
        card_id=card_id, after_position=place, kind=card.kind, text=_in_order(card.text, market), entries=entries
    )


def _in_order(text: Mapping[str, str], market: Market) -> dict[str, str]:
    """The market's languages first, in its order."""
    known = [language for language in market.languages if language in text]
    return {language: text[language] for language in [*known, *(k for k in text if k not in known)]}


def note_cards(state: UserState, names: Sequence[str], at: Millis) -> UserState:
    """
    The state after a page with these cards: nothing that was asked for is due any more, and a card counts where the
    level's cards are limited. Which card came and when is remembered for a day.
    """
    if not names:
        return state
    loop, history = state.safety.loop, state.interactions
    loop = msgspec.structs.replace(loop, cards_due=tuple(name for name in loop.cards_due if name not in names))
    recent = tuple(pair for pair in history.cards_shown if pair[1] >= at - DAY)
    new = tuple((name, at) for name in names if name in LEVEL_CARDS.values())
    return msgspec.structs.replace(
        state,
        safety=msgspec.structs.replace(state.safety, loop=loop),
        interactions=msgspec.structs.replace(history, cards_shown=(*recent, *new)),
    )
