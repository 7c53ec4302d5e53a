"""What each base model of the blend would have shown alone, from what the engine could have shown."""

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.errors import ConfigError
from recsys.feed.query import Query
from recsys.models.artifact import Artifact
from recsys.models.base import PreferenceModel
from recsys.models.interactions import interactions_from_history
from recsys.topk import top_k
from recsys.types import Ids


def chosen_models(artifact: Artifact, names: Sequence[str] | None) -> dict[str, PreferenceModel]:
    """The base models of these names, None = all. Raises ConfigError for a name that the artifact does not have."""
    models = dict(artifact.blend.base_models)
    if names is None:
        return models
    if unknown := [name for name in names if name not in models]:
        raise ConfigError(
            f"found the model {unknown[0]!r}, expected one of the artifact's: {', '.join(sorted(models)) or 'none'}"
        )
    return {name: models[name] for name in dict.fromkeys(names)}


def pages_of_models(models: Mapping[str, PreferenceModel], query: Query, item_nos: Ids, k: int) -> dict[str, Ids]:
    """
    By model, the k best item numbers that pass every filter; `item_nos` (n_rows,) are those of the artifact's rows.

    A person without a history gets the first k, as every item has the same score; popularity tells theirs apart.
    """
    open_rows = np.flatnonzero(query.is_eligible[item_nos] & (item_nos > 0))
    markets, country = query.model.popularity.markets, query.viewer.country
    market = markets.index(country) if country in markets else len(markets)
    users = interactions_from_history(query.history, len(item_nos), market)
    pages = {}
    for name, model in models.items():
        scores = np.nan_to_num(model.scores(users)[:, open_rows], nan=-np.inf)
        pages[name] = item_nos[open_rows[top_k(scores, k)[0]]]
    return pages
