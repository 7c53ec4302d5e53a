"""
A policy tried on logged requests before a rollout: each page chosen again from its decision record, under the other
policy's caps, gaps and floors.

The candidates are those of the record. What a looser policy would have let in as a candidate was not retrieved then,
so a preview of a looser policy says the least that changes; of a stricter one, all of it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from recsys.feed import record as records
from recsys.feed.record import Decision
from recsys.feed.slate import select
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.limits import Limits, meet
from recsys.types import Candidates, Mask
from recsys.vocabulary import TIERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One request before and after, as item numbers in order."""

    request_id: str
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """
    What a policy would change: the pages that differ, tier counts before and after, items missing before and after.
    """

    n_requests: int
    changed: tuple[Changed, ...]
    tiers_before: Mapping[str, int]
    tiers_after: Mapping[str, int]
    missing_before: int
    missing_after: int


def preview(policy: CompiledPolicy, decisions: Iterable[Decision]) -> Preview:
    """Every decision again under the policy of `book`."""
    changed: list[Changed] = []
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    n_requests = missing_before = missing_after = 0
    for decision in decisions:
        n_requests += 1
        candidates = records.candidates_of(decision)
        old = candidates.take(np.array(decision.chosen, np.intp))
        new = again(policy, decision, candidates)
        before.update(_tiers(old))
        after.update(_tiers(new))
        missing_before += decision.size - len(old)
        missing_after += decision.size - len(new)
        pages = tuple(old.item_nos.tolist()), tuple(new.item_nos.tolist())
        if pages[0] != pages[1]:
            changed.append(Changed(request_id=decision.request_id, before=pages[0], after=pages[1]))
    return Preview(
        n_requests=n_requests,
        changed=tuple(changed),
        tiers_before={tier: before[tier] for tier in TIERS},
        tiers_after={tier: after[tier] for tier in TIERS},
        missing_before=missing_before,
        missing_after=missing_after,
    )


def again(policy: CompiledPolicy, decision: Decision, candidates: Candidates) -> Candidates:
    """The page that the policy would choose from a record's candidates, in order."""
    market = policy.market
    limits = meet(
        policy.limits[decision.age_band, decision.loop_level, decision.is_bound_by_night], decision.personal_limits
    )
    allowed = candidates.take(_allowed(candidates, limits))
    selection = select(
        allowed,
        ledger=decision.ledger,
        limits=limits,
        supply=decision.supply,
        supply_factor=market.locality.supply_factor,
        size=decision.size,
        at=decision.at,
        rng=np.random.default_rng([decision.seed, 2]),
        explore_slots=market.exploration.slots,
        explore_from=market.exploration.draw_from,
        new_creator_share=market.locality.new_creator.share,
    )
    return allowed.take(selection.rows)


def _allowed(candidates: Candidates, limits: Limits) -> Mask:
    return ~np.isin(candidates["tier"], [3, 4, *limits.blocked_tiers])


def _tiers(page: Candidates) -> list[str]:
    return [TIERS[tier] for tier in page["tier"]]
