"""
Conversation starters for a guardian and a child: labelled R0 items on supportive topics that both policies accept.

Neither history is used: the page is drawn at random from what both may see, starters for families (S6) before the
rest; only what the child was shown lately does not come again. So nothing on it says what one of the two watched. It
is reserved for the child first and for the guardian then; when the second step fails, the first one holds, for what
was reserved counts as shown.
"""

import hashlib
from typing import Final

import msgspec
import numpy as np

from recsys.catalogue.items import Items, topic_bits
from recsys.clock import DAY, Millis, to_text
from recsys.errors import Conflict, DataError, StoreError
from recsys.feed.context import RequestContext
from recsys.feed.engine import Engine, Page, feed
from recsys.feed.filters import FILTERS
from recsys.feed.query import seed_of
from recsys.feed.record import unpack
from recsys.feed.repeat import REPEAT_MS
from recsys.feed.viewer import profile_of
from recsys.messages import FeedRequest, FeedResponse
from recsys.safety.cards import CONVERSATION_STARTERS
from recsys.services.fields import check_id
from recsys.types import Ids, JsonObject, Mask

DRAWN: Final = 3  # times the size: what the child's own rules may still take from, at first


def is_guardian(engine: Engine, guardian_id: str, child_id: str) -> bool:
    """Whether the child's profile names the guardian."""
    check_id("guardian_id", guardian_id)
    state = engine.stores.users.read(check_id("child_id", child_id)).state
    return profile_of(state, engine.resources.model, child_id).guardian_id == guardian_id


def together(
    engine: Engine, guardian_id: str, child_id: str, *, size: int, request_id: str | None, at: Millis
) -> JsonObject:
    """
    One page for both. Raises DataError when the child's profile does not name the guardian.

    The same `request_id` within 24 h gives the same page.
    """
    if guardian_id == child_id or not is_guardian(engine, guardian_id, child_id):
        raise DataError("child_id: found a person whose profile does not name this guardian, expected one that does")
    named = request_id or engine.new_id()
    asked = _request(child_id, _id_of(named, child_id), size)
    ids = _asked_before(engine, asked, at) or _enough(engine, guardian_id, asked, at)
    answer = _answer(feed(engine, msgspec.structs.replace(asked, candidate_ids=ids), at))
    degraded = list(answer.degraded)
    if answer.items and not _reserved(engine, guardian_id, answer, named, at):
        degraded.append("guardian")
    return {
        "guardian_id": guardian_id,
        "child_id": child_id,
        "together_id": named,
        "served_at": to_text(at),
        "items": [
            {"item_id": item.item_id, "creator_id": item.creator_id, "position": item.position, "tier": item.tier,
             "topics": item.topics, "language": item.language}
            for item in answer.items
        ],
        "missing": size - len(answer.items),
        "because": _because(engine, guardian_id, asked, answer, at),
        "pause": None if answer.pause is None else {"kind": answer.pause.kind, "text": answer.pause.text},
        "degraded": degraded,
    }  # fmt: skip


def _id_of(named: str, child_id: str) -> str:
    """The id under which both pages are kept, another one for each child of a guardian."""
    return f"t{hashlib.blake2b(msgspec.json.encode([named, child_id]), digest_size=15).hexdigest()}"


def _request(user_id: str, request_id: str, size: int) -> FeedRequest:
    return FeedRequest(
        user_id=user_id, request_id=request_id, size=size, surface="together", mode="non_personalised",
        explain="none",
    )  # fmt: skip


def _asked_before(engine: Engine, asked: FeedRequest, at: Millis) -> tuple[str, ...] | None:
    """What the same request drew within 24 h: the catalogue may have changed since."""
    stored = engine.stores.users.read(asked.user_id, asked.request_id).answer
    if stored is None or at - stored.at > REPEAT_MS:
        return None
    return msgspec.json.decode(unpack(stored.decision).request, type=FeedRequest).candidate_ids


