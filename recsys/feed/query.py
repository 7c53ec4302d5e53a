"""
One resolved request: everything a pipeline stage may read. The only clock and the only seed a stage may use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recsys.catalogue.items import Items
from recsys.catalogue.locality import Nearness
from recsys.catalogue.rankings import PrecomputedRankings
from recsys.clock import Millis
from recsys.models.loaded import Model
from recsys.policy.limits import Limits
from recsys.policy.schema import Market
from recsys.types import Candidates, Columns, Floats, History, Ids, Mask, Viewer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """
    A request, resolved before the pipeline starts; stages do no I/O.

    `items` is the catalogue, `whole` all of it as candidates with the columns that filters read, `is_eligible`
    (n_items,) what every filter lets through. `only` limits the page to some items; `is_shown` (n_clusters,) are the
    clusters delivered lately.
    """

    request_id: str
    viewer: Viewer
    at: Millis
    size: int
    seed: int
    surface: str
    market: Market
    model: Model
    items: Items
    nearness: Nearness
    limits: Limits
    is_minor: bool
    history: History
    followed: frozenset[int]
    is_shown: Mask
    excluded: frozenset[int]
    only: Ids | None
    text: str | None
    anchor: int | None
    weights: Mapping[str, float]
    reduced: Mapping[str, float]  # topics and families that the person refused a while ago: what is left of them
    whole: Candidates
    rankings: PrecomputedRankings
    is_eligible: Mask
    _vectors: dict[str, Floats] = field(init=False, default_factory=dict)  # worked out when first asked for
    chances: dict[bytes, Columns] = field(init=False, default_factory=dict)  # by item numbers, likewise

    def vector(self, space: str) -> Floats | None:
        """(d,) the person's place in a space; None for one that the model lacks, or without a history."""
        if space not in self.model.spaces or not len(self.history):
            return None
        if space not in self._vectors:
            self._vectors[space] = self.model.spaces[space].space.fold_in(self.history)
        return self._vectors[space]

    def taste(self) -> Floats | None:
        """(n_rows,) what the blend says of every artifact row, NaN = unknown; None without a history."""
        if not len(self.history) or not self.model.n_rows:
            return None
        if "taste" not in self._vectors:
            is_open = self.allowed_rows() if len(self.is_eligible) else None
            said = self.model.wanted(self.history, self.viewer.country, is_open)
            cf, place = self.model.spaces.get("cf"), self.vector("cf")
            if cf is not None and place is not None:  # what nobody wanted yet may stand there by its words and maker
                new = np.flatnonzero(np.isnan(said) & cf.is_known).astype(np.int32)
                said[new] = cf.scores(place, new)
            self._vectors["taste"] = said
        return self._vectors["taste"]

    def allowed_rows(self) -> Mask:
        """(n_rows,) artifact rows that every filter lets through."""
        return self.is_eligible[self.rankings.of_row]  # number 0 is no item's, and never eligible

    def item_nos(self, rows: Ids) -> Ids:
        """Item numbers of artifact rows."""
        return self.rankings.of_row[rows]
