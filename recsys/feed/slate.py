"""
The slot loop: one page from scored candidates, against the exposure ledger.

At every slot the caps decide first what may come at all; then the supportive and the local floor keep only what
leaves every open run of 20 feasible; then the score decides. Nothing is ever relaxed: when nothing is left, the
page is short. The candidates come best first; those that add to the same counters share a bucket, so that a slot looks
at a few buckets and not at every candidate.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.clock import Millis
from recsys.feed.compiled_slots import FilledPage, fill_page
from recsys.feed.slot_rules import SlotRules, WindowCounter, floors, slot_rules
from recsys.kernels import library
from recsys.policy.limits import Limits
from recsys.safety.copies import PageCopies
from recsys.safety.floors import BOTH, NO_DEFICIT, Floor, FloorKind, FloorMiss, Supply, feasible
from recsys.safety.ledger import RUN, counters_of
from recsys.types import Candidates, Floats, Rows
from recsys.user.state import Delivery, Ledger

__all__ = ["FloorMiss", "Selection", "Supply", "delivered", "floors", "select"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """
    The page: `rows` of the candidates in order, the propensity of each, and why it is as it is.

    `forced` names, per slot, the floor that narrowed the choice. `blocked` counts the candidates left at the end by
    what keeps them out. `refusals` counts the slots whose best-scored candidate only an R1 or R2 window kept out.
    `floor_missed` has one entry per complete run of 20 that ended below a floor on this page.
    """

    rows: Rows
    propensities: Floats
    is_exploration: tuple[bool, ...]
    forced: tuple[str, ...]
    blocked: Mapping[str, int]
    refusals: int
    floor_missed: tuple[FloorMiss, ...]


class _FilledSlot(NamedTuple):
    """One slot filled."""

    row: int
    propensity: float
    is_exploration: bool
    forced: str


@dataclass(slots=True)
class _Bucket:
    """Candidates that add to the same counters and floors, best first."""

    counters: tuple[WindowCounter, ...]
    kind: FloorKind
    rows: list[int]
    head: int = -1  # the best row that may come at the current place

    def why(self) -> str | None:
        """The first counter that closes the bucket at the current place."""
        for counter in self.counters:
            if counter.why:
                return counter.why
        return None


@dataclass(slots=True)
class _Page:
    """The page being filled; only this module sees it."""

    candidates: Candidates
    counters: Mapping[str, WindowCounter]
    buckets: list[_Bucket]
    bucket_of: list[int]
    creators: list[int]
    copies: PageCopies
    recent: list[int]  # creators of the last 19 deliveries and of the page so far
    often: Counter[int]  # the same, counted over the last 19
    creator_cap: int
    floors: tuple[Floor, Floor]
    new_creator_share: float  # of the local slots, as far as the ledger and the page know them
    n_local: int
    n_new_creators: int
    used: set[int] = field(default_factory=set)
    missed: list[FloorMiss] = field(default_factory=list)
    best_left: int = 0  # the best row that is not on the page yet

    def is_spaced(self, row: int) -> bool:
        """Whether the creator appears less often than the cap in the run that ends here, and the row is no copy."""
        return self.often[self.creators[row]] < self.creator_cap and not self.copies.binds(row)

    def open_buckets(self, place: int) -> list[_Bucket]:
        """The buckets that caps and spacing leave open at `place`, each with its best row as `head`."""
        for counter in self.counters.values():
            counter.refresh(place)
        buckets = []
        for bucket in self.buckets:
            if bucket.why() is None:
                bucket.head = next((row for row in bucket.rows if self.is_spaced(row)), -1)
                if bucket.head >= 0:
                    buckets.append(bucket)
        return buckets

    def take(self, row: int, place: int) -> None:
        """Puts a row on the page."""
        bucket = self.buckets[self.bucket_of[row]]
        bucket.rows.remove(row)
        for counter in bucket.counters:
            counter.room -= 1
            counter.places.append(place)
        self.used.add(row)
        self.copies.add(row)
        self.recent.append(self.creators[row])
        self.often[self.creators[row]] += 1
        if len(self.recent) >= RUN:
            self.often[self.recent[-RUN]] -= 1
        self.n_local += bucket.kind[1]
        self.n_new_creators += bool(self.candidates["is_new_creator"][row])
        misses = [floor.take(place, is_hit) for floor, is_hit in zip(self.floors, bucket.kind, strict=True)]
        self.missed += [miss for miss in misses if miss]


def select(
    candidates: Candidates,
    *,
    ledger: Ledger,
    limits: Limits,
    supply: Supply,
    supply_factor: float,
    size: int,
    at: Millis,
    rng: np.random.Generator,
    explore_slots: int,
    explore_from: int = 0,
    new_creator_share: float = 0.0,
) -> Selection:
    """
    Up to `size` rows of `candidates`, which come best first with the columns tier, family, is_s4, is_supportive,
    is_local, creator_no, is_explorable, is_new_creator and those of `safety.copies`. All have passed the filters.

    An explored slot is a uniform draw from `explore_from` of what may come, best first; 0 = from all of it.
    """
    rules = slot_rules(
        ledger,
        limits,
        floors(ledger, limits, supply, supply_factor),
        size=size,
        at=at,
        explore_slots=explore_slots,
        explore_from=explore_from,
        new_creator_share=new_creator_share,
    )
    native = library()
    filled = None if native is None else fill_page(native, candidates, rules, rng)
    return select_slot_by_slot(candidates, rules, rng) if filled is None else selection_of(filled)


def selection_of(filled: FilledPage) -> Selection:
    """The page that the compiled loop filled."""
    return Selection(
        rows=filled.rows.astype(np.intp),
        propensities=(1 / np.maximum(filled.n_drawn, 1)).astype(np.float32),
        is_exploration=tuple((filled.n_drawn > 0).tolist()),
        forced=filled.forced,
        blocked=filled.blocked,
        refusals=filled.refusals,
        floor_missed=filled.floor_missed,
    )


def select_slot_by_slot(candidates: Candidates, rules: SlotRules, rng: np.random.Generator) -> Selection:
    """The page, slot by slot: the specification of the compiled loop, which gives the same pages."""
    page = _open_page(candidates, rules)
    chosen: list[_FilledSlot] = []
    refusals = n_explored = 0
    for place, may_explore in enumerate(rules.may_explore):
        buckets, floor = _within_floors(page, page.open_buckets(place), place)
        row = min((bucket.head for bucket in buckets), default=None)
        refusals += _is_refusal(page, row)
        if row is None:
            break
        is_open = may_explore and n_explored < rules.explore_slots
        draw = _explorable(page, buckets)[: rules.explore_from or None] if is_open else []
        if draw:
            row = draw[int(rng.integers(len(draw)))]
            n_explored += 1
        page.take(row, place)
        chosen.append(_FilledSlot(row, 1 / max(1, len(draw)), bool(draw), floor))
    return Selection(
        rows=np.array([choice.row for choice in chosen], np.intp),
        propensities=np.array([choice.propensity for choice in chosen], np.float32),
        is_exploration=tuple(choice.is_exploration for choice in chosen),
        forced=tuple(choice.forced for choice in chosen),
        blocked=_blocked(page) if len(chosen) < len(rules.may_explore) else {},
        refusals=refusals,
        floor_missed=tuple(page.missed),
    )


def _open_page(candidates: Candidates, rules: SlotRules) -> _Page:
    buckets, bucket_of = _buckets(candidates, rules.counters)
    return _Page(
        candidates=candidates,
        counters=rules.counters,
        buckets=buckets,
        bucket_of=bucket_of,
        creators=candidates["creator_no"].tolist(),
        copies=PageCopies(candidates.columns),
        recent=[*rules.recent],
        often=Counter(rules.recent),
        creator_cap=rules.creator_cap,
        floors=rules.floors,
        new_creator_share=rules.new_creator_share,
        n_local=rules.n_local,
        n_new_creators=rules.n_new_creators,
    )


def _buckets(candidates: Candidates, counters: Mapping[str, WindowCounter]) -> tuple[list[_Bucket], list[int]]:
    """The buckets, and each row's bucket. Grouped by one number per kind, because 500 rows are too many to look at."""
    kinds = ("tier", "family", "is_s4", "is_supportive", "is_local")
    tier, family, is_s4, is_supportive, is_local = (candidates[name].astype(np.int64) for name in kinds)
    code = (((tier * 8 + np.where(tier >= 2, family + 1, 0)) * 2 + is_s4) * 2 + is_supportive) * 2 + is_local
    order = np.argsort(code, kind="stable")
    buckets: list[_Bucket] = []
    bucket_of: NDArray[np.intp] = np.empty(len(code), np.intp)
    for rows in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        if len(rows) == 0:
            continue  # no candidates at all
        first = rows[0]
        names = counters_of(int(tier[first]), int(family[first]), bool(is_s4[first]))
        bucket_of[rows] = len(buckets)
        buckets.append(
            _Bucket(
                tuple(counters[name] for name in names),
                (bool(is_supportive[first]), bool(is_local[first])),
                rows.tolist(),
            )
        )
    return buckets, bucket_of.tolist()


