"""
Near-duplicates of a whole catalogue: which upload is bound by which (policy-spec 0, Copies).

    evidence         joins                                                        binds
    hash             the same platform hash                                       both
    creator_text     one creator, equal text and (equal duration or 8 words)      both
    duration_text    equal duration and equal text of 8 words, hashes not unlike  the later arrival

A join is between two uploads and reaches no third: whoever steals a file and a caption ties no two videos of others
together. What passes through a join (tiers, ages, what was seen) is for the caller to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from recsys.sets import distinct
from recsys.text.clusters import CopyKeys
from recsys.types import Array, Ids, Mask, Rows

Evidence = Literal["hash", "creator_text", "duration_text"]
EVIDENCE: Final[tuple[Evidence, ...]] = get_args(Evidence)

Keys = NDArray[np.uint64]
Levels = NDArray[np.int64]
"""Whole numbers from 0 to `MAX_LEVEL`, of which the highest counts: tiers, ages, 1 for what was seen."""

MAX_LEVEL: Final = 2**20 - 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Copies:
    """
    The joins of n items. `hash_no` (n,) is equal for items of one hash, 0 for an item alone with its own; `is_hashed`
    (n,) whether its hash is known.

    The others have a row for every wording, m of them: first those of now, one of each item in their order, then
    former ones by which an item is still joined. `owner` (m,) is the item, `arrival` (m,) grows with the time at which
    the wording came. `..._rows` are the few rows that have a number.
    """

    hash_no: Ids
    is_hashed: Mask
    owner: Ids
    creator_text_no: Ids
    duration_text_no: Ids
    arrival: Levels
    hash_rows: Rows = field(init=False)
    creator_rows: Rows = field(init=False)
    duration_rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash_rows", np.flatnonzero(self.hash_no))
        object.__setattr__(self, "creator_rows", np.flatnonzero(self.creator_text_no))
        object.__setattr__(self, "duration_rows", np.flatnonzero(self.duration_text_no))

    def __len__(self) -> int:
        return len(self.hash_no)


def no_copies(n: int) -> Copies:
    """n items without anything in common."""
    nobody, everybody = np.zeros(n, np.int32), np.arange(n, dtype=np.int32)
    return Copies(
        hash_no=nobody, is_hashed=np.zeros(n, np.bool_), owner=everybody, creator_text_no=nobody,
        duration_text_no=nobody, arrival=everybody.astype(np.int64),
    )  # fmt: skip


def join_copies(hashes: Keys, owner: Ids, creator_texts: Keys, duration_texts: Keys, arrival: Levels) -> Copies:
    """The joins of items by their keys (`recsys.text.clusters`): hashes (n,), the others (m,) as in `Copies`."""
    return Copies(
        hash_no=_numbers_of(hashes),
        is_hashed=hashes != 0,
        owner=owner,
        creator_text_no=_numbers_of(creator_texts),
        duration_text_no=_numbers_of(duration_texts),
        arrival=arrival,
    )


def keys_of(rows: Sequence[CopyKeys]) -> tuple[Keys, Keys, Keys]:
    """The keys of n uploads as three arrays (n,): hash, creator_text, duration_text."""
    table = np.array(rows, np.uint64).reshape(-1, len(EVIDENCE))
    return table[:, 0], table[:, 1], table[:, 2]


def _numbers_of(keys: Keys, at_least: int = 2) -> Ids:
    """A number from 1 for every key that `at_least` so many rows have; 0 for the others, and for no key."""
    numbers = np.zeros(len(keys), np.int32)
    rows = np.flatnonzero(keys)
    _, inverse, counts = np.unique(keys[rows], return_inverse=True, return_counts=True)
    is_enough = counts >= at_least
    numbers[rows] = np.where(is_enough, np.cumsum(is_enough), 0)[inverse]
    return numbers


# --- what reaches whom ---


def through_hash(copies: Copies, levels: Levels) -> Levels:
    """(n,) the highest of the levels (n,) among all items of an item's hash, its own included; 0 for an item alone."""
    return _spread(len(copies), copies.hash_rows, _highest(copies.hash_no[copies.hash_rows], levels[copies.hash_rows]))


def through_hash_of(hashes: Keys, levels: Levels) -> Levels:
    """(n,) the highest of the levels (n,) among everything of a hash, its own included; 0 without a hash."""
    numbers, rows = _numbers_of(hashes, at_least=1), np.flatnonzero(hashes)
    return _spread(len(hashes), rows, _highest(numbers[rows], levels[rows]))