def _enough(engine: Engine, guardian_id: str, asked: FeedRequest, at: Millis) -> tuple[str, ...]:
    """
    As many of the drawn ids as fill the page, tried as plans that reserve nothing: creators and gaps may need more than
    a few. All of them where nothing fills it.
    """
    drawn = _drawn(engine, guardian_id, asked, at)
    n_ids = DRAWN * asked.size
    while n_ids < len(drawn):
        plan = engine.plan(msgspec.structs.replace(asked, candidate_ids=drawn[:n_ids]), at)
        if len(plan.selection.rows) >= plan.context.query.size:
            break
        n_ids *= 4
    return drawn[:n_ids]


def _drawn(engine: Engine, guardian_id: str, asked: FeedRequest, at: Millis) -> tuple[str, ...]:
    """
    Ids drawn by the request and the day alone, from what both policies accept and the child was not shown: S6 first.
    """
    items, numbers = _open_to_both(engine, guardian_id, asked, at)
    rng = np.random.default_rng([seed_of(asked.request_id or ""), 3, at // DAY])  # not the same again tomorrow
    drawn = numbers[rng.permutation(len(numbers))]
    is_family = (items.topics[drawn] & topic_bits(CONVERSATION_STARTERS.topics)) != 0
    return tuple(items.item_ids[n] for n in drawn[np.argsort(~is_family, kind="stable")])


def _open_to_both(engine: Engine, guardian_id: str, asked: FeedRequest, at: Millis) -> tuple[Items, Ids]:
    """The catalogue, and the numbers of what the meet of both policies accepts and the child was not shown lately."""
    child = engine.context(asked, at)
    guardian = engine.context(msgspec.structs.replace(asked, user_id=guardian_id), at)
    items, whole = child.query.items, child.query.whole
    accepted = _accepts(child) & _accepts(guardian) & whole["is_supportive"] & items.is_labelled
    return items, np.flatnonzero(accepted & FILTERS["seen"](child.query, whole)).astype(np.int32)


def _because(engine: Engine, guardian_id: str, asked: FeedRequest, answer: FeedResponse, at: Millis) -> dict[str, int]:
    """
    Why places are empty: `pause`; `supply`, when nothing is left that both may see and the child was not shown; else
    `rules`, when creators, gaps or caps leave no more. Which videos either of them watched is not told.
    """
    missing = asked.size - len(answer.items)
    if not missing:
        return {}
    if answer.pause is not None and answer.pause.kind != "break":
        return {"pause": missing}
    sent = {item.item_id for item in answer.items}
    items, numbers = _open_to_both(engine, guardian_id, asked, at)
    is_exhausted = all(items.item_ids[n] in sent for n in numbers)
    return {"supply" if is_exhausted else "rules": missing}


def _accepts(context: RequestContext) -> Mask:
    """What a person's policy lets through, whatever they saw or refused before."""
    keep = np.ones(len(context.query.whole), np.bool_)
    for name in ("hidden", "published", "tier", "unlabelled", "age", "muted", "language", "surface"):
        keep &= FILTERS[name](context.query, context.query.whole)
    return keep


def _reserved(engine: Engine, guardian_id: str, answer: FeedResponse, named: str, at: Millis) -> bool:
    """Whether the page now counts for the guardian as well, as far as the guardian's own rules admit it."""
    ids = tuple(item.item_id for item in answer.items)
    asked = _request(guardian_id, _id_of(named, answer.user_id), len(ids))
    try:
        page = _answer(feed(engine, msgspec.structs.replace(asked, candidate_ids=ids), at))
    except Conflict:
        return True  # it counted when the page was longer: an item was taken down since
    except (StoreError, DataError):
        return False
    return set(page.degraded) <= {"languages"} and (page.pause is None or page.pause.kind == "break")


def _answer(page: Page) -> FeedResponse:
    return msgspec.json.decode(page.answer, type=FeedResponse)
