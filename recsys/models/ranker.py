"""
The learned ranker: what a person would do with an item, as calibrated probabilities, and how much that counts.

One small ensemble of trees (LightGBM) for each action. A probability is sigmoid(slope * raw + intercept), fitted on
later impressions than the trees (Platt 1999), so that equal numbers mean equal chances and no order is lost.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from recsys.models.features import Basis, names_of
from recsys.models.trees import open_booster
from recsys.types import Floats
from recsys.vocabulary import HEADS

TASTE: Final = ("cf", "content", "popular")
"""The parts of a score whose place the heads take, as far as they are better at it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """One action. `booster` gives the raw sum of the trees; `prior` is the chance where nothing is known."""

    booster: Any
    slope: float
    intercept: float
    prior: float

    def predict(self, matrix: Floats) -> Floats:
        """(n,) chances in (0, 1) of n rows of features."""
        raw = self.booster.predict(matrix, raw_score=True, num_threads=1, predict_disable_shape_check=True)
        return np.asarray(1 / (1 + np.exp(-(self.slope * raw + self.intercept))), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """
    What an artifact holds of a ranker. `portion` in [0, 1] is how much of the taste the heads are, chosen on later
    impressions. The weights of the parts before are multiplied by `kept` and those of the heads by `taken`, so that
    the taste is spread as widely as before and locality keeps its price.

    `rates` (n_items, 6) are features of the items, see `features.Basis`.
    """

    features: tuple[str, ...]
    heads: Mapping[str, Head]
    rates: Floats
    portion: float
    kept: float
    taken: float

    def predict(self, matrix: Floats) -> Mapping[str, Floats]:
        """(n,) chances by action. `matrix` (n, len(features)) contiguous float32."""
        return {name: head.predict(matrix) for name, head in self.heads.items()}

    def weights(self, given: Mapping[str, float]) -> Mapping[str, float]:
        """
        The weights of a market or experiment as they count: a portion of the taste from the heads, the rest from the
        parts that were there before. What is refused counts against an item.
        """
        kept = {name: given[name] * self.kept for name in TASTE if name in given}
        heads: dict[str, float] = {name: given[name] * self.taken for name in HEADS if name in given}
        if "not_interested" in heads:
            heads["not_interested"] *= -1
        return {**given, **kept, **heads}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranker:
    """Heads and what their features are computed from."""

    heads: Heads
    basis: Basis


def save(folder: Path, heads: Heads) -> dict[str, Any]:
    """Writes the trees as text and the rates as an array; returns the rest, as it stands in the manifest."""
    for name, head in heads.heads.items():
        (folder / f"ranker.{name}.txt").write_text(head.booster.model_to_string(), encoding="utf-8")
    np.save(folder / "ranker.rates.npy", heads.rates, allow_pickle=False)
    return {
        "features": heads.features,
        "portion": heads.portion,
        "kept": heads.kept,
        "taken": heads.taken,
        "heads": {
            name: {"slope": head.slope, "intercept": head.intercept, "prior": head.prior}
            for name, head in heads.heads.items()
        },
    }


def load(folder: Path, settings: Mapping[str, Any], spaces: Iterable[str]) -> Heads:
    """The inverse of `save`. Raises ValueError when it was fitted on other features than these spaces give."""
    found, expected = tuple(settings["features"]), names_of(spaces)
    if found != expected:
        raise ValueError(f"the ranker reads the features {', '.join(found)}, expected {', '.join(expected)}")
    return Heads(
        features=found,
        heads={
            name: Head(booster=open_booster((folder / f"ranker.{name}.txt").read_text(encoding="utf-8")), **numbers)
            for name, numbers in settings["heads"].items()
        },
        rates=np.load(folder / "ranker.rates.npy", mmap_mode="r", allow_pickle=False),
        portion=float(settings["portion"]),
        kept=float(settings["kept"]),
        taken=float(settings["taken"]),
    )
