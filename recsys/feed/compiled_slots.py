"""
The compiled slot loop: what `recsys.feed.slate` works out slot by slot, handed to C (recsys/kernels/slots.c) and back.

Nothing is decided here: counters, floors and the ledger come from the slate, which is the specification.
"""

from collections.abc import Mapping
from ctypes import CDLL, Structure, byref, c_double, c_int64, c_void_p
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recsys.feed.slot_rules import COUNTER_NAMES, SlotRules
from recsys.kernels import address
from recsys.safety.floors import FloorMiss
from recsys.safety.ledger import FAMILY_COUNTERS, RUN, counters_of
from recsys.types import Array, Candidates, Longs

COLUMNS: Final = (
    "tier", "family", "is_s4", "is_supportive", "is_local", "creator_no", "hash_no", "creator_text_no",
    "duration_text_no", "arrival", "is_hashed", "is_explorable", "is_new_creator",
)  # fmt: skip
FORCED: Final = ("", "supportive", "local")
REASONS: Final = (
    "", "other floor", "no candidate", "creator_spacing", "lost before this page", "duplicate",
    *(f"{why}:{name}" for name in COUNTER_NAMES for why in ("cap", "gap")),
)  # fmt: skip
_POINTERS: Final = (
    "table", "counters_of", "may_explore", "counters", "places", "recent", "hits", "buckets", "bucket_of", "order",
    "draw", "used", "infeasible", "rows", "n_drawn", "forced", "missed", "blocked",
)  # fmt: skip
_NUMBERS: Final = (
    "n_rows", "n_counters", "width", "size", "n_recent", "n_hits", "creator_cap", "wanted_supportive", "wanted_local",
    "explore_slots", "explore_from", "n_local", "n_new_creators", "n_buckets", "n_chosen", "n_draw", "n_explored",
    "n_missed", "refusals", "best_left", "floor",
)  # fmt: skip
_N_TIERS, _N_FAMILIES, _MAX_COUNTERS, _BUCKET_NUMBERS = 8, 8, 4, 6  # as in slots.c


class _Page(Structure):
    """The struct `page` of slots.c."""

    _fields_ = (
        *((name, c_void_p) for name in _POINTERS),
        *((name, c_int64) for name in _NUMBERS),
        ("new_creator_share", c_double),
    )


def _counters_by_code() -> NDArray[np.int8]:
    """(n_codes, 4) the counters of each kind of row, by `code_of` of slots.c; -1 = no more, -2 = no such kind."""
    table = np.full((_N_TIERS, _N_FAMILIES, 2, 4, _MAX_COUNTERS), -2, np.int8)
    for tier in range(_N_TIERS):
        for family in range(-1, len(FAMILY_COUNTERS) if tier >= 2 else 0):
            for is_s4 in (0, 1):
                numbers = [COUNTER_NAMES.index(name) for name in counters_of(tier, family, bool(is_s4))]
                table[tier, family + 1, is_s4] = [*numbers, -1, -1, -1, -1][:_MAX_COUNTERS]
    return table.reshape(-1, _MAX_COUNTERS)


_COUNTERS_BY_CODE: Final = _counters_by_code()


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledPage:
    """The filled slots; see `slate.Selection`. `n_drawn` is how many each was drawn from, 0 = not explored."""

    rows: Longs
    n_drawn: Longs
    forced: tuple[str, ...]
    blocked: Mapping[str, int]
    refusals: int
    floor_missed: tuple[FloorMiss, ...]


def fill_page(native: CDLL, candidates: Candidates, rules: SlotRules, rng: np.random.Generator) -> FilledPage | None:
    """The page that the compiled loop fills; None for candidates of a tier or family that there is not."""
    n, size = len(candidates), len(rules.may_explore)
    given = _given(candidates, rules)
    addresses, results = _room(n, size)
    page = _Page(
        **addresses,
        **{name: address(array) for name, array in given.items()},
        n_rows=n,
        n_counters=len(COUNTER_NAMES),
        width=given["places"].shape[1],
        size=size,
        n_recent=len(rules.recent),
        n_hits=len(rules.floors[0].hits),
        creator_cap=rules.creator_cap,
        wanted_supportive=rules.floors[0].wanted,
        wanted_local=rules.floors[1].wanted,
        explore_slots=rules.explore_slots,
        explore_from=rules.explore_from,
        n_local=rules.n_local,
        n_new_creators=rules.n_new_creators,
        new_creator_share=rules.new_creator_share,
    )
    if not native.open_page(byref(page)):
        return None
    fill = native.fill_slots
    n_draw = fill(byref(page), c_int64(-1))
    while n_draw:
        n_draw = fill(byref(page), c_int64(int(rng.integers(n_draw))))
    return _filled(page, results)


def _given(candidates: Candidates, rules: SlotRules) -> dict[str, Array]:
    """What the loop reads, and what it goes on writing."""
    size = len(rules.may_explore)
    table = np.empty((len(COLUMNS), len(candidates)), np.int64)
    for n, name in enumerate(COLUMNS):
        table[n] = candidates[name]
    counters = [
        (counter.room, -1 if counter.last_20 is None else counter.last_20, counter.gap,
         counter.name[0] == "R" and not counter.is_zero, len(counter.places), 0)
        for counter in rules.counters.values()
    ]  # fmt: skip
    width = max(len(counter.places) for counter in rules.counters.values()) + size
    padding = [0] * width
    return {
        "table": table,
        "counters_of": _COUNTERS_BY_CODE,
        "may_explore": np.array(rules.may_explore, np.uint8),
        "counters": np.array(counters, np.int64),
        "places": np.array([[*counter.places, *padding][:width] for counter in rules.counters.values()], np.int64),
        "recent": np.array([*rules.recent, *[0] * size], np.int64),
        "hits": np.array([[*floor.hits, *[0] * size] for floor in rules.floors], np.uint8),
    }


def _room(n: int, size: int) -> tuple[dict[str, int], dict[str, Longs]]:
    """Room to work in, and for the results: where each array begins, and the arrays, all of them in one piece."""
    lengths = {
        "buckets": len(_COUNTERS_BY_CODE) * _BUCKET_NUMBERS,
        "bucket_of": n,
        "order": n,
        "draw": n,
        "used": -(-n // 8),  # a byte each
        "infeasible": 2 * (size + RUN),
        "rows": size,
        "n_drawn": size,
        "forced": size,
        "missed": 2 * 2 * size,
        "blocked": len(REASONS),
    }
    room = np.zeros(sum(lengths.values()), np.int64)
    first, start = room.ctypes.data, 0
    addresses, arrays = dict[str, int](), dict[str, Longs]()
    for name, length in lengths.items():
        addresses[name], arrays[name] = first + start * room.itemsize, room[start : start + length]
        start += length
    return addresses, arrays


def _filled(page: _Page, arrays: Mapping[str, Longs]) -> FilledPage:
    n, floors = page.n_chosen, ("supportive", "local")
    return FilledPage(
        rows=arrays["rows"][:n],
        n_drawn=arrays["n_drawn"][:n],
        forced=tuple(FORCED[floor] for floor in arrays["forced"][:n].tolist()),
        blocked={
            REASONS[number]: count
            for number, count in sorted(enumerate(arrays["blocked"].tolist()), key=lambda pair: REASONS[pair[0]])
            if count
        },
        refusals=page.refusals,
        floor_missed=tuple(
            FloorMiss(name=floors[floor], reason=REASONS[reason])
            for floor, reason in arrays["missed"].reshape(-1, 2)[: page.n_missed].tolist()
        ),
    )
