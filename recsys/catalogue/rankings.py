"""The catalogue in orders and groups, computed once for a revision: a request takes a few items from them."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from recsys.catalogue.items import Items, is_unlearnable
from recsys.catalogue.live_popularity import LiveVotes, popularity_now
from recsys.catalogue.locality import NearnessClasses, nearness_classes
from recsys.clock import Millis
from recsys.models.loaded import TrainedModels
from recsys.sets import is_among
from recsys.text.duplicates import Joined, select_joined
from recsys.types import Floats, Ids, Longs, Mask, rank_order

HEAD_ITEMS: Final = 4_096
"""How many of the most popular items of a group are at hand; whoever needs more passes over the catalogue."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Item numbers in groups: those of group g are `item_nos[starts[g]:starts[g + 1]]`."""

    item_nos: Ids
    starts: Longs

    def heads(self, groups: Ids, n: int) -> Ids:
        """The first n items of each of some groups."""
        sizes = np.minimum(self.starts[groups + 1] - self.starts[groups], n)
        at = np.repeat(self.starts[groups] - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))
        return self.item_nos[at]


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueIndex:
    """
    What is the same for everybody at one revision.

    Shapes: `newest` (n_items,) item numbers, newest first, `newest_at` (n_items,) their times of publication, and
            `newest_rank` (n_items,) the place of each item; `of_row` (n_rows,) the item number of each artifact row,
            0 = none; `is_unlearnable_row` (n_rows,) from which nothing positive may be learned; `creator_nos`
            (n_creators,) by `creator_row`; `by_creator` groups items by it.
    """

    revision: int
    newest: Ids
    newest_at: Longs
    newest_rank: Ids
    of_row: Ids
    is_unlearnable_row: Mask
    creator_nos: Longs
    by_creator: Groups
    classes: NearnessClasses
    joined: Joined

    def published_after(self, at: Millis) -> Ids:
        """The items whose time of publication has not come."""
        return self.newest[: len(self.newest) - int(np.searchsorted(self.newest_at[::-1], at, side="right"))]

    def creator_rows(self, creator_nos: Longs) -> Ids:
        """The rows of creators by their numbers; those without items are left out."""
        rows = np.searchsorted(self.creator_nos, creator_nos)
        rows = rows[rows < len(self.creator_nos)]
        return rows[is_among(self.creator_nos[rows], creator_nos)].astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class PopularHead:
    """The most popular items of some group, best first; `is_whole` says that the group has no more."""

    item_nos: Ids
    is_whole: bool


@dataclass(frozen=True, slots=True, eq=False)
class PrecomputedRankings:
    """
    The whole catalogue by popularity in one market: `popular` (n_items,) item numbers, best first; `popular_rank`
    (n_items,) their places; `popularity` (n_items,) their scores by number, NaN = unknown; `by_class` the same order
    within each nearness class.
    """

    index: CatalogueIndex
    popularity: Floats
    popular: Ids
    popular_rank: Ids
    by_class: Groups
    supportive: dict[bool, PopularHead] = field(init=False, default_factory=dict)  # for adults, and for minors

    def head_of_classes(self, is_meant: Mask) -> PopularHead:
        """The most popular items of the classes (n_classes,) that are meant."""
        groups = np.flatnonzero(is_meant).astype(np.int32)
        n_items = int((self.by_class.starts[groups + 1] - self.by_class.starts[groups]).sum())
        items = self.by_class.heads(groups, HEAD_ITEMS)
        return PopularHead(items[np.argsort(self.popular_rank[items])][:HEAD_ITEMS], n_items <= HEAD_ITEMS)

    def head_of_supportive(self, is_supportive: Mask, *, is_minor: bool) -> PopularHead:
        """The most popular supportive items (n_items,) as they count for minors or adults."""
        head = self.supportive.get(is_minor)
        if head is None:
            items = self.popular[is_supportive[self.popular]]
            head = self.supportive[is_minor] = PopularHead(items[:HEAD_ITEMS], len(items) <= HEAD_ITEMS)
        return head


def index_catalogue(items: Items, n_rows: int) -> CatalogueIndex:
    """The groups and orders of one revision that no market changes."""
    numbers = np.arange(len(items), dtype=np.int32)
    newest = rank_order(items.published_at.astype(np.float64), numbers).astype(np.int32)
    with_row = np.flatnonzero(items.row >= 0)
    of_row = np.zeros(n_rows, np.int32)
    of_row[items.row[with_row]] = with_row
    is_unlearnable_row = np.zeros(n_rows, np.bool_)
    is_unlearnable_row[items.row[with_row]] = is_unlearnable(items)[with_row]
    by_creator = _grouped(items.creator_row, numbers)
    return CatalogueIndex(
        revision=items.revision,
        newest=newest,
        newest_at=items.published_at[newest],
        newest_rank=_places(newest),
        of_row=of_row,
        is_unlearnable_row=is_unlearnable_row,
        creator_nos=items.creator_no[by_creator.item_nos[by_creator.starts[:-1]]],
        by_creator=by_creator,
        classes=nearness_classes(items),
        joined=select_joined(items.copies),
    )


def precompute_rankings(
    items: Items, index: CatalogueIndex, model: TrainedModels, country: str | None, votes: LiveVotes
) -> PrecomputedRankings:
    """The rankings of a market at one revision of the catalogue, with what people act on now."""
    numbers = np.arange(len(items), dtype=np.int32)
    popularity = popularity_now(items, model, country, votes)
    popular = rank_order(popularity, numbers).astype(np.int32)
    by_class = _grouped(index.classes.class_of[popular], popular)
    return PrecomputedRankings(index, popularity, popular, _places(popular), by_class)


def _places(order: Ids) -> Ids:
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    return places


def _grouped(group: Ids, item_nos: Ids) -> Groups:
    """Item numbers by their groups (n,), in the given order within each."""
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    return Groups(item_nos[order], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
