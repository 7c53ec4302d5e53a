"""
The live catalogue in memory: one frozen table, replaced by a newer one when a page needs a newer revision.

A page reads a person's state and the catalogue's revision together. The cache catches up to that revision before
selection, so that a committed takedown binds the next page of every worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from recsys.catalogue.creators import Creator, index_creators
from recsys.catalogue.items import Items, apply_delta, empty_items, with_creator_changes
from recsys.catalogue.locality import Nearness, nearness
from recsys.catalogue.new_creators import ExposureSnapshot
from recsys.catalogue.new_items import RankableItems, rankable_items
from recsys.catalogue.rankings import PrecomputedRankings, precompute_rankings
from recsys.catalogue.rule_columns import rule_columns
from recsys.models.loaded import TrainedModels
from recsys.models.ranker import Ranker
from recsys.policy.schema import Market
from recsys.stores.protocols import Catalogue
from recsys.types import Candidates, Viewer

MAX_VIEWER_KINDS: Final = 256  # kinds of viewers; then all are computed again


@dataclass(slots=True)
class CatalogueCache:
    """The newest table, and what was computed from it for kinds of viewers and for countries."""

    catalogue: Catalogue
    market: Market
    creators: Mapping[str, Creator]
    rows: Mapping[str, int]
    items: Items = field(default_factory=empty_items)
    _lock: Lock = field(default_factory=Lock)
    _by_viewer: dict[tuple[object, ...], tuple[Nearness, Candidates]] = field(default_factory=dict)
    _rankable: tuple[int, RankableItems] | None = None
    _rankings: dict[tuple[int, str | None], PrecomputedRankings] = field(default_factory=dict)

    def at_least(self, revision: int) -> Items:
        """The table at `revision` or later. Raises StoreError when the store does not answer."""
        if self.items.revision >= revision:
            return self.items
        with self._lock:
            if self.items.revision < revision:
                delta = self.catalogue.since(self.items.revision)
                changed = index_creators([row.fields for row in delta.creators])
                self.creators = {**self.creators, **changed}
                items = apply_delta(self.items, delta, market=self.market, creators=self.creators, rows=self.rows)
                self.items = with_creator_changes(items, changed.values(), delta.revision)
                self._by_viewer.clear()
                self._rankings.clear()
            return self.items

    def rankings(self, items: Items, model: TrainedModels, country: str | None) -> PrecomputedRankings:
        """The catalogue in the orders that sources start from, for people of a country."""
        key = (items.revision, country if country in model.popularity.markets else None)
        rankings = self._rankings.get(key)
        if rankings is None:
            rankings = self._rankings[key] = precompute_rankings(items, model, key[1])
        return rankings

    def rankable(self, items: Items, ranker: Ranker) -> RankableItems:
        """What the ranker reads of the catalogue, also of items that came after the artifact."""
        revision, rankable = self._rankable or (-1, None)
        if rankable is None or revision != items.revision:
            rankable = rankable_items(items, ranker.inputs)
            self._rankable = (items.revision, rankable)
        return rankable

    def for_viewer(
        self, items: Items, viewer: Viewer, counts: ExposureSnapshot, *, is_minor: bool
    ) -> tuple[Nearness, Candidates]:
        """The nearness of every item to a kind of viewer, and the columns that the rules read."""
        key = (items.revision, counts.version, viewer.country, viewer.region, viewer.languages, is_minor)
        columns = self._by_viewer.get(key)
        if columns is None:
            near = nearness(viewer, items, self.market)
            is_new = counts.is_new(items, self.market.locality.new_creator.impressions)
            columns = near, rule_columns(items, near, is_new, self.market, is_minor=is_minor)
            if len(self._by_viewer) >= MAX_VIEWER_KINDS:
                self._by_viewer.clear()
            self._by_viewer[key] = columns
        return columns
