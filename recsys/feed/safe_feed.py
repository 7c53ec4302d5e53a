"""
The safe feed: what is served when no ledger answers, and so nothing can be counted (policy-spec 0).

A fixed list of the artifact, as far as the last known catalogue still allows every item. Nothing is reserved.
"""

from collections.abc import Sequence
from typing import Final

from recsys.catalogue.items import Items, topic_bits, topic_names
from recsys.clock import Millis, to_text
from recsys.feed.context import EngineResources
from recsys.feed.reasons import sentences
from recsys.feed.response import shortfall_of
from recsys.feed.viewer import languages_asked, languages_of, profile_of
from recsys.messages import Card, FeedItem, FeedRequest, FeedResponse, Locality, Safety
from recsys.policy.effective import effective_band
from recsys.policy.schema import Market
from recsys.safety.cards import cards_for
from recsys.safety.loop.signals import harm_match_of_request
from recsys.user.state import UserState

YOUNGEST_AGE: Final = 12  # years; an item that asks for more is not for everybody


def safe_feed(resources: EngineResources, request: FeedRequest, at: Millis) -> FeedResponse:
    """The safe feed of a request: labelled R0 items that no cap counts, for which no age is asked."""
    items, market = resources.catalogue_cache.items, resources.policy.market
    spoken = languages_of(request.context.languages or (), market, items.codes) or market.languages
    heavy = topic_bits([market.hope_topic, market.grief_topic])
    harm = harm_match_of_request(request, items, resources.harm_terms)
    page: list[FeedItem] = []
    for item_id in resources.model.safe_feed if harm is None else _help_first(resources):
        item_no = items.index.get(item_id)
        if item_no is None or not _is_safe(items, item_no, heavy, spoken, at):
            continue
        if not _is_asked_for(request, item_id, items, item_no, market):
            continue
        page.append(_item(items, item_no, len(page) + 1, spoken))
        if len(page) == request.size:
            break
    cards = cards_for(() if harm is None else ("crisis",), [], market, resources.policy.zone, request.surface, at)
    return _response(request, page, cards, resources, at)


def _help_first(resources: EngineResources) -> list[str]:
    """The safe list in its order, with the topics that should follow a helpline card in front."""
    items, rules = resources.catalogue_cache.items, resources.policy.market.cards.rules
    topics = topic_bits(rules.follow_up[0].topics) if rules.follow_up else 0
    rows = {item_id: items.index.get(item_id) for item_id in resources.model.safe_feed}
    return sorted(rows, key=lambda item_id: (row := rows[item_id]) is None or not items.topics[row] & topics)


def _is_asked_for(request: FeedRequest, item_id: str, items: Items, item_no: int, market: Market) -> bool:
    """Whether an item passes what the request narrows its page to; see `recsys.feed.filters.excluded`."""
    languages, topics = languages_asked(request, market), request.topics
    is_listed = request.candidate_ids is None or item_id in request.candidate_ids
    is_on = topics is None or bool(items.topics[item_no] & topic_bits(topics))
    is_spoken = languages is None or items.name(int(items.language[item_no])) in languages
    return is_listed and is_on and is_spoken and item_id not in request.exclude_ids


def _is_safe(items: Items, item_no: int, heavy: int, languages: Sequence[str], at: Millis) -> bool:
    """Whether nothing that is known of an item forbids it to anybody who reads one of the languages."""
    is_calm = items.is_labelled[item_no] and items.minor_tier[item_no] == 0 and not items.topics[item_no] & heavy
    is_published = items.published_at[item_no] <= at
    is_open = is_published and not items.is_hidden[item_no] and items.min_age[item_no] <= YOUNGEST_AGE
    return bool(is_calm and is_open and items.name(int(items.language[item_no])) in (None, *languages))


def _item(items: Items, item_no: int, position: int, languages: Sequence[str]) -> FeedItem:
    return FeedItem(
        item_id=items.item_ids[item_no],
        creator_id=items.creator_ids[item_no],
        position=position,
        score=0.0,
        sources=["safe"],
        tier="R0",
        family=None,
        topics=topic_names(int(items.topics[item_no])),
        language=items.name(int(items.language[item_no])),
        locality=Locality(score=None, match="unknown", source="none", confidence=0.0),
        reasons=sentences(["safe", "supportive"], languages),
        is_exploration=False,
        propensity=1.0,
        tracking_token="",
    )


def _response(
    request: FeedRequest, page: list[FeedItem], cards: list[Card], resources: EngineResources, at: Millis
) -> FeedResponse:
    return FeedResponse(
        request_id=request.request_id or "",
        user_id=request.user_id,
        served_at=to_text(at),
        model_version=resources.model.version,
        policy_version=resources.policy.market.version,
        took_ms=0.0,
        items=page,
        cards=cards,
        pause=None,
        shortfall=shortfall_of(request.size, request.size, len(page), {"ledger": request.size - len(page)}),
        degraded=["ledger"],
        experiments={},
        safety=Safety(loop_level=0, age_band=_known_band(request, resources), is_night=False, remaining={}),
        replayed=False,
        cursor=None,
    )


def _known_band(request: FeedRequest, resources: EngineResources) -> str:
    """The age band as far as it is known without a store."""
    profile = profile_of(UserState(), resources.model, request.user_id)
    market, given = resources.policy.market, request.context.age_band
    return effective_band(market, stored=profile.age_band, source=profile.age_source, given=given)
