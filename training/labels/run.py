"""`sanad label` in one straight line: read, hear, learn, label, explain, judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.clock import Millis
from recsys.progress import Progress, quiet
from recsys.vocabulary import TIERS
from training.labels.heads import packed, version_of
from training.labels.predict import Labelled, LabelParams, label, n_raised
from training.labels.report import draw, judge
from training.text.encoder import EncoderParams, cache_folder, make_encoder
from training.text.features import hear
from training.train import said_by
from training.validate import clean

N_LETTERS = 5
N_LIKE = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What `sanad label` has to say. `table` has a row for each item, `why` in it where it was asked for."""

    table: pl.DataFrame
    counts: dict[str, int]
    report: dict[str, Any]

    def raised(self, most: int) -> list[dict[str, Any]]:
        """Up to `most` items that count higher with our label, the surest first."""
        names = ("item_id", "risk_tier", "predicted_tier", "label_confidence", "why")
        raised = self.table.filter("is_raised").sort("label_confidence", "item_id", descending=[True, False])
        return raised.head(most).select(*names).to_dicts()


def run_labels(
    data: Path,
    at: Millis,
    *,
    encoder: str = "e5",
    threshold: float = 0.8,
    explain: bool = False,
    report_to: Path | None = None,
    max_bad_share: float = 0.01,
    cache: Path | None = None,
    on_progress: Progress = quiet,
) -> Run | None:
    """
    Labels of all items of a dataset folder; None when there is too little to learn from.

    Raises: DataError, ConfigError, ArtifactError. `report_to` receives `report.json` and plots.
    """
    dataset, _ = clean(data, at=at, max_bad_share=max_bad_share, on_progress=on_progress)
    items = dataset.items.collect(engine="streaming")
    where = cache or cache_folder()
    texts = said_by(items)
    declared = items.select(pl.coalesce("dialect", "language")).to_series().to_list()
    heard = hear(texts, declared, make_encoder(EncoderParams(model=encoder), where), where, on_progress)
    found = label(items, texts, heard, LabelParams(threshold=threshold), where, on_progress)
    if found is None:
        return None
    on_progress("judge", 0, None)
    report = judge(items, heard.languages, found, threshold)
    if report_to is not None:
        draw(report, report_to)
    columns = found.columns.with_columns(label_version=pl.lit(version_of(packed(found.heads))))
    table = items.select("item_id", "risk_tier", "risk_source", "risk_confidence").hstack(columns)
    table = table.with_columns(is_raised=_is_raised(table), why=_why(items, texts, found) if explain else pl.lit(None))
    counts = {
        "items": len(items),
        "learned_from": int(found.is_learned_from.sum()),
        "labelled_by_us": int(columns["predicted_tier"].is_not_null().sum()),
        "raised_by_us": n_raised(items, columns),
    }
    return Run(table=table, counts=counts, report=report)


def _is_raised(table: pl.DataFrame) -> pl.Series:
    given, ours = (
        table[name].fill_null(least).replace_strict(list(TIERS), range(len(TIERS)), return_dtype=pl.Int8)
        for name, least in (("risk_tier", "R2"), ("predicted_tier", "R0"))
    )
    return ours > given


def _why(items: pl.DataFrame, texts: Sequence[str], found: Labelled) -> pl.Series:
    """For each item with a label: the letter runs that spoke most for its tier, and the labelled items most like it."""
    rows = np.flatnonzero(found.columns["predicted_tier"].is_not_null().to_numpy())
    why: list[dict[str, Any] | None] = [None] * len(items)
    letters = _loudest([texts[row] for row in rows.tolist()], found.columns["predicted_tier"].gather(rows), found)
    for row, loudest, like in zip(rows.tolist(), letters, _most_like(rows, items, found), strict=True):
        why[row] = {"letters": loudest, "like": like}
    like_type = pl.List(pl.Struct({"item_id": pl.String, "tier": pl.String, "likeness": pl.Float64}))
    return pl.Series("why", why, pl.Struct({"letters": pl.List(pl.String), "like": like_type}))


def _loudest(texts: Sequence[str], tiers: pl.Series, found: Labelled) -> list[list[str]]:
    """The runs with the largest share in the answer, none inside another; of R0 those that spoke against R1."""
    heads = found.heads
    weights = heads.reader.letters(texts)
    loudest: list[list[str]] = []
    for n, tier in enumerate(tiers):
        name = f"tier>={'R1' if tier == 'R0' else tier}"
        if name not in heads.questions:
            loudest.append([])
            continue
        part = weights[[n]]
        sign = -1 if tier == "R0" else 1
        share = sign * part.data * heads.letter_weights[part.indices, heads.questions.index(name)]
        best = [heads.reader.runs[part.indices[i]].strip() for i in np.argsort(-share)[:30] if share[i] > 0]
        kept: list[str] = []
        for run in best:
            if len(run) > 1 and not any(run in other or other in run for other in kept):
                kept.append(run)
        loudest.append(kept[:N_LETTERS])
    return loudest


def _most_like(rows: np.ndarray[Any, Any], items: pl.DataFrame, found: Labelled) -> list[list[dict[str, Any]]]:
    """The labelled items that lie nearest, by cosine, with the tier that people gave them."""
    known = np.flatnonzero(found.is_learned_from)
    unit = found.vectors / np.maximum(np.linalg.norm(found.vectors, axis=1, keepdims=True), 1e-12)
    ids, tiers = items["item_id"].to_list(), items["risk_tier"].to_list()
    near: list[list[dict[str, Any]]] = []
    for start in range(0, len(rows), 1_024):
        some = rows[start : start + 1_024]
        likeness = unit[some] @ unit[known].T
        likeness[some[:, None] == known] = -1  # not itself
        best = np.argsort(-likeness, axis=1)[:, :N_LIKE]
        near += [
            [
                {"item_id": ids[known[b]], "tier": tiers[known[b]], "likeness": round(float(likeness[n, b]), 3)}
                for b in row.tolist()
            ]
            for n, row in enumerate(best)
        ]
    return near
