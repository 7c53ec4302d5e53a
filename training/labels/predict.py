"""
Predicted labels of items: tier, family and topics, learned from the items that people labelled.

A predicted label can only raise an item's tier, where it is sure (`recsys.catalogue.items`). It never lowers a tier,
and it never labels an unlabelled item, which stays R2 for adults and ineligible for minors. "Unknown" is an answer:
below the threshold, for empty texts, and for texts that the engine does not understand (Tifinagh), nothing is
predicted. A label is no diagnosis of a person, and it removes nothing by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.columns import PREDICTED
from recsys.progress import Progress, quiet
from recsys.types import Floats, Mask, Reals
from recsys.vocabulary import FAMILIES, TIERS, TOPICS
from training.labels.fit_heads import HeadParams
from training.labels.fitted import fit_or_reuse
from training.labels.heads import LabelHeads
from training.labels.logistic import Answers
from training.text.embeddings import embed
from training.text.encoder import EncoderParams, make_encoder
from training.text.features import TextFeatures

LABEL_SOURCES: Final = ("platform", "partner", "human")
"""Sources of labels that heads are fitted to: people, not models or assumptions."""

HARM_FAMILIES: Final = tuple(family for family in FAMILIES if family != "unlabelled")
FAMILY: Final = "family"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelParams:
    """
    `threshold`: the probability that an answer needs; when an item is served, the market's `label_threshold` applies
    too. `second_encoder`: an encoder beside the artifact's, for the heads alone; None for none.
    """

    threshold: float = 0.8
    second_encoder: str | None = "use"
    heads: HeadParams = field(default_factory=HeadParams)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictedLabels:
    """
    Labels of n items. `probabilities` (n, q) in the order of `heads.questions`; those of items that the heads were
    fitted to are out of fold. `columns` are `columns.PREDICTED`. `is_fitted` (n,): the heads were fitted to the item.
    `vectors` (n, d) are what the heads read.
    """

    heads: LabelHeads
    probabilities: Reals
    columns: pl.DataFrame
    is_fitted: Mask
    vectors: Floats


def predict_labels(
    items: pl.DataFrame,
    texts: Sequence[str],
    features: TextFeatures,
    params: LabelParams,
    cache: Path,
    on_progress: Progress = quiet,
) -> PredictedLabels | None:
    """
    Fits heads to the labelled items and labels all; None when there are too few labels.

    `items` in contract columns; `texts` and `features` row by row. The version is filled in when the heads are saved.
    """
    rows = np.flatnonzero(is_human_label(items) & is_readable(features))
    vectors = head_vectors(texts, features, params.second_encoder if len(rows) else None, cache, on_progress)
    labelled_texts = [texts[row] for row in rows.tolist()]
    languages = [features.languages[row] for row in rows.tolist()]
    answers = label_answers(items[rows])
    fitted = fit_or_reuse(labelled_texts, vectors[rows], languages, answers, params.heads, cache, on_progress)
    if fitted is None:
        return None
    probabilities = np.full((len(items), fitted.out_of_fold.shape[1]), np.nan)
    probabilities[rows] = fitted.out_of_fold
    others = np.flatnonzero(np.isnan(probabilities[:, 0]))
    probabilities[others] = fitted.heads.predict(
        [texts[row] for row in others.tolist()], vectors[others], [features.languages[row] for row in others.tolist()]
    )
    is_fitted = np.zeros(len(items), np.bool_)
    is_fitted[rows] = True
    return PredictedLabels(
        heads=fitted.heads,
        probabilities=probabilities,
        columns=label_columns(fitted.heads.questions, probabilities, is_readable(features), params.threshold),
        is_fitted=is_fitted,
        vectors=vectors,
    )


def head_vectors(
    texts: Sequence[str], features: TextFeatures, second_encoder: str | None, cache: Path, on_progress: Progress = quiet
) -> Floats:
    """(n, d) what the heads read: the artifact's vectors, and those of the second encoder beside them."""
    if second_encoder is None:
        return features.vectors
    second = make_encoder(EncoderParams(model=second_encoder), cache)
    return np.hstack([features.vectors, embed(texts, second, cache, on_progress=on_progress).vectors])


def is_readable(features: TextFeatures) -> Mask:
    """(n,) texts that are not empty and in a language that the engine understands."""
    return np.asarray(np.any(features.vectors, axis=1) & features.is_understood)


