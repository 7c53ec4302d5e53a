"""
A creator's way back: a review of a label is asked for, waits in a queue, and a person answers it.

A person's label (`PATCH` of a tier with the source `human`) answers an open review, and so does `answer_review`. The
policy's `review_hours` say by when; what is answered later is counted as late. An answer holds: the same label is not
reviewed again for `ANSWER_HOLDS`, unless the item counts another tier since.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from recsys.catalogue.items import Items
from recsys.clock import DAY, HOUR, Millis, to_text
from recsys.feed.engine import Engine
from recsys.services.fields import check_id
from recsys.services.items import patch_item
from recsys.services.labels import label_origin
from recsys.stores.audit import LOCAL, audit_entry
from recsys.stores.reviews import Outcome, Review
from recsys.types import Fields, JsonObject
from recsys.vocabulary import TIERS

ANSWER_HOLDS: Final[Millis] = 30 * DAY


def ask_review(engine: Engine, item_id: str, at: Millis, who: str = LOCAL) -> JsonObject | None:
    """The review of an item: the standing one, or one that is opened now. None when there is no such item."""
    reviews = engine.stores.reviews
    counted = _counted(engine, item_id)
    if counted is None:
        return None
    last = reviews.latest([item_id]).get(item_id)
    if last is None or not _stands(last, counted[0], at):
        last = reviews.ask(item_id, at, at + engine.resources.policy.market.review_hours * HOUR, who)
    return review_fields(last)


def waiting_reviews(engine: Engine, at: Millis, after: int, size: int) -> JsonObject:
    """
    The open reviews, oldest first, each with its age and where its label comes from; how many are open, overdue,
    answered and answered in time; and `next`, the place to send as `after` for the next page, None on the last.
    """
    waiting = engine.stores.reviews.waiting(after, size + 1)
    counts = engine.stores.reviews.counts(at)
    items, page = _items(engine), waiting[:size]
    return {
        "open": counts.open,
        "overdue": counts.overdue,
        "answered": counts.answered,
        "answered_in_time": counts.answered_in_time,
        "reviews": [
            {
                "seq": review.seq,
                **review_fields(review),
                "asked_by": review.asked_by,
                "age_s": max(at - review.asked_at, 0) // 1_000,
                "is_overdue": review.due_at < at,
                **_label(engine, items, review.item_id),
            }
            for review in page
        ],
        "next": page[-1].seq if len(waiting) > len(page) else None,
    }


def answer_review(engine: Engine, item_id: str, fields: Fields, at: Millis, who: str = LOCAL) -> JsonObject | None:
    """
    Write `fields` of the item (a tier counts as a person's review), and close its open review. Without fields the label
    is upheld as it stands. None, and nothing written, when no review of the item is open. Raises DataError.
    """
    before = _counted(engine, item_id)
    if before is None or not _is_open(engine.stores.reviews.latest([item_id]).get(item_id)):
        return None
    if fields:
        patch_item(engine.resources.catalogue_cache.catalogue, item_id, {**_by_a_person(fields), **fields}, at, who)
    _close(engine, item_id, before, at, who)
    return review_fields(engine.stores.reviews.latest([item_id])[item_id])


def label_item(engine: Engine, item_id: str, fields: Fields, at: Millis, who: str = LOCAL) -> JsonObject | None:
    """`patch_item`; a tier that a person gives answers the item's open review."""
    is_answer = fields.get("risk_source") == "human" and fields.get("risk_tier") is not None
    is_answer = is_answer and _is_open(engine.stores.reviews.latest([check_id("item_id", item_id)]).get(item_id))
    before = _counted(engine, item_id) if is_answer else None
    stored = patch_item(engine.resources.catalogue_cache.catalogue, item_id, fields, at, who)
    if stored is not None and before is not None:
        _close(engine, item_id, before, at, who)
    return stored


def latest_reviews(engine: Engine, item_ids: Sequence[str]) -> Mapping[str, JsonObject]:
    """The latest review of each of these items that has one."""
    return {item_id: review_fields(review) for item_id, review in engine.stores.reviews.latest(item_ids).items()}


def review_fields(review: Review) -> JsonObject:
    """A review as it is shown to who asked."""
    return {
        "item_id": review.item_id,
        "state": "open" if review.answered_at is None else "answered",
        "asked_at": to_text(review.asked_at),
        "due_at": to_text(review.due_at),
        "answered_at": None if review.answered_at is None else to_text(review.answered_at),
        "outcome": review.outcome,
    }


def _by_a_person(fields: Fields) -> Fields:
    """What a tier from a person says beside itself: whose it is, and that R0 and R1 are of no family."""
    if "risk_tier" not in fields:
        return {}
    family: Fields = {"risk_family": None} if fields["risk_tier"] in ("R0", "R1") else {}
    return {"risk_source": "human", "risk_confidence": None, **family}


def _is_open(review: Review | None) -> bool:
    return review is not None and review.answered_at is None


def _stands(review: Review, tier: int, at: Millis) -> bool:
    if review.answered_at is None:
        return True
    return review.tier == tier and at - review.answered_at < ANSWER_HOLDS


def _close(engine: Engine, item_id: str, before: tuple[int, bool], at: Millis, who: str) -> None:
    """Answer the open review of an item, if there is one: `changed` where its tier or hiding is not as `before`."""
    after = _counted(engine, item_id) or before
    outcome: Outcome = "upheld" if before == after else "changed"
    entry = audit_entry(at, who, "review", item_id=item_id, outcome=outcome, tier=TIERS[after[0]])
    engine.stores.reviews.answer(item_id, outcome, after[0], at, who, [entry])


def _items(engine: Engine) -> Items:
    return engine.resources.catalogue_cache.at_least(engine.stores.users.read("").revision)


def _counted(engine: Engine, item_id: str) -> tuple[int, bool] | None:
    """The tier that an item counts, and whether it is hidden; None when there is no such item."""
    items = _items(engine)
    item_no = items.index.get(check_id("item_id", item_id))
    return None if item_no is None else (int(items.tier[item_no]), bool(items.is_hidden[item_no]))


def _label(engine: Engine, items: Items, item_id: str) -> JsonObject:
    item_no = items.index.get(item_id)
    if item_no is None:
        return {"creator_id": None, "tier": None, "is_hidden": None, "source": None, "evidence": None}
    row = engine.resources.catalogue_cache.catalogue.get(item_id)
    return {
        "creator_id": items.creator_ids[item_no],
        "tier": TIERS[int(items.tier[item_no])],
        "is_hidden": bool(items.is_hidden[item_no]),
        **label_origin(items, item_no, row),
    }
