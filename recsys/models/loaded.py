"""
The trained models as the engine uses them: standardised spaces with their indexes, blend, popularity, histories and
ranker. They are built from an artifact at start-up or before a swap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from recsys.errors import StageError
from recsys.models.affinity_index import AffinityIndex, index_affinity
from recsys.models.artifact import Artifact
from recsys.models.blend import Blend
from recsys.models.features import RESPONSE, FeatureInputs, build_item_facts
from recsys.models.histories import SeenInLog
from recsys.models.interactions import interactions_from_history
from recsys.models.linear_blend import LinearBlend, linear_blend
from recsys.models.popularity import Popularity
from recsys.models.ranker import Ranker
from recsys.models.standardised_space import StandardisedSpace, standardise_space
from recsys.strings import IdIndex, id_index, string_column
from recsys.types import Fields, Floats, History, Ids, Mask


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainedModels:
    """
    Everything that was trained. `rows` gives the artifact's row of an item id; `profiles` the users table by user id.

    `content_share`: how much of the weight of content stays, see `training.models.mixing_weight`. `locality_weight` by
    market: see `training.models.locality_weight`. `language_mix`, `language_watched`: see `training.models.languages`.
    """

    version: str
    n_rows: int
    rows: IdIndex
    spaces: Mapping[str, StandardisedSpace]
    blend: Blend
    popularity: Popularity
    popularity_mean: float
    popularity_spread: float
    histories: Mapping[str, History]
    profiles: Mapping[str, Fields]
    safe_feed: tuple[str, ...]
    seen: SeenInLog
    content_share: float
    locality_weight: Mapping[str, float]
    language_mix: Mapping[str, Mapping[str, float]]
    language_watched: Mapping[str, Mapping[str, float]]
    ranker: Ranker | None
    linear_blend: LinearBlend | None  # the blend in closed form, where it has one
    affinity_index: AffinityIndex | None  # None without a ranker

    def popularity_scores(self, country: str | None, rows: Ids) -> Floats:
        """(n,) standardised popularity in a market; NaN for rows below 0."""
        if not self.n_rows:
            return np.full(len(rows), np.nan, np.float32)
        scores = (self.popularity.of(country)[np.maximum(rows, 0)] - self.popularity_mean) / self.popularity_spread
        return np.where(rows < 0, np.nan, scores).astype(np.float32)

    def blend_scores(self, history: History, country: str | None, is_open: Mask | None = None) -> Floats:
        """See `blend_scores`."""
        return blend_scores(self.blend, self.popularity, history, country, is_open)


def blend_scores(
    blend: Blend, popularity: Popularity, history: History, country: str | None, is_open: Mask | None = None
) -> Floats:
    """
    (n_rows,) the blend's scores of every item for one user, in standard deviations over the items with a positive
    interaction; NaN for the others.

    `is_open` (n_rows,) is what may be shown; the re-ranker orders those items alone. None: every item.
    """
    markets, is_known = popularity.markets, popularity.scores[-1] > 0
    market = markets.index(country) if country in markets else len(markets)
    users = interactions_from_history(history, len(is_known), market)
    if blend.reranker is not None and is_open is not None:
        closed = np.union1d(np.flatnonzero(~(is_open & is_known)), history.items)
        entries = (np.ones(len(closed), np.float32), closed, np.array([0, len(closed)]))
        users = replace(users, exposed=sparse.csr_matrix(entries, (1, len(is_known))))
    scores = blend.scores(users)[0]
    known = scores[is_known]
    if len(known):
        scores = (scores - known.mean()) / max(float(known.std()), 1e-6)
    return np.where(is_known, scores, np.nan).astype(np.float32)


def build_models(artifact: Artifact) -> TrainedModels:
    """The models of a loaded artifact. Takes well under a second for 100,000 items."""
    item_ids = string_column(artifact.items["item_id"])
    popularity_mean, popularity_spread = _centre_and_spread(artifact.popularity.scores[-1])
    spaces = {name: standardise_space(space, artifact.indexes[name]) for name, space in artifact.spaces.items()}
    ranker = _build_ranker(artifact, spaces)
    return TrainedModels(
        version=artifact.version,
        n_rows=len(item_ids),
        rows=id_index(item_ids),
        spaces=spaces,
        blend=artifact.blend,
        popularity=artifact.popularity,
        popularity_mean=popularity_mean,
        popularity_spread=popularity_spread,
        histories=artifact.histories,
        profiles={row["user_id"]: row for row in artifact.users.iter_rows(named=True)},
        safe_feed=artifact.safe_feed,
        seen=artifact.seen,
        content_share=artifact.manifest.content_share,
        locality_weight=artifact.manifest.locality_weight,
        language_mix=artifact.manifest.language_mix,
        language_watched=artifact.manifest.language_watched,
        ranker=ranker,
        linear_blend=linear_blend(artifact.blend, artifact.popularity),
        affinity_index=None if ranker is None else _affinity_index(ranker.inputs),
    )


def _centre_and_spread(popularity: Floats) -> tuple[float, float]:
    """The mean and the standard deviation of a popularity (n_items,). Raises StageError where one is not finite."""
    if not len(popularity):
        return 0.0, 1e-6
    with np.errstate(all="ignore"):
        mean, spread = float(popularity.mean()), float(popularity.std())
    if not np.isfinite([mean, spread]).all():
        raise StageError(
            "found a popularity of items that is not finite or too large, expected finite numbers; train again"
        )
    return mean, max(spread, 1e-6)


def _affinity_index(inputs: FeatureInputs) -> AffinityIndex:
    return index_affinity(inputs.item_features, inputs.rates[:, RESPONSE])


def _build_ranker(artifact: Artifact, spaces: Mapping[str, StandardisedSpace]) -> Ranker | None:
    if artifact.ranker is None:
        return None
    inputs = FeatureInputs(
        spaces=spaces,
        popularity=artifact.popularity,
        facts=build_item_facts(artifact.items, artifact.creators),
        rates=np.asarray(artifact.ranker.rates),
        item_features=np.asarray(artifact.ranker.item_features),
        form=artifact.ranker.form,
    )
    return Ranker(heads=artifact.ranker, inputs=inputs)