def _within_floors(page: _Page, buckets: list[_Bucket], place: int) -> tuple[list[_Bucket], str]:
    """
    The buckets from which every open run can still be completed, and the last floor that narrowed them.

    First for the supportive floor, then also for the local one, which may only choose among what the first one left.
    """
    kinds = {bucket.kind for bucket in buckets}
    supportive, local = (floor.deficits() for floor in page.floors)
    n_both = sum(len(bucket.rows) for bucket in buckets if bucket.kind == BOTH)
    after_supportive, lost = feasible(supportive, NO_DEFICIT, kinds, n_both)
    if lost:
        page.floors[0].mark_infeasible(place, lost, supportive, _infeasible_reason(page, kinds, 0))
        supportive = [0 if j in lost else deficit for j, deficit in enumerate(supportive)]
    narrowed, lost = feasible(supportive, local, after_supportive, n_both)
    if lost:
        page.floors[1].mark_infeasible(place, lost, local, _infeasible_reason(page, kinds, 1))
    named = "local" if narrowed != after_supportive else "supportive" if after_supportive != kinds else ""
    return [bucket for bucket in buckets if bucket.kind in narrowed], named


def _infeasible_reason(page: _Page, kinds: set[FloorKind], floor: int) -> str:
    """Why no candidate at hand saves a run of a floor (0 supportive, 1 local)."""
    if any(kind[floor] for kind in kinds):
        return "other floor"
    closed = [bucket for bucket in page.buckets if bucket.kind[floor] and bucket.rows]
    if not closed:
        return "no candidate"
    return next((why for bucket in closed if (why := bucket.why())), "creator_spacing")


