"""
A repeated request: the stored page, less what is forbidden by now; never more.
"""

from typing import Final

import msgspec
import numpy as np

from recsys.catalogue.items import UNLABELLED_FAMILY
from recsys.clock import DAY, Millis
from recsys.errors import Conflict
from recsys.feed.context import RequestContext
from recsys.feed.filters import FILTERS, FORBIDDING
from recsys.feed.unlisted import kept_out
from recsys.messages import FeedItem, FeedRequest, FeedResponse
from recsys.policy.limits import Limits
from recsys.safety.ledger import counters_of, windows_of
from recsys.stores.protocols import StoredAnswer

REPEAT_MS: Final[Millis] = DAY
"""How long a request_id answers with the same page."""


def answers_repeat(answer: FeedResponse, sent_at: Millis, at: Millis) -> bool:
    """Whether an answer answers a repeat: for 24 h, unless a pause emptied it, which may be over by now."""
    if at - sent_at > REPEAT_MS:
        return False
    return bool(answer.items) or answer.pause is None or answer.pause.kind == "break"


def check_same_request(request: FeedRequest, stored: StoredAnswer, key: bytes, at: Millis) -> None:
    """Raises Conflict when the id of a request was used within 24 h for another one, whatever the answer was."""
    if at - stored.at <= REPEAT_MS and stored.body_hash != request.body_hash(key):
        raise Conflict(
            f"request_id: found {request.request_id!r}, which was used within 24 h for another request; "
            "expected a new id, or the same request"
        )


def repeated_page(context: RequestContext, answer: FeedResponse) -> FeedResponse:
    """The page that was sent, without items that a rule forbids by now."""
    items = [item for item in answer.items if context.allowance.most > 0 and _is_still_allowed(context, item)]
    return msgspec.structs.replace(answer, items=items, replayed=True)


def _is_still_allowed(context: RequestContext, item: FeedItem) -> bool:
    """Whether no rule forbids the item by now, and its label is not higher than when it was sent."""
    query = context.query
    item_no = query.items.index.get(item.item_id)
    if context.failure:
        return False
    if item_no is None:
        unlisted = next((candidate for candidate in query.unlisted if candidate.item_id == item.item_id), None)
        is_open = unlisted is not None and kept_out(query, unlisted) is None
        return is_open and not _is_never(query.limits, 2, UNLABELLED_FAMILY, is_s4=False)
    row = query.rules.take(np.array([item_no], np.intp))
    tier, family, is_s4 = int(row["tier"][0]), int(row["family"][0]), bool(row["is_s4"][0])
    is_never = _is_never(query.limits, tier, family, is_s4=is_s4)
    return tier <= int(item.tier[1]) and not is_never and all(FILTERS[name](query, row)[0] for name in FORBIDDING)


def _is_never(limits: Limits, tier: int, family: int, *, is_s4: bool) -> bool:
    """Whether a window of what an item adds to takes nothing at all."""
    windows = [windows_of(limits, name) for name in counters_of(tier, family, is_s4)]
    return any(0 in (w.last_20, w.session, w.rolling_24h, w.rolling_7d) for w in windows)
