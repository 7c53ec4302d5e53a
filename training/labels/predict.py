"""
Our own labels of items: tier, family and topics, learned from the platform's labelled items.

A label of ours is advice with one power: where it is sure, it raises an item's tier (`recsys.catalogue.items`). It
never lowers one, and it never labels what nobody labelled: such an item stays R2 for adults and out of reach for
minors. "Unknown" is an answer: below the threshold, for texts that say nothing, and for texts that the engine does not
understand (Tifinagh), nothing is predicted. It is no diagnosis of anybody, and removes nothing by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.columns import PREDICTED
from recsys.progress import Progress, quiet
from recsys.types import Floats, Mask
from recsys.vocabulary import FAMILIES, TIERS, TOPICS
from training.labels.fit_heads import HeadParams, fit
from training.labels.heads import Heads
from training.text.embeddings import embed
from training.text.encoder import EncoderParams, make_encoder
from training.text.features import Heard

LEARNED_FROM: Final = ("platform", "partner", "human")
"""Sources of labels that heads learn from: not a model's, not an assumption."""

HARMFUL: Final = tuple(family for family in FAMILIES if family != "unlabelled")
FAMILY: Final = "family"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelParams:
    """
    `threshold`: what a probability must reach for an answer; the market's `label_threshold` is asked again when an
    item is served. `also`: a second encoder beside the artifact's for the heads alone, None for none.
    """

    threshold: float = 0.8
    also: str | None = "use"
    heads: HeadParams = field(default_factory=HeadParams)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelled:
    """
    Labels of n items. `probabilities` (n, q) in the order of `heads.questions`: of items that the heads learned from
    by heads that did not know them. `columns` are `columns.PREDICTED`. `is_learned_from` (n,). `vectors` (n, d) are
    what the heads read.
    """

    heads: Heads
    probabilities: NDArray[np.float64]
    columns: pl.DataFrame
    is_learned_from: Mask
    vectors: Floats


def label(
    items: pl.DataFrame,
    texts: Sequence[str],
    heard: Heard,
    params: LabelParams,
    cache: Path,
    on_progress: Progress = quiet,
) -> Labelled | None:
    """
    Learns from the labelled items and labels all; None when there are too few labels to learn from.

    `items` in contract columns; `texts` and `heard` row by row what they say. The version is filled in when the heads
    are saved.
    """
    rows = np.flatnonzero(learnable(items) & is_heard(heard))
    vectors = vectors_for(texts, heard, params.also if len(rows) else None, cache, on_progress)
    some = items[rows]
    said = [texts[row] for row in rows.tolist()]
    spoken = [heard.languages[row] for row in rows.tolist()]
    fitted = fit(said, vectors[rows], spoken, answers(some), params.heads, on_progress)
    if fitted is None:
        return None
    probabilities = fitted.heads.answer(texts, vectors, heard.languages)
    known = ~np.isnan(fitted.left_out[:, 0])
    probabilities[rows[known]] = fitted.left_out[known]
    is_learned_from = np.zeros(len(items), np.bool_)
    is_learned_from[rows] = True
    return Labelled(
        heads=fitted.heads,
        probabilities=probabilities,
        columns=columns(fitted.heads.questions, probabilities, is_heard(heard), params.threshold),
        is_learned_from=is_learned_from,
        vectors=vectors,
    )


def vectors_for(
    texts: Sequence[str], heard: Heard, also: str | None, cache: Path, on_progress: Progress = quiet
) -> Floats:
    """(n, d) what the heads read: the artifact's vectors, and those of the encoder `also` beside them."""
    if also is None:
        return heard.vectors
    second = make_encoder(EncoderParams(model=also), cache)
    return np.hstack([heard.vectors, embed(texts, second, cache, on_progress=on_progress).vectors])


def is_heard(heard: Heard) -> Mask:
    """(n,) texts that say something in a language that the engine understands."""
    return np.asarray(np.any(heard.vectors, axis=1) & heard.is_understood)


def learnable(items: pl.DataFrame) -> Mask:
    """(n,) items that people labelled."""
    is_so = items["risk_tier"].is_not_null() & items["risk_source"].fill_null("platform").is_in(list(LEARNED_FROM))
    return is_so.to_numpy()


