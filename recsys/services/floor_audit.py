"""
Whether the local floor was kept: the exact count over runs of 20, and a statistical test of prefixes beside it.

The exact count is the promise (policy-spec 0): every complete run of 20 holds at least what was promised at its end. It
shares no arithmetic with the slot loop. The prefix test (FA*IR, Zehlike et al. 2017) asks another question, whether a
ranking looks as if local items were drawn with at least the floor's chance; it says nothing on runs, and a page that
keeps the floor by its last slots fails it. It is a report and enforces nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final

import msgspec
import numpy as np

from recsys.feed.record import Decision, candidates_of

RUN: Final = 20
ALPHA: Final = 0.1  # the chance of refusing a fair ranking


class FloorAudit(msgspec.Struct, frozen=True, kw_only=True):
    """
    Complete runs of 20: how many there are, below the policy's floor, and below what the catalogue could fill; why,
    by the engine's own records; and pages of at least 10 slots: how many, and how many fail the prefix test.
    """

    runs: int
    below_policy: int
    below_supply: int
    reasons: dict[str, int]
    pages: int
    prefix_failures: int

    def plus(self, other: "FloorAudit") -> "FloorAudit":
        """Both counts together."""
        return FloorAudit(
            runs=self.runs + other.runs,
            below_policy=self.below_policy + other.below_policy,
            below_supply=self.below_supply + other.below_supply,
            reasons=dict(sorted((Counter(self.reasons) + Counter(other.reasons)).items())),
            pages=self.pages + other.pages,
            prefix_failures=self.prefix_failures + other.prefix_failures,
        )


NOTHING: Final = FloorAudit(runs=0, below_policy=0, below_supply=0, reasons={}, pages=0, prefix_failures=0)


def below(hits: Sequence[bool], wanted: int, first: int = 0) -> int:
    """How many complete runs of 20 that end at `first` or later hold fewer than `wanted` hits."""
    sums = np.cumsum([0, *hits])
    counts = sums[RUN:] - sums[:-RUN] if len(hits) >= RUN else np.empty(0, np.int64)
    return int((counts[max(0, first - RUN + 1) :] < wanted).sum())


def runs(n: int, first: int = 0) -> int:
    """How many complete runs of 20 end at `first` or later among n deliveries."""
    return max(0, n - max(RUN - 1, first))


def audit(decision: Decision) -> FloorAudit:
    """One record: the runs that end on its page, the deliveries before it included."""
    before = [d.is_local for d in decision.ledger.last if not d.is_open]
    page = candidates_of(decision)["is_local"][decision.chosen].tolist()
    hits = [*before, *page]
    missed = [reason for reason in decision.floor_missed if reason.startswith("local: ")]
    is_long = len(page) >= RUN // 2
    return FloorAudit(
        runs=runs(len(hits), len(before)),
        below_policy=below(hits, _of_20(decision.limits.local_floor), len(before)),
        below_supply=below(hits, fillable(decision), len(before)),
        reasons=dict(sorted(Counter(reason.removeprefix("local: ") for reason in missed).items())),
        pages=int(is_long),
        prefix_failures=int(is_long and not is_fair(page, fillable(decision) / RUN)),
    )


def audit_all(decisions: Iterable[Decision]) -> FloorAudit:
    """Many records."""
    total = NOTHING
    for decision in decisions:
        total = total.plus(audit(decision))
    return total


def fillable(decision: Decision) -> int:
    """The local floor in 20 that the catalogue could fill for the person at that page."""
    share = min(decision.limits.local_floor, decision.supply_factor * decision.supply.local_share)
    return min(_of_20(share), decision.supply.local)


def _of_20(share: float) -> int:
    return int(RUN * share + 1e-9)


def is_fair(hits: Sequence[bool], share: float, alpha: float = ALPHA) -> bool:
    """
    The FA*IR test: every prefix holds at least the hits that a draw with chance `share` leaves out with a chance of at
    most `alpha` in any prefix.
    """
    minima = _minima(len(hits), share, alpha)
    return all(n_hits >= least for n_hits, least in zip(np.cumsum(hits).tolist(), minima, strict=True))


@cache
def _minima(n: int, share: float, alpha: float) -> tuple[int, ...]:
    """
    The least hits of each prefix. Testing many prefixes refuses too many fair rankings, so each is tested at a smaller
    level, the largest at which all of them together refuse at most `alpha`.
    """
    low, high = 0.0, alpha
    for _ in range(30):
        middle = (low + high) / 2
        if refused(_quantiles(n, share, middle), share) > alpha:
            high = middle
        else:
            low = middle
    return _quantiles(n, share, low)


def _quantiles(n: int, share: float, alpha: float) -> tuple[int, ...]:
    """For each prefix the smallest count whose lower tail, itself included, is more likely than `alpha`."""
    chances, quantiles = np.array([1.0]), []
    for _ in range(n):
        chances = np.convolve(chances, [1 - share, share])
        quantiles.append(int(np.argmax(np.cumsum(chances) > alpha)))
    return tuple(quantiles)


def refused(minima: Sequence[int], share: float) -> float:
    """The chance that a draw with chance `share` at every place falls below the minima somewhere."""
    chances, lost = np.array([1.0]), 0.0
    for least in minima:
        chances = np.convolve(chances, [1 - share, share])
        lost += float(chances[:least].sum())
        chances[:least] = 0.0
    return lost


def as_sentence(audited: FloorAudit) -> str:
    """The audit in a sentence."""
    if not audited.runs:
        return "No complete run of 20 was delivered, so there is no local floor to audit."
    n_held = audited.runs - audited.below_supply
    why: Mapping[str, int] = audited.reasons
    because = f" ({', '.join(f'{reason} {n:,}' for reason, n in why.items())})" if why else ""
    return (
        f"Of {audited.runs:,} complete runs of 20, {n_held:,} ({n_held / audited.runs:.1%}) hold the local floor as "
        f"supply allows{because}; {audited.below_policy:,} are below the policy's floor. {audited.prefix_failures:,} "
        f"of {audited.pages:,} pages fail the prefix test."
    )
