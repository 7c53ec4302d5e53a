"""Every base model of the blend as a row beside the score that is made of them."""

from collections.abc import Mapping
from typing import Final

import msgspec

from eval.offline.intervals import Difference, Estimate, Resamples, corrected, difference, estimate, without_interval
from eval.offline.replay import ReplayResult
from recsys import metrics
from recsys.types import Reals

ROW_METRICS: Final = ("recall", "ndcg", "map", "mrr", "novelty", "overlap", "diversity", "popularity", "tail_share")
SCORE: Final = "score"


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """
    One base model, or the score: metric -> estimate, accuracy at the cut-off of the report. `difference`: NDCG of the
    model less the score's, corrected for all models; None for the score itself.
    """

    name: str
    values: dict[str, Estimate]
    difference: Difference | None


def model_rows(
    values: Mapping[str, Mapping[str, Reals]], replayed: ReplayResult, k: int, resamples: Resamples
) -> list[ModelRow]:
    """The score first, then the models, best NDCG first. `values`: `name` or `name@k` -> ranking -> (q,)."""
    columns = {name: values.get(name) or values[f"{name}@{k}"] for name in ROW_METRICS}
    pages = {SCORE: replayed.pages[SCORE], **replayed.model_pages}
    ndcg = dict(columns["ndcg"])
    differences = [difference("ndcg", name, SCORE, ndcg, resamples) for name in replayed.model_pages]
    of_model = dict(zip(replayed.model_pages, corrected(differences), strict=True))
    rows = [
        ModelRow(
            name=name,
            values={
                **{metric: estimate(column[name], resamples) for metric, column in columns.items()},
                "coverage": without_interval(metrics.coverage(table, replayed.n_eligible > 0)),
            },
            difference=of_model.get(name),
        )
        for name, table in pages.items()
    ]
    return sorted(rows, key=lambda row: (row.name != SCORE, -(row.values["ndcg"].mean or 0.0), row.name))
