"""
What one simulated life adds up to: by the answers of the engine (`measure_exposure`), or for any ranker by the truth
about the videos that were shown (`measure_shares`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from eval.simulation.closed_loop import PersonLog, SharedTruth
from eval.simulation.recount import (
    RUN_LENGTH,
    CountedDelivery,
    FullestWindow,
    deliveries_of,
    longest_streak,
    most_in_any_run,
    recount,
)
from recsys.clock import DAY, Millis
from recsys.feed.record import Decision
from recsys.policy.schema import Market
from recsys.types import Mask, Reals

ESCAPE_RUN: Final = 50  # deliveries over which the R2 share decides whether a loop is over
ESCAPE_FACTOR: Final = 1.2  # times the catalogue's own R2 share
N_SUPPORTIVE_TOPICS: Final = 10  # S1 to S10

RecordOf = Callable[[str], Decision]
"""The decision record of a request id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorCount:
    """Complete runs of 20: how many, below the policy's floor, and of these below what the catalogue could fill."""

    runs: int = 0
    below: int = 0
    below_supply: int = 0

    def plus(self, other: "FloorCount") -> "FloorCount":
        """Both counts together."""
        return FloorCount(
            runs=self.runs + other.runs,
            below=self.below + other.below,
            below_supply=self.below_supply + other.below_supply,
        )


