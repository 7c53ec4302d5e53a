"""
An answer as it is stored beside its record: deflated, without the ids that stand beside it, and without what is worked
out again, its signatures.

A signature cannot be compressed, and says nothing that the record does not say. Whoever changes the key of the service
gets answers signed with the new one.
"""

import msgspec
import numpy as np

from recsys.codes import deflate, inflate
from recsys.feed.record import unpack
from recsys.messages import FeedItem, FeedResponse
from recsys.stores.protocols import StoredAnswer
from recsys.tokens import Signer

_UNSIGNED = ""


def pack_answer(response: FeedResponse) -> bytes:
    """An answer for the store. `as_sent` gives it back."""
    return deflate(msgspec.json.encode(without_ids(response)))


def without_ids(response: FeedResponse) -> FeedResponse:
    """The answer without its signed tokens and whose it is; what there was of them is empty."""
    return msgspec.structs.replace(
        response,
        request_id="",
        user_id="",
        items=[_with_token(item, _UNSIGNED) for item in response.items],
        cursor=None if response.cursor is None else _UNSIGNED,
    )


def as_sent(stored: StoredAnswer, key: bytes) -> bytes:
    """The JSON of an answer as it was sent, byte for byte. Versions before stored it as it was."""
    if stored.answer[:1] == b"{":
        return stored.answer
    response = msgspec.json.decode(inflate(stored.answer), type=FeedResponse)
    whose = msgspec.structs.replace(response, request_id=stored.request_id, user_id=stored.user_id)
    return msgspec.json.encode(_signed(whose, stored, key))


def answer_of(stored: StoredAnswer, key: bytes) -> FeedResponse:
    """An answer as it was sent."""
    return msgspec.json.decode(as_sent(stored, key), type=FeedResponse)


def _signed(response: FeedResponse, stored: StoredAnswer, key: bytes) -> FeedResponse:
    if response.cursor is None and not response.items:
        return response
    signer = Signer(key=key, request_id=stored.request_id, user_id=stored.user_id, at=stored.at)
    decision = unpack(stored.decision)
    item_nos = np.frombuffer(decision.item_nos, "<i4")[decision.chosen].tolist()
    items = [
        _with_token(item, signer.tracking(item_no, item.position))
        for item, item_no in zip(response.items, item_nos, strict=True)
    ]
    return msgspec.structs.replace(response, items=items, cursor=None if response.cursor is None else signer.cursor())


def _with_token(item: FeedItem, token: str) -> FeedItem:
    return msgspec.structs.replace(item, tracking_token=token)