def through_earlier_hash(copies: Copies, levels: Levels) -> Levels:
    """(n,) the highest of the levels (n,) among the items of an item's hash that have a lower number."""
    rows = copies.hash_rows
    return _spread(len(copies), rows, _before(copies.hash_no[rows], rows, levels[rows]))


def through_words(copies: Copies, levels: Levels) -> Levels:
    """(n,) the highest of the levels (n,) among the items that bind an item by words; 0 where none does."""
    by_creator = _highest(copies.creator_text_no[copies.creator_rows], levels[copies.owner[copies.creator_rows]])
    reached = _spread(len(copies), copies.owner[copies.creator_rows], by_creator)
    by_duration = _of_duration_text(copies, levels, copies.duration_rows)
    np.maximum.at(reached, copies.owner[copies.duration_rows], by_duration)
    return reached


def _of_duration_text(copies: Copies, levels: Levels, rows: Rows) -> Levels:
    """
    For each of some `duration_rows`, whole groups, the highest level among the wordings before it, of equal text and
    duration and not of unlike hashes.
    """
    owner, group, arrival = copies.owner[rows], copies.duration_text_no[rows], copies.arrival[rows]
    is_hashed, of_owner = copies.is_hashed[owner], levels[owner]
    by_any = _before(group, arrival, of_owner)
    by_unknown = _before(group, arrival, np.where(is_hashed, 0, of_owner))
    same_hash = copies.hash_no[owner].astype(np.int64)
    alike = np.flatnonzero(same_hash)
    of_same_hash = group[alike] * (same_hash.max(initial=0) + 1) + same_hash[alike]
    by_same = _spread(len(rows), alike, _before(of_same_hash, arrival[alike], of_owner[alike]))
    return np.where(is_hashed, np.maximum(by_unknown, by_same), by_any)


def _spread(n: int, rows: Array, levels: Levels) -> Levels:
    """(n,) the levels at their rows, of one row the highest; 0 elsewhere."""
    reached = np.zeros(n, np.int64)
    np.maximum.at(reached, rows, levels)
    return reached


def _highest(group: Array, levels: Levels) -> Levels:
    """For every row the highest level of its group."""
    highest = np.zeros(int(group.max(initial=0)) + 1, np.int64)
    np.maximum.at(highest, group, levels)
    return highest[group]


def _before(group: Array, arrival: Array, levels: Levels) -> Levels:
    """For every row the highest level of the rows of its group that arrived before it; 0 for the first."""
    reached = np.zeros(len(group), np.int64)
    if not len(group):
        return reached
    order = np.lexsort((arrival, group))
    is_first = np.concatenate([[True], np.diff(group[order]) != 0])
    # groups one above the other, so that one running maximum serves them all
    floor = np.cumsum(is_first) * (MAX_LEVEL + 1)
    running = np.maximum.accumulate(levels[order] + floor)
    reached[order[1:]] = np.where(is_first[1:], 0, running[:-1] - floor[1:])
    return reached


def bound_by(copies: Copies, chosen: Mask) -> Mask:
    """(n,) the chosen items (n,) and those that one of them binds: who saw these has seen those."""
    if not chosen.any():
        return chosen.copy()
    levels = chosen.astype(np.int64)
    return chosen | (through_hash(copies, levels) > 0) | (through_words(copies, levels) > 0)


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """
    The few items that are joined with anything: `item_nos` (k,) ascending, and their joins, numbered from 0. `known`:
    the item numbers that one binds, by its place, once somebody asked; None where they are many.
    """

    item_nos: Rows
    copies: Copies
    known: dict[int, Ids | None] = field(init=False, default_factory=dict)

    def bound_by(self, places: list[int]) -> Ids:
        """The numbers of the items that those at some places bind, their own included."""
        is_chosen = np.zeros(len(self.item_nos), np.bool_)
        is_chosen[places] = True
        return self.item_nos[_bound_by_some(self.copies, is_chosen)].astype(np.int32)

    def learn(self, place: int) -> None:
        """Keep what the item at a place binds."""
        bound = self.bound_by([place])
        self.known[place] = bound if len(bound) <= MAX_KNOWN else None


MAX_KNOWN: Final = 16
"""Items that one binds, of which it is kept which they are: in a flood of copies each binds all others."""


