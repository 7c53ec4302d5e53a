"""
Reliability of the ranker: of the impressions to which it gave a probability of 20 %, did 20 % end so?

Evaluated on the impressions after the artifact's cutoff, each as of the beginning of its slate and at the position
where it stood.
"""

from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from recsys.clock import Millis, from_text
from recsys.data.impressions import (
    Past,
    feature_matrix,
    past_interactions,
    past_responses,
    people_places,
    read_impressions,
    read_log,
)
from recsys.data.tables import read_dataset
from recsys.metrics import auc
from recsys.models.artifact import Artifact
from recsys.models.loaded import build_models
from recsys.types import Floats, Mask
from recsys.vocabulary import HEADS

N_BINS: Final = 10
MAX_IMPRESSIONS: Final = 100_000  # the first ones of the holdout


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """`n` impressions with similar probabilities: the mean that was predicted, and the share that was observed."""

    predicted: float
    observed: float
    n: int


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """
    One head. `error` is the expected calibration error: the mean distance between predicted and observed over the bins,
    weighted by their size. `auc` is None when all impressions ended alike.
    """

    head: str
    bins: list[ReliabilityBin]
    predicted: float
    observed: float
    error: float
    auc: float | None
    n: int


def reliability(artifact: Artifact, data: Path, until: Millis | None) -> list[Reliability]:
    """An entry for each head of the artifact; none without a ranker or without held-out impressions."""
    ranker = build_models(artifact).ranker
    if ranker is None or artifact.manifest.cutoff is None:
        return []
    log = read_log(read_dataset(data), artifact.items)
    everything = read_impressions(log, 0, until)
    shown = everything.take(everything.at >= from_text(artifact.manifest.cutoff))
    shown = shown.take(np.arange(min(len(shown), MAX_IMPRESSIONS)))
    if not len(shown):
        return []
    places = people_places(log, str(artifact.manifest.config.get("market", "")))
    past = Past(past_interactions(log, until), past_responses(everything, len(log.people)), places)
    probabilities = ranker.heads.predict(feature_matrix(shown, past, ranker.inputs))
    return [
        head_reliability(name, predicted, shown.did[:, HEADS.index(name)]) for name, predicted in probabilities.items()
    ]


def head_reliability(name: str, probabilities: Floats, did: Mask) -> Reliability:
    """
    Predicted against observed in up to `N_BINS` bins of nearly equal size.

    Shapes: probabilities (n,) in [0, 1], did (n,); n >= 1. Equal probabilities always fall into one bin.
    """
    edges = np.unique(np.quantile(probabilities, np.arange(1, N_BINS) / N_BINS))
    bin_no = np.searchsorted(edges, probabilities, side="right")
    n = np.bincount(bin_no, minlength=len(edges) + 1)
    predicted, observed = np.bincount(bin_no, probabilities, len(n)), np.bincount(bin_no, did, len(n))
    bins = [
        ReliabilityBin(predicted=float(p / count), observed=float(o / count), n=int(count))
        for p, o, count in zip(predicted, observed, n, strict=True)
        if count
    ]
    area = auc(probabilities, did)
    return Reliability(
        head=name,
        bins=bins,
        predicted=float(probabilities.mean(dtype=np.float64)),
        observed=float(did.mean()),
        error=sum(b.n * abs(b.predicted - b.observed) for b in bins) / len(did),
        auc=None if np.isnan(area) else area,
        n=len(did),
    )
