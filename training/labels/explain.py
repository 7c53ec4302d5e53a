"""Why an item got its predicted label: the character n-grams and the labelled items that speak for it."""

from collections.abc import Sequence
from typing import Final, TypedDict

import numpy as np
import polars as pl

from recsys.types import Rows
from training.labels.predict import PredictedLabels

N_NGRAMS: Final = 5
N_NEAREST: Final = 3
_MAX_CANDIDATES: Final = 30
"""N-grams of which those inside others are left out."""

_BLOCK_ITEMS: Final = 1_024


class SimilarItem(TypedDict):
    """A labelled item like another one: the tier that people gave it, and the cosine of both."""

    item_id: str
    tier: str
    similarity: float


class Why(TypedDict):
    """What speaks for a predicted label."""

    ngrams: list[str]
    similar: list[SimilarItem]


def explain(items: pl.DataFrame, texts: Sequence[str], predicted: PredictedLabels) -> pl.Series:
    """For each item with a label: the n-grams that added most to its tier, and the most similar labelled items."""
    rows = np.flatnonzero(predicted.columns["predicted_tier"].is_not_null().to_numpy())
    labelled_texts = [texts[row] for row in rows.tolist()]
    strongest = _strongest_ngrams(labelled_texts, predicted.columns["predicted_tier"].gather(rows), predicted)
    why: list[Why | None] = [None] * len(items)
    for row, ngrams, similar in zip(rows.tolist(), strongest, _similar_items(rows, items, predicted), strict=True):
        why[row] = {"ngrams": ngrams, "similar": similar}
    similar_type = pl.List(pl.Struct({"item_id": pl.String, "tier": pl.String, "similarity": pl.Float64}))
    return pl.Series("why", why, pl.Struct({"ngrams": pl.List(pl.String), "similar": similar_type}))


def _strongest_ngrams(texts: Sequence[str], tiers: pl.Series, predicted: PredictedLabels) -> list[list[str]]:
    """The n-grams that added most to the answer, none inside another; for R0 those that speak against R1."""
    heads = predicted.heads
    weights = heads.reader.ngram_matrix(texts)
    strongest: list[list[str]] = []
    for n, tier in enumerate(tiers):
        question = f"tier>={'R1' if tier == 'R0' else tier}"
        if question not in heads.questions:
            strongest.append([])
            continue
        row = weights[[n]]
        sign = -1 if tier == "R0" else 1
        added = sign * row.data * heads.ngram_weights[row.indices, heads.questions.index(question)]
        order = [i for i in np.argsort(-added)[:_MAX_CANDIDATES] if added[i] > 0]
        strongest.append(_drop_nested([heads.reader.ngrams[row.indices[i]].strip() for i in order])[:N_NGRAMS])
    return strongest


def _drop_nested(ngrams: Sequence[str]) -> list[str]:
    """The n-grams of two letters or more that neither lie inside an earlier one nor hold one."""
    separate: list[str] = []
    for ngram in ngrams:
        if len(ngram) > 1 and not any(ngram in other or other in ngram for other in separate):
            separate.append(ngram)
    return separate


def _similar_items(rows: Rows, items: pl.DataFrame, predicted: PredictedLabels) -> list[list[SimilarItem]]:
    """The most similar labelled items, by cosine, with the tier that people gave them."""
    labelled = np.flatnonzero(predicted.is_fitted)
    unit = predicted.vectors / np.maximum(np.linalg.norm(predicted.vectors, axis=1, keepdims=True), 1e-12)
    ids, tiers = items["item_id"].to_list(), items["risk_tier"].to_list()
    similar: list[list[SimilarItem]] = []
    for start in range(0, len(rows), _BLOCK_ITEMS):
        block = rows[start : start + _BLOCK_ITEMS]
        similarity = unit[block] @ unit[labelled].T
        similarity[block[:, None] == labelled] = -1  # not the item itself
        best = np.argsort(-similarity, axis=1)[:, :N_NEAREST]
        similar += [
            [
                {"item_id": ids[labelled[b]], "tier": tiers[labelled[b]], "similarity": round(float(values[b]), 3)}
                for b in row.tolist()
            ]
            for row, values in zip(best, similarity, strict=True)
        ]
    return similar