def _is_refusal(page: _Page, chosen: int | None) -> bool:
    """Whether the best candidate left was kept out by an R1 or R2 window above 0, and by nothing else."""
    while page.best_left < len(page.creators) and (page.best_left in page.used or page.copies.binds(page.best_left)):
        page.best_left += 1
    if page.best_left >= len(page.creators) or page.best_left == chosen:
        return False
    bucket = page.buckets[page.bucket_of[page.best_left]]
    closed = [counter for counter in bucket.counters if counter.why]
    is_risk = all(counter.name[0] == "R" and not counter.is_zero for counter in closed)
    return bool(closed) and is_risk and page.is_spaced(page.best_left)


def _explorable(page: _Page, buckets: list[_Bucket]) -> list[int]:
    """
    Reviewed rows that caps, spacing and floors admit here, in order: of new creators alone, while those have less than
    their share of the local slots.
    """
    is_explorable = page.candidates["is_explorable"].tolist()
    rows = sorted(row for bucket in buckets for row in bucket.rows if is_explorable[row] and page.is_spaced(row))
    if page.n_new_creators and page.n_new_creators >= page.new_creator_share * page.n_local:
        return rows
    return [row for row in rows if page.candidates["is_new_creator"][row]] or rows


def _blocked(page: _Page) -> Mapping[str, int]:
    """What keeps each candidate that is left out of the slot at which the page ended."""
    why: Counter[str] = Counter()
    for bucket in page.buckets:
        reason = bucket.why()
        for row in bucket.rows:
            if reason:
                why[reason] += 1
            elif page.copies.binds(row):
                why["duplicate"] += 1
            else:
                why["creator_spacing"] += 1
    return dict(sorted(why.items()))


def delivered(candidates: Candidates, rows: Rows, at: Millis) -> tuple[Delivery, ...]:
    """The chosen rows as ledger entries."""
    names = ("creator_no", "tier", "family", "is_s4", "is_supportive", "is_local", "topics", "is_new_creator")
    columns = (candidates.item_nos, *(candidates[name] for name in names))
    return tuple(
        Delivery(
            at=at, item_no=item_no, creator_no=creator_no, tier=tier, family=family, is_s4=is_s4,
            is_supportive=is_supportive, is_local=is_local, topics=topics, is_new_creator=is_new_creator,
        )
        for item_no, creator_no, tier, family, is_s4, is_supportive, is_local, topics, is_new_creator in zip(
            *(column[rows].tolist() for column in columns), strict=True
        )
    )  # fmt: skip
