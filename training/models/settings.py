"""The settings of the base models and of their validation: what training starts from, and what `--config` holds."""

from dataclasses import dataclass, field
from typing import Final

from recsys.models.bpr import BPRParams
from recsys.models.ease import EASEParams
from recsys.models.graph_filter import GraphFilterParams
from recsys.models.ials import IALSParams
from recsys.models.item_knn import BM25Params
from recsys.models.next_item import NextItemParams
from recsys.models.spectral import SpectralParams

FACTORS: Final = "ials"
"""Always fitted and saved, whatever its weight: related items and items without interactions are embedded in it."""

SHIPPED_MODELS: Final = ("graph_filter", "spectral", FACTORS, "ease", "next_item")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendParams:
    """
    Settings of the base models and of their validation.

    `models`: the base models that are tried, beside popularity, which always is. `validation_share`: of the events, in
    each fold; `validation_users`: in all folds together. `k`: the measure is NDCG at k.
    """

    models: tuple[str, ...] = SHIPPED_MODELS
    graph_filter: GraphFilterParams = field(default_factory=lambda: GraphFilterParams(n_neighbours=100))
    spectral: SpectralParams = field(default_factory=lambda: SpectralParams(embedding_size=64))
    ials: IALSParams = field(default_factory=lambda: IALSParams(embedding_size=64, reg=0.03, unobserved=0.1, epochs=6))
    ease: EASEParams = field(default_factory=EASEParams)
    next_item: NextItemParams = field(default_factory=NextItemParams)
    bm25: BM25Params = field(default_factory=BM25Params)
    bpr: BPRParams = field(default_factory=BPRParams)
    validation_share: float = 0.1
    validation_users: int = 6_000
    k: int = 20
