"""
The slot loop: one page from scored candidates, against the exposure ledger.

At every slot the caps decide first what may come at all; then the supportive and the local floor keep only what
leaves every open run of 20 completable; then the score decides. Nothing is ever relaxed: when nothing is left, the
page is short. The candidates come best first; those that add to the same counters share a lane, so that a slot looks
at a few lanes and not at every candidate.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from recsys.clock import Millis
from recsys.ledger import RUN, counters_of, room, windows_of
from recsys.policy.limits import Limits
from recsys.state import Delivery, Ledger
from recsys.types import Candidates, Floats, Rows

EXPLORE_AT: Final = (10, 16)  # places within 20 deliveries that are given to exploration


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What the whole catalogue still offers this viewer: how many of any 20 could be supportive, and local."""

    supportive: int
    local: int
    local_share: float  # of what is eligible and unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorMiss:
    """A slot at which a floor could not be kept."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """
    The page: `rows` of the candidates in order, the propensity of each, and why it is as it is.

    `forced` names, per slot, the floor that narrowed the choice. `blocked` counts the candidates left at the end by
    what keeps them out. `refusals` counts the slots whose best-scored candidate only an R1 or R2 window kept out.
    """

    rows: Rows
    propensities: Floats
    is_exploration: tuple[bool, ...]
    forced: tuple[str, ...]
    blocked: Mapping[str, int]
    refusals: int
    floor_missed: tuple[FloorMiss, ...]


@dataclass(slots=True)
class _Meter:
    """One counter while a page is filled: what its windows still admit, and where it last appeared."""

    name: str
    room: int
    last_20: int | None
    gap: int
    is_zero: bool
    places: list[int] = field(default_factory=list)  # ascending; the first slot of the page is place 0

    def reason(self, place: int) -> str | None:
        """Why the counter admits nothing at `place`; None when it does."""
        if self.room <= 0:
            return f"cap:{self.name}"
        if self.places and self.places[-1] >= place - self.gap:
            return f"gap:{self.name}"
        if self.last_20 is not None and sum(p > place - RUN for p in self.places[-self.last_20 - 1 :]) >= self.last_20:
            return f"cap:{self.name}"
        return None


@dataclass(slots=True)
class _Lane:
    """Candidates that add to the same counters and floors, best first."""

    meters: tuple[_Meter, ...]
    is_supportive: bool
    is_local: bool
    rows: list[int]

    def reason(self, place: int) -> str | None:
        """The first counter that closes the lane at `place`."""
        return next((why for meter in self.meters if (why := meter.reason(place))), None)


@dataclass(slots=True)
class _Page:
    """The page being filled; only this module sees it."""

    candidates: Candidates
    lanes: list[_Lane]
    lane_of: list[int]
    creators: list[int]
    clusters: list[int]
    creator_places: dict[int, list[int]]
    creator_cap: int
    used_clusters: set[int]
    floors: dict[str, "_Floor"]
    head: int = 0  # the best row that is not on the page yet

    def is_spaced(self, row: int, place: int) -> bool:
        """Whether the creator appears less often than the cap in the run that ends here, and the cluster not yet."""
        if self.clusters[row] in self.used_clusters:
            return False
        places = self.creator_places.get(self.creators[row])
        return not places or sum(p > place - RUN for p in places) < self.creator_cap

    def best(self, lanes: Iterable[_Lane], place: int) -> int | None:
        """The best row of some lanes that spacing admits; rows are numbered best first."""
        heads = (next((row for row in lane.rows if self.is_spaced(row, place)), None) for lane in lanes)
        return min((row for row in heads if row is not None), default=None)


@dataclass(slots=True)
class _Floor:
    """One floor: how many of any 20 it asks for, and how many the last deliveries have."""

    wanted: int
    hits: list[bool]  # of the last 19 deliveries and the page so far, oldest first

    def owed(self) -> list[int]:
        """
        Per open run that ends j slots after this one (j = 0..19): how many of the next j + 1 slots it still needs.

        A run that would begin before the very first delivery is not complete and owes nothing.
        """
        recent = self.hits[-(RUN - 1) :]
        known = len(recent)
        tail = 0
        sums = [0]  # sums[m] = hits among the last m deliveries
        for hit in reversed(recent):
            tail += hit
            sums.append(tail)
        return [self.wanted - sums[RUN - 1 - j] if RUN - 1 - j <= known else 0 for j in range(RUN)]


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
) -> Selection:
    """
    Up to `size` rows of `candidates`, which come best first with the columns tier, family, is_s4, is_supportive,
    is_local, creator_no, cluster_no and is_explorable. All have passed the filters.
    """
    page = _open(candidates, ledger, limits, supply, supply_factor, at)
    rows: list[int] = []
    propensities: list[float] = []
    explored: list[bool] = []
    forced: list[str] = []
    missed: list[FloorMiss] = []
    refusals = 0
    for place in range(size):
        open_lanes = [lane for lane in page.lanes if lane.rows and lane.reason(place) is None]
        lanes, floor, misses = _keep_floors(page, open_lanes)
        row = page.best(lanes, place)
        if row is None and lanes is not open_lanes:
            misses = [FloorMiss(name=floor, reason="creator_spacing")]
            row, floor = page.best(open_lanes, place), ""
        missed += misses
        refusals += _is_refusal(page, row, place)
        if row is None:
            break
        may_explore = sum(explored) < explore_slots and (ledger.n_delivered + place) % RUN in EXPLORE_AT[:explore_slots]
        choice = _explorable(page, lanes, place) if may_explore else []
        if choice:
            row = choice[int(rng.integers(len(choice)))]
        _take(page, row, place)
        rows.append(row)
        propensities.append(1 / len(choice) if choice else 1.0)
        explored.append(bool(choice))
        forced.append(floor)
    return Selection(
        rows=np.array(rows, np.intp),
        propensities=np.array(propensities, np.float32),
        is_exploration=tuple(explored),
        forced=tuple(forced),
        blocked=_blocked(page, len(rows)) if len(rows) < size else {},
        refusals=refusals,
        floor_missed=tuple(missed),
    )


def _open(
    candidates: Candidates, ledger: Ledger, limits: Limits, supply: Supply, supply_factor: float, at: Millis
) -> _Page:
    meters: dict[str, _Meter] = {}
    lanes: dict[tuple[tuple[str, ...], bool, bool], _Lane] = {}
    lane_numbers: dict[int, int] = {}
    columns = [
        candidates[name].tolist()
        for name in ("tier", "family", "is_s4", "is_supportive", "is_local", "creator_no", "cluster_no")
    ]
    tiers, families, s4s, supportives, locals_, creators, clusters = columns
    lane_of = []
    for row, kind in enumerate(zip(tiers, families, s4s, supportives, locals_, strict=True)):
        tier, family, is_s4, is_supportive, is_local = kind
        key = (counters_of(tier, family, is_s4), is_supportive, is_local)
        lane = lanes.get(key)
        if lane is None:
            made = tuple(_meter(meters, name, ledger, limits, at) for name in key[0])
            lane = lanes[key] = _Lane(made, is_supportive, is_local, [])
            lane_numbers[id(lane)] = len(lanes) - 1
        lane.rows.append(row)
        lane_of.append(lane_numbers[id(lane)])
    return _Page(
        candidates=candidates,
        lanes=list(lanes.values()),
        lane_of=lane_of,
        creators=creators,
        clusters=clusters,
        creator_places=_places(ledger),
        creator_cap=RUN if limits.creator_last_20 is None else limits.creator_last_20,
        used_clusters=set(),
        floors=floors(ledger, limits, supply, supply_factor),
    )


def _meter(meters: dict[str, _Meter], name: str, ledger: Ledger, limits: Limits, at: Millis) -> _Meter:
    if name not in meters:
        windows = windows_of(limits, name)
        known = len(ledger.last)
        places = [n - known for n, d in enumerate(ledger.last) if name in counters_of(d.tier, d.family, d.is_s4)]
        is_zero = 0 in (windows.last_20, windows.session, windows.rolling_24h, windows.rolling_7d)
        meters[name] = _Meter(
            name, room(ledger, limits, name, at), windows.last_20, limits.gaps.get(name, 0), is_zero, places
        )
    return meters[name]


def _places(ledger: Ledger) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for n, d in enumerate(ledger.last[-(RUN - 1) :]):
        places.setdefault(d.creator_no, []).append(n - min(RUN - 1, len(ledger.last)))
    return places


def floors(ledger: Ledger, limits: Limits, supply: Supply, supply_factor: float) -> dict[str, _Floor]:
    """
    The two floors as counts of 20, lowered to what the catalogue can fill (policy-spec 0, Floors).
    """
    recent = ledger.last[-(RUN - 1) :]
    local_floor = min(limits.local_floor, supply_factor * supply.local_share)
    return {
        "supportive": _Floor(
            min(_of_20(limits.supportive_floor), supply.supportive), [d.is_supportive for d in recent]
        ),
        "local": _Floor(min(_of_20(local_floor), supply.local), [d.is_local for d in recent]),
    }


def _of_20(share: float) -> int:
    """floor(20 x share), where 0.15 x 20 is 3 and not 2.9999."""
    return int(RUN * share + 1e-9)


def _keep_floors(page: _Page, lanes: list[_Lane]) -> tuple[list[_Lane], str, list[FloorMiss]]:
    """
    The lanes from which every open run can still be completed: for the supportive floor, then also for the local one.

    When the next set is empty the previous one stays and the miss is counted.
    """
    supportive = page.floors["supportive"].owed()
    local = page.floors["local"].owed()
    both = any(lane.is_supportive and lane.is_local for lane in lanes)
    kept, named, missed = lanes, "", []
    for name, local_owed in (("supportive", [0] * RUN), ("local", local)):
        fits = {(s, o): _completable(supportive, local_owed, s, o, both) for s in (False, True) for o in (False, True)}
        if all(fits.values()):
            continue
        narrowed = [lane for lane in kept if fits[lane.is_supportive, lane.is_local]]
        if narrowed:
            kept, named = narrowed, name
        else:
            missed.append(FloorMiss(name=name, reason="no feasible candidate"))
    return kept, named, missed


def _completable(supportive: list[int], local: list[int], is_supportive: bool, is_local: bool, both: bool) -> bool:
    """
    Whether, after a choice here, the j later slots of every run can hold what it owes.

    Where items exist that serve both floors a slot can pay both debts; otherwise each debt needs its own slots.
    """
    for j, (s, o) in enumerate(zip(supportive, local, strict=True)):
        s, o = max(0, s - is_supportive), max(0, o - is_local)
        if (max(s, o) if both else s + o) > j:
            return False
    return True


def _is_refusal(page: _Page, chosen: int | None, place: int) -> bool:
    """Whether the best candidate left was kept out by an R1 or R2 window above 0, and by nothing else."""
    while page.head < len(page.clusters) and page.clusters[page.head] in page.used_clusters:
        page.head += 1
    if page.head >= len(page.clusters) or page.head == chosen:
        return False
    lane = page.lanes[page.lane_of[page.head]]
    closed = [meter for meter in lane.meters if meter.reason(place)]
    return bool(closed) and page.is_spaced(page.head, place) and all(m.name[0] == "R" and not m.is_zero for m in closed)


def _explorable(page: _Page, lanes: list[_Lane], place: int) -> list[int]:
    is_explorable = page.candidates["is_explorable"]
    return [row for lane in lanes for row in lane.rows if is_explorable[row] and page.is_spaced(row, place)]


def _take(page: _Page, row: int, place: int) -> None:
    lane = page.lanes[page.lane_of[row]]
    lane.rows.remove(row)
    for meter in lane.meters:
        meter.room -= 1
        meter.places.append(place)
    page.creator_places.setdefault(page.creators[row], []).append(place)
    page.used_clusters.add(page.clusters[row])
    page.floors["supportive"].hits.append(lane.is_supportive)
    page.floors["local"].hits.append(lane.is_local)


def _blocked(page: _Page, place: int) -> Mapping[str, int]:
    """What keeps each candidate that is left out of the next slot."""
    why: Counter[str] = Counter()
    for lane in page.lanes:
        reason = lane.reason(place)
        for row in lane.rows:
            if reason:
                why[reason] += 1
            elif page.clusters[row] in page.used_clusters:
                why["duplicate"] += 1
            else:
                why["creator_spacing"] += 1
    return dict(sorted(why.items()))


def delivered(candidates: Candidates, rows: Rows, at: Millis) -> tuple[Delivery, ...]:
    """The chosen rows as ledger entries."""
    names = ("cluster_no", "creator_no", "tier", "family", "is_s4", "is_supportive", "is_local", "topics")
    values = [candidates[name][rows].tolist() for name in names]
    return tuple(
        Delivery(at=at, item_no=item_no, **dict(zip(names, row, strict=True)))
        for item_no, row in zip(candidates.item_nos[rows].tolist(), zip(*values, strict=True), strict=True)
    )
