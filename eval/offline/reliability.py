"""
Whether the ranker's chances can be believed: of the impressions to which it gave a chance of 20 %, did 20 % happen?

Judged on what was shown after the artifact stopped learning, each impression as of the beginning of its slate and at
the place where it stood.
"""

from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from recsys.clock import Millis, from_text
from recsys.data.impressions import impressions, log_of, matrix, past, places
from recsys.data.tables import read_dataset
from recsys.metrics import auc
from recsys.models.artifact import Artifact
from recsys.models.loaded import build_model
from recsys.types import Floats, Mask
from recsys.vocabulary import HEADS

BINS: Final = 10
MOST: Final = 100_000  # impressions, the first of the holdout


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Impressions with similar chances: the mean of what was said, the share that happened, how many."""

    said: float
    happened: float
    n: int


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """One head. `error` is the mean distance between said and happened over the bins, by their size; `auc` of order."""

    head: str
    bins: list[Bin]
    said: float
    happened: float
    error: float
    auc: float | None
    n: int


def reliability(artifact: Artifact, data: Path, until: Millis | None) -> list[Reliability]:
    """One entry for each head of the artifact; none without a ranker or without held-out impressions."""
    ranker = build_model(artifact).ranker
    if ranker is None or artifact.manifest.cutoff is None:
        return []
    log = log_of(read_dataset(data), artifact.items)
    shown = impressions(log, from_text(artifact.manifest.cutoff), until)
    shown = shown.take(np.arange(min(len(shown), MOST)))
    if not len(shown):
        return []
    where = places(log, str(artifact.manifest.config.get("market", "")))
    chances = ranker.heads.predict(matrix(shown, past(log, until), where, ranker.basis))
    return [of_head(name, found, shown.did[:, HEADS.index(name)]) for name, found in chances.items()]


def of_head(name: str, chances: Floats, did: Mask) -> Reliability:
    """
    Said against happened in up to `BINS` bins of nearly equal size.

    Shapes: chances (n,) in [0, 1], did (n,); n >= 1. Equal chances are never divided between bins.
    """
    edges = np.unique(np.quantile(chances, np.arange(1, BINS) / BINS))
    of = np.searchsorted(edges, chances, side="right")
    n = np.bincount(of, minlength=len(edges) + 1)
    said, happened = np.bincount(of, chances, len(n)), np.bincount(of, did, len(n))
    bins = [
        Bin(said=float(s / count), happened=float(h / count), n=int(count))
        for s, h, count in zip(said, happened, n, strict=True)
        if count
    ]
    order = auc(chances, did)
    return Reliability(
        head=name,
        bins=bins,
        said=float(chances.mean(dtype=np.float64)),
        happened=float(did.mean()),
        error=sum(b.n * abs(b.said - b.happened) for b in bins) / len(did),
        auc=None if np.isnan(order) else order,
        n=len(did),
    )