def select_joined(copies: Copies) -> Joined:
    """The items of `copies` that have a copy."""
    owners = [copies.owner[copies.creator_rows], copies.owner[copies.duration_rows]]
    item_nos = np.unique(np.concatenate([copies.hash_rows, *owners])).astype(np.intp)
    former = len(copies) + np.flatnonzero(np.isin(copies.owner[len(copies) :], item_nos))
    rows = np.concatenate([item_nos, former])
    compact = Copies(
        hash_no=copies.hash_no[item_nos],
        is_hashed=copies.is_hashed[item_nos],
        owner=np.searchsorted(item_nos, copies.owner[rows]).astype(np.int32),
        creator_text_no=copies.creator_text_no[rows],
        duration_text_no=copies.duration_text_no[rows],
        arrival=copies.arrival[rows],
    )
    return Joined(item_nos, compact)


def add_bound(joined: Joined, chosen: Ids) -> Ids:
    """The chosen item numbers and those that one of them binds, ascending: `bound_by` without a pass over all items."""
    place = np.searchsorted(joined.item_nos, chosen)
    is_within = place < len(joined.item_nos)
    place = place[is_within]
    met = place[joined.item_nos[place] == chosen[is_within]].tolist()
    new = next((one for one in met if one not in joined.known), None)
    if new is not None:  # one a call: whoever comes first does not wait for all
        joined.learn(new)
    lists = [joined.known.get(one) for one in met]
    bound = [numbers for numbers in lists if numbers is not None]
    rest = [one for one, numbers in zip(met, lists, strict=True) if numbers is None]
    return distinct(np.concatenate([chosen, *bound, *([joined.bound_by(rest)] if rest else [])]))


def _bound_by_some(copies: Copies, chosen: Mask) -> Mask:
    """`bound_by` where few are chosen: arrivals are compared in the groups of these alone."""
    bound, of_chosen = chosen.copy(), chosen[copies.owner]
    bound |= _in_groups(copies.hash_no, chosen)
    bound[copies.owner[_in_groups(copies.creator_text_no, of_chosen)]] = True
    rows = np.flatnonzero(_in_groups(copies.duration_text_no, of_chosen))
    if len(rows):
        is_later = _of_duration_text(copies, chosen.astype(np.int64), rows) > 0
        bound[copies.owner[rows[is_later]]] = True
    return bound


def _in_groups(group: Ids, chosen: Mask) -> Mask:
    """The rows (n,) of the groups, numbered from 1, that have a chosen row."""
    is_met = np.zeros(int(group.max(initial=0)) + 1, np.bool_)
    is_met[group[chosen]] = True
    is_met[0] = False
    return is_met[group]


# --- pairs ---


class Join(NamedTuple):
    """An item that binds another, and the evidence: its kind, never its words."""

    item_no: int
    evidence: Evidence


def joins_of(copies: Copies, item_no: int) -> tuple[Join, ...]:
    """The items that bind an item, in their order, each by its strongest evidence."""
    joins: dict[int, Evidence] = {}
    for other, evidence in _evidence(copies, item_no):
        joins.setdefault(other, evidence)
    joins.pop(item_no, None)
    return tuple(Join(other, joins[other]) for other in sorted(joins))


def _evidence(copies: Copies, item_no: int) -> Iterator[tuple[int, Evidence]]:
    if copies.hash_no[item_no]:
        yield from ((n, "hash") for n in np.flatnonzero(copies.hash_no == copies.hash_no[item_no]).tolist())
    rows = np.concatenate([[item_no], len(copies) + np.flatnonzero(copies.owner[len(copies) :] == item_no)])
    for row in rows[copies.creator_text_no[rows] > 0]:
        same = copies.creator_text_no == copies.creator_text_no[row]
        yield from ((n, "creator_text") for n in copies.owner[same].tolist())
    for row in rows[copies.duration_text_no[rows] > 0]:
        earlier = (copies.duration_text_no == copies.duration_text_no[row]) & (copies.arrival < copies.arrival[row])
        yield from ((n, "duration_text") for n in copies.owner[earlier].tolist() if not _unlike(copies, item_no, n))


def _unlike(copies: Copies, one: int, other: int) -> bool:
    """Whether two items have hashes, and not the same."""
    is_same = bool(copies.hash_no[one]) and copies.hash_no[one] == copies.hash_no[other]
    return bool(copies.is_hashed[one] and copies.is_hashed[other]) and not is_same