def answers(items: pl.DataFrame) -> dict[str, NDArray[Any]]:
    """What people answered: a question for each tier from R1 (at least so?), for each topic, and which family."""
    tier = items["risk_tier"].replace_strict(list(TIERS), range(len(TIERS)), return_dtype=pl.Int8).to_numpy()
    families = [*HARMFUL]
    family = np.array([families.index(name) + 1 if name in families else 0 for name in items["risk_family"]], np.int64)
    topics = items["topics"].fill_null([])
    return {
        **{f"tier>={name}": tier >= n for n, name in enumerate(TIERS) if n},
        FAMILY: np.where(tier >= 2, family, 0),
        **{f"topic:{name}": topics.list.contains(name).to_numpy() for name in TOPICS},
    }


def columns(
    questions: Sequence[str], probabilities: NDArray[np.float64], heard: Mask, threshold: float
) -> pl.DataFrame:
    """The answers as columns of items; null, or an empty list of topics, is "unknown"."""
    column = {name: probabilities[:, n] for n, name in enumerate(questions)}
    tier, confidence = _tier(column, threshold, len(heard))
    tier = np.where(heard, tier, -1)
    family = _family(column, threshold)
    is_risky = tier >= 2
    topics = {name: heard & (column[f"topic:{name}"] >= threshold) for name in TOPICS if f"topic:{name}" in column}
    return pl.DataFrame(
        {
            "predicted_tier": [TIERS[t] if t >= 0 else None for t in tier.tolist()],
            "predicted_family": [name if risky else None for name, risky in zip(family, is_risky.tolist(), strict=True)]
            if family
            else [None] * len(heard),
            "predicted_topics": [
                [name for name, chosen in topics.items() if chosen[row]] if is_so else None
                for row, is_so in enumerate(heard.tolist())
            ],
            "label_confidence": [round(float(c), 4) if t >= 0 else None for c, t in zip(confidence, tier, strict=True)],
            "label_version": [None] * len(heard),
        },
        schema=dict(zip(PREDICTED, (pl.String, pl.String, pl.List(pl.String), pl.Float64, pl.String), strict=True)),
    )


def _tier(
    column: Mapping[str, NDArray[np.float64]], threshold: float, n: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """
    The highest tier that an item is surely at least of, and how surely; R0 when it is surely below R1; else -1.

    At least R3 is also at least R2, so a probability counts for the tiers below it.
    """
    least = [column.get(f"tier>={name}") for name in TIERS]
    above = np.zeros(n)
    chances = np.zeros((n, len(TIERS)))
    for number in range(len(TIERS) - 1, 0, -1):
        asked = least[number]
        above = above if asked is None else np.maximum(above, asked)
        chances[:, number] = 0.0 if asked is None else above
    tier = np.where(chances >= threshold, np.arange(len(TIERS)), -1).max(axis=1)
    is_calm = (tier < 0) & (1 - above >= threshold) & (least[1] is not None)
    tier = np.where(is_calm, 0, tier)
    confidence = np.where(is_calm, 1 - above, chances[np.arange(n), np.maximum(tier, 0)])
    return tier, confidence


def _family(column: Mapping[str, NDArray[np.float64]], threshold: float) -> list[str | None]:
    """The family that is surely the one, of each item."""
    names = [(n, name) for n, name in enumerate(HARMFUL, start=1) if f"{FAMILY}={n}" in column]
    if not names:
        return []
    chances = np.column_stack([column[f"{FAMILY}={n}"] for n, _ in names])
    best = chances.argmax(axis=1)
    return [names[b][1] if chance >= threshold else None for b, chance in zip(best, chances.max(axis=1), strict=True)]


def n_raised(items: pl.DataFrame, predicted: pl.DataFrame) -> int:
    """How many items count higher with our label than without; an unlabelled one counts as R2 without."""
    given = items["risk_tier"].fill_null("R2").replace_strict(list(TIERS), range(5), return_dtype=pl.Int8)
    ours = predicted["predicted_tier"].fill_null("R0").replace_strict(list(TIERS), range(5), return_dtype=pl.Int8)
    return int((ours > given).sum())
