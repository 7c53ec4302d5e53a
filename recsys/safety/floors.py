"""
The two floors of a feed: of any 20 deliveries in a row so many are supportive, and so many are local.

A run of 20 is open while some of its places are still to be filled. At every slot only such candidates stay from which
every open run can still be completed: for the supportive floor first, then for the local one as well. A run that no
candidate can complete is infeasible. It is counted when it ends. The other runs bind as before, so that a raised floor
is reached as soon as it can be.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from recsys.safety.ledger import RUN

FloorKind = tuple[bool, bool]
"""What a candidate adds to the floors: is_supportive, is_local."""
BOTH: Final[FloorKind] = (True, True)
NO_DEFICIT: Final = (0,) * RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What the whole catalogue still offers this viewer: how many of any 20 could be supportive, and local."""

    supportive: int
    local: int
    local_share: float  # of what is eligible and unseen, in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorMiss:
    """A complete run of 20 that ended below a floor; `reason` is why it was infeasible."""

    name: str
    reason: str


@dataclass(slots=True)
class Floor:
    """
    One floor while a page is filled.

    `hits` tells of the last 19 deliveries and the page so far, oldest first, which ones count. `infeasible` maps the
    slot at which an infeasible run ends to the reason.
    """

    name: str
    wanted: int  # of any 20
    hits: list[bool]
    infeasible: dict[int, str] = field(default_factory=dict)

    def deficits(self) -> list[int]:
        """
        Per open run that ends j slots after this one (j = 0..19): how many of the next j + 1 slots it still needs.

        A run that would begin before the very first delivery is not complete and has no deficit.
        """
        if self.wanted == 0:
            return [*NO_DEFICIT]
        recent = self.hits[:-RUN:-1]  # newest first, at most 19
        sums = [*accumulate(recent, initial=0)]  # sums[m] = hits among the last m deliveries
        sums += [self.wanted] * (RUN - len(sums))
        return [self.wanted - hits if hits < self.wanted else 0 for hits in reversed(sums)]

    def mark_infeasible(self, place: int, runs: Sequence[int], deficits: Sequence[int], reason: str) -> None:
        """The runs that end `runs` slots after `place` cannot be completed; the first reason stands."""
        for j in runs:
            is_old = place == 0 and deficits[j] > j + 1
            self.infeasible.setdefault(place + j, "lost before this page" if is_old else reason)

    def take(self, place: int, is_hit: bool) -> FloorMiss | None:
        """One more delivery; the miss, when the run that it completes is below the floor."""
        self.hits.append(is_hit)
        if len(self.hits) < RUN or sum(self.hits[-RUN:]) >= self.wanted:
            return None
        return FloorMiss(name=self.name, reason=self.infeasible.get(place, "other floor"))


def of_20(share: float) -> int:
    """floor(20 x share), where 0.15 x 20 is 3 and not 2.9999."""
    return int(RUN * share + 1e-9)


def feasible(
    supportive: Sequence[int], local: Sequence[int], kinds: Set[FloorKind], n_both: int
) -> tuple[Set[FloorKind], list[int]]:
    """
    The kinds after which every run can still be completed, and the runs (j) that no kind at hand can complete.

    `supportive` and `local` are the deficits of each run; `n_both` candidates could reduce both with one slot. An
    infeasible run narrows nothing.
    """
    allowed, infeasible = set(kinds), []
    for j, (n_supportive, n_local) in enumerate(zip(supportive, local, strict=True)):
        if n_supportive + n_local <= j:
            continue  # whatever comes here, the later slots suffice
        completing = {kind for kind in kinds if _slots_needed(n_supportive, n_local, kind, n_both) <= j}
        if completing:
            allowed &= completing
        else:
            infeasible.append(j)
    return allowed or kinds, infeasible


def _slots_needed(supportive: int, local: int, kind: FloorKind, n_both: int) -> int:
    """How many later slots a run needs after a choice of this kind."""
    supportive, local = max(0, supportive - kind[0]), max(0, local - kind[1])
    return supportive + local - max(0, min(supportive, local, n_both - (kind == BOTH)))
