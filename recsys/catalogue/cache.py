"""
The live catalogue in memory: one frozen table, replaced by a newer one when a page needs a newer revision.

A page reads a person's state and the catalogue's revision together. The cache catches up to that revision before
selection, so that a committed takedown binds the next page of every worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from recsys.catalogue.creators import Creator, index_creators
from recsys.catalogue.items import Items, apply_delta, empty_items, with_creator_changes
from recsys.catalogue.live_popularity import LiveVotes
from recsys.catalogue.locality import NearnessByClass, nearness_by_class
from recsys.catalogue.new_creators import ExposureSnapshot
from recsys.catalogue.new_items import RankableItems, rankable_items
from recsys.catalogue.rankings import (
    CatalogueIndex,
    PopularHead,
    PrecomputedRankings,
    index_catalogue,
    precompute_rankings,
)
from recsys.catalogue.rule_columns import RuleColumns, SharedColumns, shared_columns
from recsys.catalogue.saved import SavedTable, open_table, save_table
from recsys.memo import remember
from recsys.models.loaded import TrainedModels
from recsys.models.ranker import Ranker
from recsys.policy.schema import Market
from recsys.stores.protocols import Catalogue, Stores
from recsys.types import Mask, Viewer

MAX_VIEWER_KINDS: Final = 2_000  # kinds of viewers of some 10 kB each; then the oldest goes first


@dataclass(frozen=True, slots=True, eq=False)
class ViewerKind:
    """
    What is the same for all viewers of one place, with the same languages, who are or are not minors.

    `floor_eligible` and `near` are the most popular items that a slot of the local floor takes, and the other local
    ones. `local_supply`: how many of 20 the catalogue's local items fill, and their share, by the cap per creator.
    """

    nearness: NearnessByClass
    rules: RuleColumns
    floor_eligible: PopularHead
    near: PopularHead
    local_supply: dict[int, tuple[int, float]] = field(init=False, default_factory=dict)  # when first asked for


@dataclass(slots=True)
class CatalogueCache:
    """The newest table, and what was computed from it for kinds of viewers and for countries."""

    catalogue: Catalogue
    market: Market
    creators: Mapping[str, Creator]
    rows: Mapping[str, int]
    items: Items = field(default_factory=empty_items)
    _lock: Lock = field(default_factory=Lock)
    _by_viewer: dict[tuple[object, ...], ViewerKind] = field(default_factory=dict)
    _rankable: tuple[int, RankableItems] | None = None
    votes: LiveVotes = field(default_factory=LiveVotes)
    _rankings: dict[tuple[int, int, str | None], PrecomputedRankings] = field(default_factory=dict)
    _index: CatalogueIndex | None = None
    _shared: dict[tuple[int, bool], SharedColumns] = field(default_factory=dict)
    _is_new: tuple[int, int, Mask] | None = None

    def begin(self, stores: Stores, key: bytes) -> None:
        """
        The table of now, from its file and what was written since. Nothing older was compared with it, so everybody's
        past is counted again. Raises StoreError.
        """
        saved = open_table(stores.table_file, stores.controllers, key)
        if saved is not None:
            self.items, self.creators = saved.items, saved.creators
        items = self.at_least(stores.catalogue.since(2**62).revision)
        if saved is None or items is not saved.items:
            saved = save_table(stores.table_file, stores.controllers, key, SavedTable(items, self.creators))
        self.items = replace(saved.items, newest_raise=saved.items.revision)

    def at_least(self, revision: int) -> Items:
        """The table at `revision` or later. Raises StoreError when the store does not answer."""
        if self.items.revision >= revision:
            return self.items
        with self._lock:
            if self.items.revision < revision:
                delta = self.catalogue.since(self.items.revision)
                changed = index_creators([row.fields for row in delta.creators])
                self.creators = {**self.creators, **changed}
                before = self.items.exists
                items = apply_delta(self.items, delta, market=self.market, creators=self.creators, rows=self.rows)
                if before.any():  # else every row came with the delta, and so with these creators
                    items = with_creator_changes(items, changed.values(), delta.revision)
                self.items = items
                self._by_viewer.clear()
                self._rankings.clear()
                self._shared.clear()
            return self.items

    def index(self, items: Items) -> CatalogueIndex:
        """The catalogue in orders and groups that no market changes."""
        index = self._index
        if index is None or index.revision != items.revision:
            index = self._index = index_catalogue(items, len(self.rows))
        return index

    def rankings(self, items: Items, model: TrainedModels, country: str | None) -> PrecomputedRankings:
        """The catalogue in the orders that sources start from, for people of a country."""
        votes = self.votes
        key = (items.revision, votes.version, country if country in model.popularity.markets else None)
        rankings = self._rankings.get(key)
        if rankings is None:
            rankings = self._rankings[key] = precompute_rankings(items, self.index(items), model, key[2], votes)
        return rankings

    def count_votes(self, votes: LiveVotes, model: TrainedModels) -> None:
        """From now on rankings with these votes. Those of markets in use are made first: no page waits for them."""
        items = self.items
        made = {
            (items.revision, votes.version, country): precompute_rankings(
                items, self.index(items), model, country, votes
            )
            for country in {country for _, _, country in list(self._rankings)}
        }
        with self._lock:
            self.votes = votes
            self._rankings = made
            self._by_viewer = {}

    def rankable(self, items: Items, ranker: Ranker) -> RankableItems:
        """What the ranker reads of the catalogue, also of items that came after the artifact."""
        revision, rankable = self._rankable or (-1, None)
        if rankable is None or revision != items.revision:
            rankable = rankable_items(items, ranker.inputs)
            self._rankable = (items.revision, rankable)
        return rankable

    def for_viewer(
        self, items: Items, model: TrainedModels, viewer: Viewer, counts: ExposureSnapshot, *, is_minor: bool
    ) -> ViewerKind:
        """The nearness of items to a kind of viewer, and the columns that the rules read."""
        place = (viewer.country, viewer.region, viewer.languages)
        key = (items.revision, counts.version, self.votes.version, *place, is_minor)
        kind = self._by_viewer.get(key)
        if kind is None:
            index, rankings = self.index(items), self.rankings(items, model, viewer.country)
            nearness = nearness_by_class(viewer, items, self.market, index.classes)
            near = nearness.by_class
            kind = ViewerKind(
                nearness,
                RuleColumns(
                    self._shared_columns(items, index, is_minor=is_minor),
                    nearness,
                    items.creator_row,
                    self._is_new_creator(index, counts),
                ),
                rankings.head_of_classes(near.is_floor_eligible),
                rankings.head_of_classes(near.is_local & ~near.is_floor_eligible),
            )
            remember(self._by_viewer, key, kind, MAX_VIEWER_KINDS)
        return kind

    def _shared_columns(self, items: Items, index: CatalogueIndex, *, is_minor: bool) -> SharedColumns:
        shared = self._shared.get((items.revision, is_minor))
        if shared is None:
            shared = shared_columns(items, index.of_row, self.market, is_minor=is_minor)
            self._shared[items.revision, is_minor] = shared
        return shared

    def _is_new_creator(self, index: CatalogueIndex, counts: ExposureSnapshot) -> Mask:
        """(n_creators,) by the index's `creator_nos`."""
        known = self._is_new
        if known is None or known[:2] != (index.revision, counts.version):
            is_new = counts.is_new(index.creator_nos, self.market.locality.new_creator.impressions)
            known = self._is_new = (index.revision, counts.version, is_new)
        return known[2]
