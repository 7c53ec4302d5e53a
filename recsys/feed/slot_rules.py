"""What a page starts from: what the ledger and the limits still admit, the floors, and which slots are explored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recsys.clock import Millis
from recsys.policy.limits import Limits
from recsys.safety.floors import Floor, Supply, of_20
from recsys.safety.ledger import FAMILY_COUNTERS, RUN, placed, room, served, windows_of
from recsys.user.state import LAST, Ledger

EXPLORE_AT: Final = (10, 16)  # places within 20 deliveries that are given to exploration
COUNTER_NAMES: Final = ("R1", "R2", "R1+R2", "S4", *FAMILY_COUNTERS)


@dataclass(slots=True)
class WindowCounter:
    """One counter while a page is filled: what its windows still admit, and where it last appeared."""

    name: str
    room: int
    last_20: int | None
    gap: int
    is_zero: bool
    places: list[int]  # ascending; the first slot of the page is place 0
    why: str | None = None  # why it admits nothing at the current place; None when it does

    def refresh(self, place: int) -> None:
        """Works out `why` for a place."""
        self.why = None
        if self.room <= 0:
            self.why = f"cap:{self.name}"
        elif self.places and self.places[-1] >= place - self.gap:
            self.why = f"gap:{self.name}"
        elif (
            self.last_20 is not None and sum(p > place - RUN for p in self.places[-self.last_20 - 1 :]) >= self.last_20
        ):
            self.why = f"cap:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRules:
    """
    What fills a page beside its candidates. The counters and floors change while it is filled.

    `counters` by name, in the order of `COUNTER_NAMES`. `recent` holds the creators of the last 19 deliveries, oldest
    first. `may_explore` says of each slot whether its place is one for exploration; `explore_slots` of them are
    explored at most, each from the best `explore_from` rows, 0 = from all. `n_local` and `n_new_creators` are counts of
    what the ledger knows.
    """

    counters: Mapping[str, WindowCounter]
    floors: tuple[Floor, Floor]
    recent: Sequence[int]
    creator_cap: int
    may_explore: Sequence[bool]
    explore_slots: int
    explore_from: int
    new_creator_share: float
    n_local: int
    n_new_creators: int


def slot_rules(
    ledger: Ledger,
    limits: Limits,
    page_floors: tuple[Floor, Floor],
    *,
    size: int,
    at: Millis,
    explore_slots: int,
    explore_from: int,
    new_creator_share: float,
) -> SlotRules:
    """The rules of a page of up to `size` slots that begins at `at`."""
    before, known = placed(ledger), served(ledger, LAST)
    explored_places = EXPLORE_AT[:explore_slots]
    places: dict[str, list[int]] = {name: [] for name in COUNTER_NAMES}
    for place, names in before:
        for name in names:
            places[name].append(place)
    return SlotRules(
        counters={name: _window_counter(name, places[name], ledger, limits, at) for name in COUNTER_NAMES},
        floors=page_floors,
        recent=[delivery.creator_no for delivery in served(ledger, RUN - 1)],
        creator_cap=RUN if limits.creator_last_20 is None else limits.creator_last_20,
        may_explore=[(ledger.n_delivered + place) % RUN in explored_places for place in range(size)],
        explore_slots=explore_slots,
        explore_from=explore_from,
        new_creator_share=new_creator_share,
        n_local=sum(delivery.is_local for delivery in known),
        n_new_creators=sum(delivery.is_new_creator for delivery in known),
    )


def _window_counter(name: str, places: list[int], ledger: Ledger, limits: Limits, at: Millis) -> WindowCounter:
    """`places` are those of the counter in `ledger.last`, ascending."""
    windows = windows_of(limits, name)
    return WindowCounter(
        name=name,
        room=room(ledger, limits, name, at),
        last_20=windows.last_20,
        gap=limits.gaps.get(name, 0),
        is_zero=0 in (windows.last_20, windows.session, windows.rolling_24h, windows.rolling_7d),
        places=places,
    )


def floors(ledger: Ledger, limits: Limits, supply: Supply, supply_factor: float) -> tuple[Floor, Floor]:
    """
    The supportive and the local floor as counts of 20, lowered to what the catalogue can fill (policy-spec 0, Floors).
    """
    recent = served(ledger, RUN - 1)
    local_floor = min(limits.local_floor, supply_factor * supply.local_share)
    return (
        Floor("supportive", min(of_20(limits.supportive_floor), supply.supportive), [d.is_supportive for d in recent]),
        Floor("local", min(of_20(local_floor), supply.local), [d.is_local for d in recent]),
    )