def is_human_label(items: pl.DataFrame) -> Mask:
    """(n,) items that people labelled."""
    is_human = items["risk_tier"].is_not_null() & items["risk_source"].fill_null("platform").is_in(list(LABEL_SOURCES))
    return is_human.to_numpy()


def label_answers(items: pl.DataFrame) -> Answers:
    """
    The labels of people as answers: a question for each tier from R1 (at least this tier?), for each topic, and which
    family.
    """
    tier = items["risk_tier"].replace_strict(list(TIERS), range(len(TIERS)), return_dtype=pl.Int8).to_numpy()
    families = [*HARM_FAMILIES]
    family = np.array([families.index(name) + 1 if name in families else 0 for name in items["risk_family"]], np.int64)
    topics = items["topics"].fill_null([])
    return {
        **{f"tier>={name}": tier >= n for n, name in enumerate(TIERS) if n},
        FAMILY: np.where(tier >= 2, family, 0),
        **{f"topic:{name}": topics.list.contains(name).to_numpy() for name in TOPICS},
    }


def label_columns(questions: Sequence[str], probabilities: Reals, readable: Mask, threshold: float) -> pl.DataFrame:
    """The answers as columns of items; null, or an empty list of topics, is "unknown"."""
    column = {name: probabilities[:, n] for n, name in enumerate(questions)}
    tier, confidence = _predict_tier(column, threshold, len(readable))
    tier = np.where(readable, tier, -1)
    family = _predict_family(column, threshold)
    is_risky = tier >= 2
    topics = {name: readable & (column[f"topic:{name}"] >= threshold) for name in TOPICS if f"topic:{name}" in column}
    return pl.DataFrame(
        {
            "predicted_tier": [TIERS[t] if t >= 0 else None for t in tier.tolist()],
            "predicted_family": [name if risky else None for name, risky in zip(family, is_risky.tolist(), strict=True)]
            if family
            else [None] * len(readable),
            "predicted_topics": [
                [name for name, is_topic in topics.items() if is_topic[row]] if is_readable else None
                for row, is_readable in enumerate(readable.tolist())
            ],
            "label_confidence": [round(float(c), 4) if t >= 0 else None for c, t in zip(confidence, tier, strict=True)],
            "label_version": [None] * len(readable),
        },
        schema=dict(zip(PREDICTED, (pl.String, pl.String, pl.List(pl.String), pl.Float64, pl.String), strict=True)),
    )


def _predict_tier(column: Mapping[str, Reals], threshold: float, n: int) -> tuple[NDArray[np.int64], Reals]:
    """
    The highest tier that an item surely reaches, and the probability; R0 when it is surely below R1; else -1.

    An item of at least R3 is of at least R2 too, so a probability counts for the tiers below it.
    """
    reached = [column.get(f"tier>={name}") for name in TIERS]
    above = np.zeros(n)
    probabilities = np.zeros((n, len(TIERS)))
    for number in range(len(TIERS) - 1, 0, -1):
        probability = reached[number]
        above = above if probability is None else np.maximum(above, probability)
        probabilities[:, number] = 0.0 if probability is None else above
    tier = np.where(probabilities >= threshold, np.arange(len(TIERS)), -1).max(axis=1)
    is_r0 = (tier < 0) & (1 - above >= threshold) & (reached[1] is not None)
    tier = np.where(is_r0, 0, tier)
    confidence = np.where(is_r0, 1 - above, probabilities[np.arange(n), np.maximum(tier, 0)])
    return tier, confidence


def _predict_family(column: Mapping[str, Reals], threshold: float) -> list[str | None]:
    """The family of each item whose probability reaches the threshold."""
    names = [(n, name) for n, name in enumerate(HARM_FAMILIES, start=1) if f"{FAMILY}={n}" in column]
    if not names:
        return []
    probabilities = np.column_stack([column[f"{FAMILY}={n}"] for n, _ in names])
    best, highest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return [names[n][1] if p >= threshold else None for n, p in zip(best, highest, strict=True)]


def count_raised(items: pl.DataFrame, predicted: pl.DataFrame) -> int:
    """How many items have a higher tier with the predicted label than without; an unlabelled one is R2 without."""
    given = items["risk_tier"].fill_null("R2").replace_strict(list(TIERS), range(5), return_dtype=pl.Int8)
    with_label = predicted["predicted_tier"].fill_null("R0").replace_strict(list(TIERS), range(5), return_dtype=pl.Int8)
    return int((with_label > given).sum())
