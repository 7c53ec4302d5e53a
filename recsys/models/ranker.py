"""
The learned ranker: calibrated probabilities of what a user does with an item, and how much they count in a score.

Each action has a head, one small ensemble of trees (LightGBM). A probability is sigmoid(slope * raw + intercept),
fitted on later impressions than the trees (Platt 1999), so equal numbers mean equal probabilities and the order stays
the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from recsys.models.features import FeatureInputs, feature_names
from recsys.models.trees import open_booster
from recsys.types import Booster, Floats
from recsys.vocabulary import HEADS

PREFERENCE_SCORES: Final = ("cf", "content", "popular")
"""The components of a score that the heads replace by the mixing weight."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankerHead:
    """One action. `booster` gives the raw sum of the trees; `prior` is the probability where nothing is known."""

    booster: Booster
    slope: float
    intercept: float
    prior: float

    def predict(self, matrix: Floats) -> Floats:
        """(n,) probabilities in (0, 1) of n rows of features (n, n_features)."""
        raw = self.booster.predict(matrix, raw_score=True, num_threads=1, predict_disable_shape_check=True)
        return np.asarray(1 / (1 + np.exp(-(self.slope * raw + self.intercept))), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankerHeads:
    """
    What an artifact holds of a ranker. `mixing_weight` in [0, 1] is the share of the preference scores that the heads
    replace, chosen on later impressions. The weights of the preference scores are multiplied by `base_scale` and those
    of the heads by `head_scale`, so that their sum is spread as widely as before and locality costs as much as before.

    `rates` (n_items, 6) are features of the items, see `features.FeatureInputs`.
    """

    features: tuple[str, ...]
    heads: Mapping[str, RankerHead]
    rates: Floats
    mixing_weight: float
    base_scale: float
    head_scale: float

    def predict(self, matrix: Floats) -> Mapping[str, Floats]:
        """(n,) probabilities by action. `matrix` (n, len(features)) contiguous float32."""
        return {name: head.predict(matrix) for name, head in self.heads.items()}

    def weights(self, given: Mapping[str, float]) -> Mapping[str, float]:
        """
        The weights of a market or experiment, scaled by the mixing weight. A probability of negative feedback counts
        against an item.
        """
        base = {name: given[name] * self.base_scale for name in PREFERENCE_SCORES if name in given}
        heads: dict[str, float] = {name: given[name] * self.head_scale for name in HEADS if name in given}
        if "not_interested" in heads:
            heads["not_interested"] *= -1
        return {**given, **base, **heads}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranker:
    """Heads and what their features are computed from."""

    heads: RankerHeads
    inputs: FeatureInputs


def save(folder: Path, heads: RankerHeads) -> dict[str, Any]:
    """Writes the trees as text and the rates as an array; returns the rest, which goes into the manifest."""
    for name, head in heads.heads.items():
        (folder / f"ranker.{name}.txt").write_text(head.booster.model_to_string(), encoding="utf-8")
    np.save(folder / "ranker.rates.npy", heads.rates, allow_pickle=False)
    return {
        "features": heads.features,
        "mixing_weight": heads.mixing_weight,
        "base_scale": heads.base_scale,
        "head_scale": heads.head_scale,
        "heads": {
            name: {"slope": head.slope, "intercept": head.intercept, "prior": head.prior}
            for name, head in heads.heads.items()
        },
    }


def load(folder: Path, settings: Mapping[str, Any], spaces: Iterable[str]) -> RankerHeads:
    """The inverse of `save`. Raises ValueError when the ranker was fitted on other features than these spaces give."""
    features, expected = tuple(settings["features"]), feature_names(spaces)
    if features != expected:
        raise ValueError(f"the ranker reads the features {', '.join(features)}, expected {', '.join(expected)}")
    return RankerHeads(
        features=features,
        heads={
            name: RankerHead(
                booster=open_booster((folder / f"ranker.{name}.txt").read_text(encoding="utf-8")), **numbers
            )
            for name, numbers in settings["heads"].items()
        },
        rates=np.load(folder / "ranker.rates.npy", mmap_mode="r", allow_pickle=False),
        mixing_weight=float(settings["mixing_weight"]),
        base_scale=float(settings["base_scale"]),
        head_scale=float(settings["head_scale"]),
    )