@dataclass(slots=True, kw_only=True)
class ExposureTotals:
    """
    The exposure of one person, or of many added up; `n` deliveries, of which the counts are parts.

    `fullest` by (band, counter, window): the fullest window and who had it. `most_20`, `most_50`: R2 in any so many
    deliveries; `longest`: R2 in a row. `short` pages, and `missing` how many of them name each reason. `levels`: pages
    by loop level. `raised`: people whose level a signal had raised at the end of their days. `cpu_us` one per page.
    """

    name: str
    n: int = 0
    n_people: int = 0
    violations: list[str] = field(default_factory=list)
    fullest: dict[tuple[str, str, str], tuple[FullestWindow, str]] = field(default_factory=dict)
    tiers: Counter[str] = field(default_factory=Counter)
    most_20: int = 0
    most_50: int = 0
    longest: int = 0
    supportive: int = 0
    local: int = 0
    night: int = 0
    pages: int = 0
    short: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    levels: Counter[int] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    cpu_us: list[float] = field(default_factory=list)
    floors: dict[str, FloorCount] = field(default_factory=dict)
    floor_reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: "ExposureTotals") -> None:
        """Adds another person."""
        for name in ("n", "n_people", "supportive", "local", "night", "pages", "short"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("most_20", "most_50", "longest"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        for name in ("tiers", "missing", "levels", "raised", "floor_reasons"):
            getattr(self, name).update(getattr(other, name))
        self.violations += other.violations
        self.cpu_us += other.cpu_us
        for key, (window, who) in other.fullest.items():
            old = self.fullest.get(key)
            if old is None or (window.n, -window.cap) > (old[0].n, -old[0].cap):
                self.fullest[key] = window, who
        for floor, count in other.floors.items():
            self.floors[floor] = self.floors.get(floor, FloorCount()).plus(count)


def measure_exposure(log: PersonLog, market: Market, record_of: RecordOf) -> ExposureTotals:
    """The exposure of one person by the answers of the engine; `record_of` is read where a floor fails."""
    deliveries, problems = deliveries_of(log, market)
    persona, user_id = log.member.persona.name, log.member.user_id
    counted = recount(deliveries, market, user_id, log.reported)
    is_r2 = [delivery.item.tier == "R2" for delivery in deliveries]
    result = ExposureTotals(
        name=persona,
        n=len(deliveries),
        n_people=1,
        violations=problems + counted.violations,
        tiers=Counter(delivery.item.tier for delivery in deliveries),
        most_20=most_in_any_run(is_r2, 20),
        most_50=most_in_any_run(is_r2, 50),
        longest=longest_streak(is_r2),
        supportive=sum(_is_supportive(delivery, market) for delivery in deliveries),
        local=sum(_is_floor_eligible(delivery, market) for delivery in deliveries),
        night=sum(delivery.is_night for delivery in deliveries),
    )
    who = f"{persona}, {'blind' if log.member.is_blind else 'own'}"
    result.fullest = {key: (window, who) for key, window in counted.fullest.items()}
    _count_pages(log, result)
    _count_floors(log, deliveries, market, record_of, result)
    return result


def _is_supportive(delivery: CountedDelivery, market: Market) -> bool:
    return delivery.item.tier == "R0" and not set(delivery.item.topics).isdisjoint(market.supportive_topics)


def _is_floor_eligible(delivery: CountedDelivery, market: Market) -> bool:
    """Near, and by evidence that is enough for a slot of the local floor: a creator's own word is not."""
    near = delivery.item.locality
    has_evidence = near.source not in ("declared", "inferred", "none")
    return has_evidence and (near.score or 0.0) >= market.locality.local_from - 1e-9


def _count_pages(log: PersonLog, result: ExposureTotals) -> None:
    for page in log.pages:
        response = page.answer.response
        if response is None or response.replayed:
            continue
        result.pages += 1
        result.levels[response.safety.loop_level] += 1
        result.cpu_us.append(page.answer.cpu_us)
        if response.shortfall.missing:
            result.short += 1
            result.missing.update(set(response.shortfall.because))


def _count_floors(
    log: PersonLog,
    deliveries: Sequence[CountedDelivery],
    market: Market,
    record_of: RecordOf,
    result: ExposureTotals,
) -> None:
    """Every complete run of 20 against the policy's floor, and against what the catalogue could fill at the time."""
    records: dict[int, Decision] = {}  # by page, of those with a run below a floor
    n_missed: Counter[int] = Counter()  # by page
    for name, is_hit in (("supportive", _is_supportive), ("local", _is_floor_eligible)):
        sums = np.cumsum([0, *(is_hit(delivery, market) for delivery in deliveries)])
        below = below_supply = 0
        for place in range(RUN_LENGTH - 1, len(deliveries)):
            delivery, count = deliveries[place], int(sums[place + 1] - sums[place + 1 - RUN_LENGTH])
            if count >= _required(name, delivery, market):
                continue
            below += 1
            if delivery.page not in records:
                records[delivery.page] = record_of(_request_id(log, delivery.page))
            is_missed = count < _fillable(name, records[delivery.page])
            below_supply += is_missed
            n_missed[delivery.page] += is_missed
        n_runs = max(0, len(deliveries) - RUN_LENGTH + 1)
        result.floors[name] = FloorCount(runs=n_runs, below=below, below_supply=below_supply)
    for record in records.values():
        result.floor_reasons.update(record.floor_missed)
    result.violations += _wrong_floor_reports(log, deliveries, records, n_missed)


def _request_id(log: PersonLog, page: int) -> str:
    response = log.pages[page].answer.response
    return response.request_id if response else ""


def _wrong_floor_reports(
    log: PersonLog, deliveries: Sequence[CountedDelivery], records: Mapping[int, Decision], n_missed: Counter[int]
) -> list[str]:
    """
    Pages whose record reports another number of missed runs than the recount. Runs that begin with opens before
    joining are known to the engine alone, so the first pages of people with a risky past are left out.
    """
    has_past = bool(log.member.persona.risky_past)
    first_pages = {delivery.page for delivery in deliveries[: RUN_LENGTH - 1]} if has_past else set()
    return [
        f"{log.member.user_id}: page {page} has {n_missed[page]} runs below a floor, the engine reported "
        f"{len(record.floor_missed)}"
        for page, record in records.items()
        if page not in first_pages and n_missed[page] != len(record.floor_missed)
    ]


def _required(name: str, delivery: CountedDelivery, market: Market) -> int:
    """The floor of the market's file in 20, before supply lowers it."""
    rules = market.ages[delivery.band]
    at_level = rules.levels[delivery.level].supportive_floor if delivery.level else 0.0
    share = max(rules.supportive_floor, at_level) if name == "supportive" else market.locality.floor
    return int(RUN_LENGTH * share + 1e-9)


def _fillable(name: str, record: Decision) -> int:
    """The floor in 20 that the catalogue could fill for the person at that page."""
    if name == "supportive":
        return min(int(RUN_LENGTH * record.limits.supportive_floor + 1e-9), record.supply.supportive)
    share = min(record.limits.local_floor, record.supply_factor * record.supply.local_share)
    return min(int(RUN_LENGTH * share + 1e-9), record.supply.local)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueShares:
    """
    What one person was shown by the truth of the world, whatever its labels say; NaN without a delivery.

    `daily`: the R2 share of each day. `escape`: deliveries after recovery until the last 50 hold less than 1.2 times
    the catalogue's R2 share; the number of deliveries left when they never do; NaN for a persona that does not recover.
    """

    n: int
    r2: float
    r1_r2: float
    most_20: int
    longest: int
    supportive: float
    local: float
    watched: float
    escape: float
    daily: tuple[float, ...]


def measure_shares(
    log: PersonLog, shared: SharedTruth, is_local: Mask, *, catalogue_r2: float, starts_at: Millis, days: int
) -> TrueShares:
    """`is_local` (n_items,) by row of the items table; `catalogue_r2` is the share of R2 in the catalogue."""
    pages = [page for page in log.pages if not page.is_repeat]
    rows = np.concatenate([np.empty(0, np.int64), *(page.rows for page in pages)])
    watched: Reals = np.concatenate([np.empty(0), *(page.watched for page in pages)])
    day = np.concatenate([np.empty(0, int), *(np.full(len(p.rows), (p.at - starts_at) // DAY) for p in pages)])
    has_recovered = np.concatenate([np.empty(0, bool), *(np.full(len(p.rows), p.has_recovered) for p in pages)])
    items = shared.truth.items
    tier = items.tier[rows]
    is_on_topic = (items.topic[rows] < N_SUPPORTIVE_TOPICS) | (items.second_topic[rows] >= 0)
    is_r2 = (tier >= 2).tolist()
    return TrueShares(
        n=len(rows),
        r2=_mean(tier >= 2),
        r1_r2=_mean(tier >= 1),
        most_20=most_in_any_run(is_r2, 20),
        longest=longest_streak(is_r2),
        supportive=_mean((tier == 0) & is_on_topic),
        local=_mean(is_local[rows]),
        watched=float(np.nanmean(watched)) if len(rows) else float("nan"),
        escape=_escape(is_r2, has_recovered, catalogue_r2) if log.member.persona.recovers else float("nan"),
        daily=tuple(_mean(tier[day == d] >= 2) for d in range(days)),
    )


def _mean(mask: Mask) -> float:
    return float(mask.mean()) if len(mask) else float("nan")


def _escape(is_r2: Sequence[bool], has_recovered: Mask, catalogue_r2: float) -> float:
    first = int(np.argmax(has_recovered)) if has_recovered.any() else len(is_r2)
    for place in range(first, len(is_r2)):
        recent = is_r2[max(0, place + 1 - ESCAPE_RUN) : place + 1]
        if sum(recent) / len(recent) < ESCAPE_FACTOR * catalogue_r2:
            return float(place - first)
    return float(len(is_r2) - first)
