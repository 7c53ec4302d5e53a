"""
How well the label heads answer on four sets with real labels, 5-fold cross-validation, macro-F1.

    python benchmarks/labels.py TEXT_DATA [--cache DIR] [--seeds 0 1]

TEXT_DATA holds omcd/, dreaddit/, counselchat/ and cyberagressionado_v1/ as published. One recipe, nothing is tuned on
a set. Equal texts are taken once; folds are stratified, or whole scenarios together where a set has them. The targets
are the best values measured before, on the larger full sets. These sets stay where they are: nothing of them is
committed, and no shipped file is trained on them.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedKFold

from recsys.clusters import words_of
from training.embeddings import embed
from training.encoder import EncoderParams, cache_folder, make_encoder
from training.fit_heads import HeadParams, fit_plain
from training.heads import answers_of

TARGETS = {"OMCD": 0.806, "Dreaddit": 0.792, "CounselChat": 0.507, "CyberAgression": 0.786}


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Texts, their labels (n,), and groups that must not be torn apart."""

    texts: list[str]
    labels: np.ndarray[Any, Any]
    groups: np.ndarray[Any, Any] | None = None


def read(folder: Path) -> dict[str, Labelled]:
    """The four sets."""
    omcd = pl.read_csv(folder / "omcd" / "train.csv.gz")
    dreaddit = pl.read_csv(folder / "dreaddit" / "train.csv.gz")
    counsel = pl.read_csv(folder / "counselchat" / "counselchat.csv.gz").unique(
        "questionID", keep="first", maintain_order=True
    )
    cyber = pl.read_csv(folder / "cyberagressionado_v1" / "messages.csv.gz")
    largest = counsel["topic"].value_counts(sort=True)["topic"][:12].to_list()
    asked = counsel.filter(pl.col("topic").is_in(largest))
    questions = [
        f"{title or ''}\n{text or ''}".strip()
        for title, text in asked.select("questionTitle", "questionText").iter_rows()
    ]
    is_abuse = (cyber["verbal_abuse"] != "none").cast(pl.Int8)
    return {
        "CounselChat": _once(questions, asked["topic"].to_numpy()),
        "CyberAgression": Labelled(
            cyber["text"].fill_null("").to_list(), is_abuse.to_numpy(), cyber["scenario"].to_numpy()
        ),
        "Dreaddit": _once(dreaddit["text"].to_list(), dreaddit["stress"].to_numpy()),
        "OMCD": _once(omcd["comment"].to_list(), omcd["offensive"].to_numpy()),
    }


def _once(texts: Sequence[str | None], labels: np.ndarray[Any, Any]) -> Labelled:
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        if text and text.strip():
            first.setdefault(words_of(text), row)
    rows = sorted(first.values())
    return Labelled([texts[row] or "" for row in rows], labels[rows])


def judge(data: Labelled, vectors: np.ndarray[Any, Any], seed: int) -> dict[str, tuple[float, float]]:
    """Reader -> macro-F1 and its standard deviation over the folds."""
    classes = np.unique(data.labels)
    if data.groups is None:
        parts = list(StratifiedKFold(5, shuffle=True, random_state=seed).split(vectors, data.labels))
    else:
        parts = list(
            GroupKFold(5, shuffle=seed > 0, random_state=seed or None).split(vectors, data.labels, data.groups)
        )
    found: dict[str, list[float]] = {"letters": [], "kernel": [], "mean": [], "AUROC": []}
    for inside, outside in parts:
        given = (
            data.labels[inside] == classes[1] if len(classes) == 2 else np.searchsorted(classes, data.labels[inside])
        )
        said, other = ([data.texts[row] for row in rows] for rows in (inside, outside))
        heads = fit_plain(said, vectors[inside], {"label": given}, HeadParams(seed=seed))
        for name, raw in answers_of(heads, other, vectors[outside]).items():
            full = np.column_stack([1 - raw, raw]) if len(classes) == 2 else raw
            found[name].append(f1_score(data.labels[outside], classes[full.argmax(axis=1)], average="macro"))
            if name == "mean":
                truth = data.labels[outside]
                found["AUROC"].append(
                    roc_auc_score(truth, raw[:, 0])
                    if len(classes) == 2
                    else np.mean([roc_auc_score(truth == c, raw[:, n]) for n, c in enumerate(classes)])
                )
    return {name: (float(np.mean(values)), float(np.std(values))) for name, values in found.items()}


def main() -> None:
    """Encodes, cross-validates, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    said = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    cache = said.cache or cache_folder()
    encoders = [make_encoder(EncoderParams(model=name, max_tokens=192, threads=1), cache) for name in ("e5", "use")]
    print(
        "| set | n | seed | letters | kernel | mean | AUROC | target | seconds |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, data in read(said.texts).items():
        vectors = np.hstack([embed(data.texts, encoder, cache).vectors for encoder in encoders])
        for seed in said.seeds:
            started = perf_counter()
            found = judge(data, vectors, seed)
            cells = " | ".join(f"{mean:.3f} ({spread:.3f})" for mean, spread in found.values())
            took = perf_counter() - started
            print(f"| {name} | {len(data.texts):,} | {seed} | {cells} | {TARGETS[name]:.3f} | {took:.0f} |", flush=True)


if __name__ == "__main__":
    main()
