"""
What one life adds up to: for the engine, everything its answers say (`exposure_of`); for any ranker, what the truth
says of the videos that were shown (`shares_of`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from eval.simulation.closed_loop import Life, Stage
from eval.simulation.recount import RUN, Recount, Shown, Worst, history, longest_run, most_in_any, recount
from eval.simulation.world.model import Reals
from recsys.clock import DAY, Millis
from recsys.feed.record import Decision
from recsys.policy.schema import Market
from recsys.types import Mask

ESCAPE_RUN = 50  # deliveries over which the share is taken that says whether a loop is over
ESCAPE_FACTOR = 1.2  # times the catalogue's own share


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorCount:
    """Complete runs of 20: how many, below the policy's floor, and below it although the catalogue could fill it."""

    runs: int = 0
    below: int = 0
    with_supply: int = 0

    def plus(self, other: "FloorCount") -> "FloorCount":
        """Both counts together."""
        return FloorCount(
            runs=self.runs + other.runs, below=self.below + other.below,
            with_supply=self.with_supply + other.with_supply,
        )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Exposure:
    """One person's exposure, or that of many added up. Shares are counts of deliveries; `micros` one per page."""

    name: str
    n: int = 0
    n_people: int = 0
    violations: list[str] = field(default_factory=list)
    worst: dict[tuple[str, str, str], tuple[Worst, str]] = field(default_factory=dict)
    tiers: Counter[str] = field(default_factory=Counter)
    most_20: int = 0
    most_50: int = 0
    longest: int = 0
    supportive: int = 0
    local: int = 0
    night: int = 0
    pages: int = 0
    short: int = 0
    missing: Counter[str] = field(default_factory=Counter)  # pages short, by each reason named
    levels: Counter[int] = field(default_factory=Counter)  # pages by loop level
    raised: Counter[str] = field(
        default_factory=Counter
    )  # people whose level rose by a signal, at the end of their days
    micros: list[float] = field(default_factory=list)
    floors: dict[str, FloorCount] = field(default_factory=dict)
    floor_reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Exposure") -> None:
        """Adds another person."""
        for name in ("n", "n_people", "supportive", "local", "night", "pages", "short"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("most_20", "most_50", "longest"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        for name in ("tiers", "missing", "levels", "raised", "floor_reasons"):
            getattr(self, name).update(getattr(other, name))
        self.violations += other.violations
        self.micros += other.micros
        for key, (worst, who) in other.worst.items():
            old = self.worst.get(key)
            if old is None or (worst.found, -worst.cap) > (old[0].found, -old[0].cap):
                self.worst[key] = worst, who
        for key_, count in other.floors.items():
            self.floors[key_] = self.floors.get(key_, FloorCount()).plus(count)


def exposure_of(life: Life, market: Market, decision: Callable[[str], Decision]) -> Exposure:
    """What the engine did to one person; `decision` gives the record of a request, read where a floor fails."""
    shown, wrong = history(life, market)
    counted: Recount = recount(shown, market, life.member.user_id)
    who = f"{life.member.persona.name}, {'blind' if life.member.is_blind else 'own'}"
    result = Exposure(name=life.member.persona.name, n=len(shown), n_people=1, violations=wrong + counted.violations)
    result.worst = {key: (worst, who) for key, worst in counted.worst.items()}
    risky = [one.item.tier == "R2" for one in shown]
    result.tiers.update(one.item.tier for one in shown)
    result.most_20, result.most_50, result.longest = most_in_any(risky, 20), most_in_any(risky, 50), longest_run(risky)
    result.supportive = sum(_is_supportive(one, market) for one in shown)
    result.local = sum(_is_local(one, market) for one in shown)
    result.night = sum(one.is_night for one in shown)
    _pages(life, result)
    _floors(life, shown, market, decision, result)
    return result


def _is_supportive(one: Shown, market: Market) -> bool:
    return one.item.tier == "R0" and not set(one.item.topics).isdisjoint(market.supportive_topics)


def _is_local(one: Shown, market: Market) -> bool:
    """Near, and by evidence that a slot of the floor takes: a creator's own word is not enough."""
    near = one.item.locality
    is_floor_eligible = near.source not in ("declared", "inferred", "none")
    return is_floor_eligible and (near.score or 0.0) >= market.locality.local_from - 1e-9


def _pages(life: Life, result: Exposure) -> None:
    for page in life.pages:
        response = page.answer.response
        if response is None or response.replayed:
            continue
        result.pages += 1
        result.levels[response.safety.loop_level] += 1
        result.micros.append(page.answer.micros)
        if response.shortfall.missing:
            result.short += 1
            result.missing.update(set(response.shortfall.because))


def _floors(
    life: Life, shown: Sequence[Shown], market: Market, decision: Callable[[str], Decision], result: Exposure
) -> None:
    """Every complete run of 20 against the policy's floor, and against what the catalogue could fill at the time."""
    hits = {
        "supportive": np.cumsum([0, *(_is_supportive(one, market) for one in shown)]),
        "local": np.cumsum([0, *(_is_local(one, market) for one in shown)]),
    }
    n_runs = max(0, len(shown) - RUN + 1)
    records: dict[int, Decision] = {}
    found: Counter[int] = Counter()  # by page
    for name, sums in hits.items():
        below = with_supply = 0
        for place in range(RUN - 1, len(shown)):
            one, count = shown[place], int(sums[place + 1] - sums[place + 1 - RUN])
            if count >= _promised(name, one, market):
                continue
            below += 1
            if one.page not in records:
                response = life.pages[one.page].answer.response
                records[one.page] = decision(response.request_id if response else "")
            is_missed = count < _fillable(name, records[one.page])
            with_supply += is_missed
            found[one.page] += is_missed
        result.floors[name] = FloorCount(runs=n_runs, below=below, with_supply=with_supply)
    joined = {one.page for one in shown[: RUN - 1]} if life.member.persona.risky_past else set()
    for page, record in records.items():
        result.floor_reasons.update(record.floor_missed)
        # runs that begin with what was opened before joining are the engine's alone: no answer shows them
        if page not in joined and found[page] != len(record.floor_missed):
            who, told = life.member.user_id, len(record.floor_missed)
            result.violations.append(f"{who}: page {page} has {found[page]} runs below a floor, the engine told {told}")


def _promised(name: str, one: Shown, market: Market) -> int:
    """The floor of the market's file in 20, before supply lowers it."""
    rules = market.ages[one.band]
    tabled = rules.levels[one.level].supportive_floor if one.level else 0.0
    share = max(rules.supportive_floor, tabled) if name == "supportive" else market.locality.floor
    return int(RUN * share + 1e-9)


def _fillable(name: str, record: Decision) -> int:
    """The floor in 20 that the catalogue could fill for the person at that page."""
    if name == "supportive":
        return min(int(RUN * record.limits.supportive_floor + 1e-9), record.supply.supportive)
    share = min(record.limits.local_floor, record.supply_factor * record.supply.local_share)
    return min(int(RUN * share + 1e-9), record.supply.local)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """
    What one person was shown by the truth of the world, whatever its labels say. `daily` is the R2 share of each day,
    NaN without a delivery. `escape` counts the deliveries after recovery until the last 50 hold less than 1.2 times the
    catalogue's share of R2; NaN for whoever does not recover, and the number of deliveries left when it never does.
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


def shares_of(life: Life, stage: Stage, is_local: Mask, *, catalogue_r2: float, starts_at: Millis, days: int) -> Shares:
    """`is_local` (n_items,) says which videos are near the person; `catalogue_r2` the share of R2 there is."""
    pages = [page for page in life.pages if not page.is_repeat]
    rows = np.concatenate([np.empty(0, np.int64), *(page.rows for page in pages)])
    watched: Reals = np.concatenate([np.empty(0), *(page.watched for page in pages)])
    day = np.concatenate([np.empty(0, int), *(np.full(len(p.rows), (p.at - starts_at) // DAY) for p in pages)])
    recovered = np.concatenate([np.empty(0, bool), *(np.full(len(p.rows), p.has_recovered) for p in pages)])
    things = stage.truth.items
    tier, flags = things.tier[rows], (things.tier[rows] >= 2).tolist()
    is_supportive = (tier == 0) & ((things.topic[rows] < 10) | (things.second_topic[rows] >= 0))
    per_day = [tier[day == d] >= 2 for d in range(days)]
    return Shares(
        n=len(rows),
        r2=float(np.mean(tier >= 2)) if len(rows) else float("nan"),
        r1_r2=float(np.mean(tier >= 1)) if len(rows) else float("nan"),
        most_20=most_in_any(flags, 20),
        longest=longest_run(flags),
        supportive=float(is_supportive.mean()) if len(rows) else float("nan"),
        local=float(is_local[rows].mean()) if len(rows) else float("nan"),
        watched=float(np.nanmean(watched)) if len(rows) else float("nan"),
        escape=_escape(flags, recovered, catalogue_r2) if life.member.persona.recovers else float("nan"),
        daily=tuple(float(part.mean()) if len(part) else float("nan") for part in per_day),
    )


def _escape(flags: Sequence[bool], recovered: Mask, catalogue_r2: float) -> float:
    first = int(np.argmax(recovered)) if recovered.any() else len(flags)
    for place in range(first, len(flags)):
        recent = flags[max(0, place + 1 - ESCAPE_RUN) : place + 1]
        if sum(recent) / len(recent) < ESCAPE_FACTOR * catalogue_r2:
            return float(place - first)
    return float(len(flags) - first)
