"""
Preference models, and everything that is fitted, saved and loaded.

`load_artifact` opens what training wrote, and `build_models` prepares it for the engine. `Blend` sums the base models:
`graph_filter`, `spectral`, `ials`, `bpr`, `ease`, `item_knn`, `next_item` and `popularity`, each a module with a `fit`
and its parameters. They read `UserInteractions`, and `recommend` gives the best items of one of them. `ranker` predicts
actions; `index` searches the nearest items.
"""

from recsys.models.artifact import Artifact, ArtifactContents, load_artifact, save_artifact
from recsys.models.base import ItemItemModel, LinearSpace, PopularityModel, PreferenceModel
from recsys.models.blend import Blend
from recsys.models.interactions import (
    UserInteractions,
    interactions_from_histories,
    interactions_from_history,
    interactions_from_matrix,
)
from recsys.models.loaded import TrainedModels, build_models
from recsys.models.manifest import Manifest
from recsys.models.recommendations import recommend

__all__ = [
    "Artifact",
    "ArtifactContents",
    "Blend",
    "ItemItemModel",
    "LinearSpace",
    "Manifest",
    "PopularityModel",
    "PreferenceModel",
    "TrainedModels",
    "UserInteractions",
    "build_models",
    "interactions_from_histories",
    "interactions_from_history",
    "interactions_from_matrix",
    "load_artifact",
    "recommend",
    "save_artifact",
]
