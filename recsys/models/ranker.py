"""
The learned ranker: calibrated probabilities of what a user does with an item, and how much they count in a score.

Each action has a head: a logistic regression on standardised features, and on top of it a small ensemble of trees
(LightGBM) where validation found that it helps. A probability is sigmoid(slope * raw + intercept), fitted on later
impressions than the head (Platt 1999), so equal numbers mean equal probabilities and the order stays the same.
"""

from collections.abc import Iterable, Mapping
from ctypes import c_float, c_int64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from recsys.kernels import address, library
from recsys.models.affinity import NO_FORM, Form
from recsys.models.features import FeatureInputs, feature_names
from recsys.models.trees import open_booster
from recsys.types import Booster, Floats
from recsys.vocabulary import HEADS

PREFERENCE_SCORES: Final = ("cf", "content", "popular")
"""The components of a score that the heads replace by the mixing weight."""

MAX_DEVIATIONS: Final = 4.0
"""Standard deviations at which a feature is cut off, so that no odd value decides alone."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureScale:
    """The mean and the standard deviation of each feature: two arrays (n_features,)."""

    mean: Floats
    deviation: Floats

    def standardise(self, matrix: Floats) -> Floats:
        """(n, n_features) in standard deviations, at most `MAX_DEVIATIONS`; unknown values count as the mean."""
        native = library()
        is_plain = matrix.dtype == self.mean.dtype == self.deviation.dtype == np.float32
        is_whole = matrix.flags.c_contiguous and matrix.shape[1:] == self.mean.shape == self.deviation.shape
        if native is None or not (is_plain and is_whole):
            return self.standardise_in_numpy(matrix)
        scaled, mean, deviation = np.empty_like(matrix), *map(np.ascontiguousarray, (self.mean, self.deviation))
        native.standardise(
            address(matrix), c_int64(len(matrix)), c_int64(matrix.shape[1]), address(mean),
            address(deviation), c_float(MAX_DEVIATIONS), address(scaled),
        )  # fmt: skip
        return scaled

    def standardise_in_numpy(self, matrix: Floats) -> Floats:
        """The reference of `standardise`."""
        scaled: Floats = np.nan_to_num((matrix - self.mean) / self.deviation)
        return scaled.clip(-MAX_DEVIATIONS, MAX_DEVIATIONS, out=scaled)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankerHead:
    """
    One action. `coefficients` (n_features,) of the standardised features; `booster` gives the raw sum of the trees over
    the same, None = no trees; `prior` is the probability where nothing is known.

    Trees do not see the features as they are: which are unknown differs between a log and a request.
    """

    coefficients: Floats
    booster: Booster | None
    slope: float
    intercept: float
    prior: float

    def raw(self, standardised: Floats) -> Floats:
        """(n,) before calibration, of n rows of standardised features."""
        linear = standardised @ self.coefficients
        if self.booster is None:
            return linear
        trees = self.booster.predict(standardised, raw_score=True, num_threads=1, predict_disable_shape_check=True)
        return np.asarray(linear + trees, np.float32)

    def predict(self, standardised: Floats) -> Floats:
        """(n,) probabilities in (0, 1)."""
        return _chances(self.raw(standardised), np.float32(self.slope), np.float32(self.intercept))


def _chances(raw: Floats, slope: Floats | np.float32, intercept: Floats | np.float32) -> Floats:
    return np.asarray(1 / (1 + np.exp(-(slope * raw + intercept))), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RankerHeads:
    """
    What an artifact holds of a ranker. `mixing_weight` in [0, 1] is the share of the preference scores that the heads
    replace, chosen on later impressions. The weights of the preference scores are multiplied by `base_scale` and those
    of the heads by `head_scale`, so that their sum is spread as widely as before and locality costs as much as before.

    `rates`, `item_features` and `form` are features of the items, see `features.FeatureInputs`.
    """

    features: tuple[str, ...]
    scale: FeatureScale
    heads: Mapping[str, RankerHead]
    rates: Floats
    item_features: Floats
    mixing_weight: float
    base_scale: float
    head_scale: float
    form: Form = NO_FORM

    def predict(self, matrix: Floats) -> Mapping[str, Floats]:
        """(n,) probabilities by action. `matrix` (n, len(features)) contiguous float32."""
        standardised, heads = self.scale.standardise(matrix), self.heads.values()
        raw = np.array([head.raw(standardised) for head in heads], np.float32).reshape(len(heads), len(matrix))
        slopes, intercepts = np.array([(head.slope, head.intercept) for head in heads], np.float32).reshape(-1, 2).T
        return dict(zip(self.heads, _chances(raw, slopes[:, None], intercepts[:, None]), strict=True))

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
    """Writes trees as text and the rest as arrays; returns the numbers, which go into the manifest."""
    for name, head in heads.heads.items():
        if head.booster is not None:
            (folder / f"ranker.{name}.txt").write_text(head.booster.model_to_string(), encoding="utf-8")
    linear = np.stack([heads.scale.mean, heads.scale.deviation, *(head.coefficients for head in heads.heads.values())])
    for name, array in {"rates": heads.rates, "item_features": heads.item_features, "linear": linear}.items():
        np.save(folder / f"ranker.{name}.npy", array, allow_pickle=False)
    return {
        "features": heads.features,
        "mixing_weight": heads.mixing_weight,
        "base_scale": heads.base_scale,
        "head_scale": heads.head_scale,
        "form": heads.form._asdict(),
        "heads": {
            name: {
                "has_trees": head.booster is not None,
                "slope": head.slope,
                "intercept": head.intercept,
                "prior": head.prior,
            }
            for name, head in heads.heads.items()
        },
    }


def load(folder: Path, settings: Mapping[str, Any], spaces: Iterable[str]) -> RankerHeads:
    """The inverse of `save`. Raises ValueError when the ranker was fitted on other features than these spaces give."""
    features, expected = tuple(settings["features"]), feature_names(spaces)
    if features != expected:
        raise ValueError(f"the ranker reads the features {', '.join(features)}, expected {', '.join(expected)}")
    arrays = {
        name: np.load(folder / f"ranker.{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("rates", "item_features", "linear")
    }
    expected_shape = (2 + len(settings["heads"]), len(features))
    if arrays["linear"].shape != expected_shape:
        raise ValueError(f"ranker.linear.npy has shape {arrays['linear'].shape}, expected {expected_shape}")
    mean, deviation, *coefficients = np.array(arrays["linear"])
    return RankerHeads(
        features=features,
        scale=FeatureScale(mean, deviation),
        heads={
            name: _load_head(folder, name, numbers, own)
            for (name, numbers), own in zip(settings["heads"].items(), coefficients, strict=True)
        },
        rates=arrays["rates"],
        item_features=arrays["item_features"],
        mixing_weight=float(settings["mixing_weight"]),
        base_scale=float(settings["base_scale"]),
        head_scale=float(settings["head_scale"]),
        form=_form(settings, arrays["item_features"].shape[1]),
    )


def _form(settings: Mapping[str, Any], n_columns: int) -> Form:
    """The form among the features of items; an artifact of before it has none. Raises ValueError."""
    given: Mapping[str, Any] = settings.get("form", {})
    form = Form(int(given.get("n_kinds", 0)), int(given.get("n_lengths", 0)))
    if min(form) < 0 or sum(form) > n_columns:
        raise ValueError(f"the form of items has {tuple(form)} columns, expected at most {n_columns} in all")
    return form


def _load_head(folder: Path, name: str, numbers: Mapping[str, Any], coefficients: Floats) -> RankerHead:
    text = (folder / f"ranker.{name}.txt").read_text(encoding="utf-8") if numbers["has_trees"] else None
    return RankerHead(
        coefficients=coefficients,
        booster=None if text is None else open_booster(text),
        slope=numbers["slope"],
        intercept=numbers["intercept"],
        prior=numbers["prior"],
    )
