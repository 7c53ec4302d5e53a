"""
What a request may ask to be told of each item beside its id, for callers without a catalogue of their own.

It is read when the answer is sent and kept nowhere: a repeated page has the titles of now.
"""

import msgspec

from recsys.errors import StoreError
from recsys.feed.context import EngineResources
from recsys.messages import FeedItem, FeedRequest, FeedResponse, ItemCreator
from recsys.types import Fields


def with_included(resources: EngineResources, request: FeedRequest, answer: bytes) -> bytes:
    """
    The answer with what the request asks to include. When the catalogue does not answer, `degraded` says so: the page
    is reserved already.
    """
    if not request.include:
        return answer
    page = msgspec.json.decode(answer, type=FeedResponse)
    try:
        items = [_with_texts(resources, request, item) for item in page.items]
    except StoreError:
        return msgspec.json.encode(msgspec.structs.replace(page, degraded=[*page.degraded, "include"]))
    return msgspec.json.encode(msgspec.structs.replace(page, items=items))


def _with_texts(resources: EngineResources, request: FeedRequest, item: FeedItem) -> FeedItem:
    row = resources.catalogue_cache.catalogue.get(item.item_id)
    fields: Fields = {} if row is None else row.fields
    included = {
        "title": fields.get("title"),
        "caption": fields.get("text"),
        "creator": _creator(resources, item.creator_id),
    }
    return msgspec.structs.replace(item, **{name: included[name] for name in request.include})


def _creator(resources: EngineResources, creator_id: str) -> ItemCreator | None:
    creator = resources.catalogue_cache.creators.get(creator_id)
    if creator is None:
        return None
    return ItemCreator(
        creator_id=creator_id,
        country=creator.country,
        region=creator.region,
        languages=list(creator.languages),
        kind=creator.kind,
        verified=creator.is_verified,
    )
