"""From a finished page to what goes over the wire."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isnan

import msgspec
import numpy as np

from recsys.catalogue.items import topic_names
from recsys.catalogue.locality import MATCHES, evidence
from recsys.clock import DAY, Millis, to_text
from recsys.feed.plan import RequestContext
from recsys.feed.query import Query
from recsys.feed.reasons import codes, sentences
from recsys.feed.scorers import SCORERS
from recsys.feed.slate import Selection
from recsys.messages import FeedItem, FeedRequest, FeedResponse, Locality, Reason, Safety, Shortfall
from recsys.safety.ledger import remaining
from recsys.tokens import sign
from recsys.types import Candidates
from recsys.user.state import Ledger
from recsys.vocabulary import COUNTERS, FAMILIES, TIERS

CURSOR_TTL: Millis = DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """What makes tokens for one answer."""

    key: bytes
    request_id: str
    user_id: str
    at: Millis

    def tracking(self, item_no: int, position: int) -> str:
        """The token of one delivered item."""
        return sign(self.key, "t", self.user_id, self.request_id, item_no, position, self.at)

    def cursor(self) -> str:
        """The token that asks for the next page."""
        return sign(self.key, "c", self.user_id, self.request_id, self.at)


def items_of(
    request: FeedRequest, query: Query, candidates: Candidates, selection: Selection, signer: Signer
) -> list[FeedItem]:
    """The chosen rows, in order."""
    return [
        _item(request, query, candidates, selection, slot, int(row), signer) for slot, row in enumerate(selection.rows)
    ]


def _item(
    request: FeedRequest,
    query: Query,
    candidates: Candidates,
    selection: Selection,
    slot: int,
    row: int,
    signer: Signer,
) -> FeedItem:
    items, item_no = query.items, int(candidates.item_nos[row])
    near = query.nearness
    match = MATCHES[near.match[item_no]]
    sources = sources_of(candidates, row)
    found = codes(
        sources=sources,
        match=match,
        floor=selection.forced[slot],
        is_exploration=selection.is_exploration[slot],
        is_supportive=bool(candidates["is_supportive"][row]),
    )
    score, family = near.score[item_no], int(candidates["family"][row])
    source, sure = evidence(near, items, item_no, query.market)
    item = FeedItem(
        item_id=items.item_ids[item_no],
        creator_id=items.creator_ids[item_no],
        position=slot + 1,
        score=_plain(candidates["score"][row]),
        sources=sources,
        tier=TIERS[candidates["tier"][row]],
        family=FAMILIES[family] if family >= 0 else None,
        topics=topic_names(int(items.topics[item_no])),
        language=items.name(int(items.language[item_no])),
        locality=Locality(
            score=None if np.isnan(score) else _plain(score),
            match=match,
            source=source,
            confidence=_plain(sure),
        ),
        reasons=[] if request.explain == "none" else sentences(found, query.viewer.languages),
        is_exploration=selection.is_exploration[slot],
        propensity=_plain(selection.propensities[slot]),
        tracking_token=signer.tracking(item_no, slot + 1),
    )
    return _explained(item, candidates, row) if request.explain == "full" else item


def _explained(item: FeedItem, candidates: Candidates, row: int) -> FeedItem:
    parts = {
        name: _plain(candidates[f"p_{name}"][row]) for name in SCORERS if np.isfinite(candidates[f"p_{name}"][row])
    }
    return msgspec.structs.replace(item, score_parts=parts)


def sources_of(candidates: Candidates, row: int) -> list[str]:
    """The sources that returned a row, in their order."""
    ranks = [name for name in candidates.columns if name.startswith("rank_")]
    return [name.removeprefix("rank_") for name in ranks if not isnan(candidates[name][row])]


def _plain(number: float) -> float:
    """A float that prints short: six significant digits are more than any score means."""
    return float(f"{float(number):.6g}")


def safety_of(context: RequestContext, ledger: Ledger) -> Safety:
    """What bounds the person's feed after this page."""
    query = context.query
    return Safety(
        loop_level=context.state.safety.loop.level,
        age_band=query.viewer.age_band,
        is_night=context.is_night,
        remaining={name: dict(remaining(ledger, query.limits, name, context.at)) for name in COUNTERS},
    )


def shortfall_of(asked: int, most: int, n_items: int, *because: Mapping[str, int]) -> Shortfall:
    """How short a page is of what was `asked`; a pause left `most` places. Reasons only when something is missing."""
    merged: dict[str, int] = {"pause": asked - most} if most < asked else {}
    if n_items < most:
        for reasons in because:
            for reason, count in reasons.items():
                merged[reason] = merged.get(reason, 0) + count
    return Shortfall(missing=asked - n_items, because=merged)


def safe_response(
    request: FeedRequest, items: Iterable[FeedItem], *, at: Millis, model_version: str, policy_version: str, band: str
) -> FeedResponse:
    """The safe feed: no ledger, so only items that no cap counts (policy-spec 0)."""
    page = list(items)
    return FeedResponse(
        request_id=request.request_id or "",
        user_id=request.user_id,
        served_at=to_text(at),
        model_version=model_version,
        policy_version=policy_version,
        took_ms=0.0,
        items=page,
        cards=[],
        pause=None,
        shortfall=shortfall_of(request.size, request.size, len(page), {"ledger": request.size - len(page)}),
        degraded=["ledger"],
        experiments={},
        safety=Safety(loop_level=0, age_band=band, is_night=False, remaining={}),
        replayed=False,
        cursor=None,
    )


def safe_item(
    item_id: str, creator_id: str, position: int, topics: list[str], language: str | None, languages: tuple[str, ...]
) -> FeedItem:
    """One item of the safe list: a labelled, supportive R0 item."""
    reasons: list[Reason] = sentences(["safe", "supportive"], languages)
    return FeedItem(
        item_id=item_id,
        creator_id=creator_id,
        position=position,
        score=0.0,
        sources=["safe"],
        tier="R0",
        family=None,
        topics=topics,
        language=language,
        locality=Locality(score=None, match="unknown", source="none", confidence=0.0),
        reasons=reasons,
        is_exploration=False,
        propensity=1.0,
        tracking_token="",
    )
