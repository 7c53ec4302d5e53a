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
from recsys.types import Candidates, Longs

COLUMNS: Final = (
    "tier", "family", "is_s4", "is_supportive", "is_local", "creator_no", "hash_no", "creator_text_no",
    "duration_text_no", "arrival", "is_hashed", "is_explorable", "is_new_creator",
)  # fmt: skip
FORCED: Final = ("", "supportive", "local")
REASONS: Final = (
    "", "other floor", "no candidate", "creator_spacing", "lost before this page", "duplicate",
    *(f"{why}:{name}" for name in COUNTER_NAMES for why in ("cap", "gap")),
)  # fmt: skip
_NUMBERS: Final = (
    "n_rows", "n_counters", "width", "size", "n_recent", "n_hits", "n_reasons", "creator_cap", "wanted_supportive",
    "wanted_local", "explore_slots", "explore_from", "n_local", "n_new_creators",
)  # fmt: skip
_COUNTED: Final = ("n_buckets", "n_chosen", "n_draw", "n_explored", "n_missed", "refusals", "best_left", "floor")
_N_PLACES: Final = 16  # of what the compiled code lays out by itself
_N_TIERS, _N_FAMILIES, _MAX_COUNTERS, _BUCKET_NUMBERS = 8, 8, 4, 6  # as in slots.c


class _Page(Structure):
    """The struct `page` of slots.c."""

    _fields_ = (
        *((name, c_void_p) for name in ("table", "counters_of", "given", "results")),
        *((name, c_int64) for name in _NUMBERS),
        ("new_creator_share", c_double),
        *((name, c_int64) for name in _COUNTED),
        ("places", c_void_p * _N_PLACES),
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
_CODES_AT: Final = address(_COUNTERS_BY_CODE)
_BY_NAME: Final = sorted(range(len(REASONS)), key=REASONS.__getitem__)


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
    n, size, hits = len(candidates), len(rules.may_explore), [floor.hits for floor in rules.floors]
    width = max(len(counter.places) for counter in rules.counters.values()) + size
    table, given = _table(candidates), np.array(_given(rules, width), np.int64)
    n_results = 7 * size + len(REASONS)
    results = np.zeros(n_results + 2 * (size + RUN) + _BUCKET_NUMBERS * len(_COUNTERS_BY_CODE) + 4 * n, np.int64)
    page = _Page(
        address(table), _CODES_AT, address(given), address(results), n, len(COUNTER_NAMES), width, size,
        len(rules.recent), len(hits[0]), len(REASONS), rules.creator_cap, *(floor.wanted for floor in rules.floors),
        rules.explore_slots, rules.explore_from, rules.n_local, rules.n_new_creators, rules.new_creator_share,
    )  # fmt: skip
    if not native.open_page(byref(page)):
        return None
    fill = native.fill_slots
    n_draw = fill(byref(page), c_int64(-1))
    while n_draw:
        n_draw = fill(byref(page), c_int64(int(rng.integers(n_draw))))
    return _filled(page, results[:n_results].tolist())


def _table(candidates: Candidates) -> Longs:
    """(n_columns, n) what the loop reads of candidates."""
    table = np.empty((len(COLUMNS), len(candidates)), np.int64)
    for n, name in enumerate(COLUMNS):
        table[n] = candidates[name]
    return table


def _given(rules: SlotRules, width: int) -> list[int]:
    """What the loop reads of the rules and goes on writing, one after the other; see `lay_out` of slots.c."""
    size, counters = len(rules.may_explore), rules.counters.values()
    given: list[int] = [*rules.may_explore]
    for counter in counters:
        last_20 = -1 if counter.last_20 is None else counter.last_20
        is_risk_window = counter.name[0] == "R" and not counter.is_zero
        given += (counter.room, last_20, counter.gap, is_risk_window, len(counter.places), 0)
    for counter in counters:
        given += counter.places
        given += [0] * (width - len(counter.places))
    for known in (rules.recent, *(floor.hits for floor in rules.floors)):
        given += known
        given += [0] * size
    return given


def _filled(page: _Page, results: list[int]) -> FilledPage:
    n, size, floors = page.n_chosen, page.size, ("supportive", "local")
    missed, blocked = results[3 * size : 3 * size + 2 * page.n_missed], results[7 * size :]
    return FilledPage(
        rows=np.array(results[:n], np.int64),
        n_drawn=np.array(results[size : size + n], np.int64),
        forced=tuple([FORCED[floor] for floor in results[2 * size : 2 * size + n]]),
        blocked={REASONS[number]: blocked[number] for number in _BY_NAME if blocked[number]} if any(blocked) else {},
        refusals=page.refusals,
        floor_missed=tuple(
            FloorMiss(name=floors[floor], reason=REASONS[reason])
            for floor, reason in zip(missed[::2], missed[1::2], strict=True)
        ),
    )
