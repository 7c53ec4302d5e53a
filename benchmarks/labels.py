"""
How well the label heads answer on four sets with real labels, 5-fold cross-validation, macro-F1.

    python benchmarks/labels.py TEXT_DATA [--cache DIR] [--seeds 0 1] [--nested]

TEXT_DATA holds omcd/, dreaddit/, counselchat/ and cyberagressionado_v1/ as published. One recipe, nothing is tuned on
a set. Equal texts are taken once; folds are stratified, or whole scenarios together where a set has them. The targets
are the best values measured before, on the larger full sets. These sets stay where they are: nothing of them is
committed, and no shipped file is trained on them.

--nested also chooses the recipe inside every fold, by three folds of what is learned from, and judges the choice on the
part that chose nothing: what the shipped recipe, which was chosen on these folds, would reach on a new set.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedKFold

from recsys.text.clusters import bare_words
from recsys.types import Array, Floats, Reals, Rows
from training.labels.fit_heads import HeadParams, fit_plain
from training.labels.heads import predict_by_reader
from training.text.embeddings import embed
from training.text.encoder import EncoderParams, cache_folder, make_encoder

STRENGTHS = ((3.0, 5.0), (10.0, 5.0), (3.0, 1.0), (1.0, 5.0))  # ngram_c, kernel_c
SHARES = (0.0, 1 / 3, 1 / 2, 2 / 3, 0.8, 1.0)
TARGETS = {"OMCD": 0.806, "Dreaddit": 0.792, "CounselChat": 0.507, "CyberAgression": 0.786}


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Texts, their labels (n,), and groups that must not be torn apart."""

    texts: list[str]
    labels: Array
    groups: Array | None = None


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


def _once(texts: Sequence[str | None], labels: Array) -> Labelled:
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        if text and text.strip():
            first.setdefault(bare_words(text), row)
    rows = sorted(first.values())
    return Labelled([texts[row] or "" for row in rows], labels[rows])


def folds(data: Labelled, n: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Rows to learn from and rows to judge by, `n` times."""
    if data.groups is None:
        return list(StratifiedKFold(n, shuffle=True, random_state=seed).split(data.labels, data.labels))
    split = GroupKFold(n, shuffle=seed > 0, random_state=seed or None)
    return list(split.split(data.labels, data.labels, data.groups))


def take(data: Labelled, rows: Rows) -> Labelled:
    """Some of the texts."""
    groups = None if data.groups is None else data.groups[rows]
    return Labelled([data.texts[row] for row in rows], data.labels[rows], groups)


def told(inside: Labelled, outside: Labelled, vectors: tuple[Floats, Floats], params: HeadParams) -> dict[str, Reals]:
    """What each reader and their mean say of the texts outside, (n, classes), having learned from those inside."""
    classes = np.unique(inside.labels)
    given = inside.labels == classes[1] if len(classes) == 2 else np.searchsorted(classes, inside.labels)
    heads = fit_plain(inside.texts, vectors[0], {"label": given}, params)
    return {
        name: np.column_stack([1 - raw, raw]) if len(classes) == 2 else raw
        for name, raw in predict_by_reader(heads, outside.texts, vectors[1]).items()
    }


def f1(data: Labelled, full: Reals) -> float:
    """Macro-F1 of the likeliest classes."""
    return float(f1_score(data.labels, np.unique(data.labels)[full.argmax(axis=1)], average="macro"))


def auroc(data: Labelled, full: Reals) -> float:
    """The area under the curve, the mean over classes where there are more than two."""
    classes = np.unique(data.labels)[1 if full.shape[1] == 2 else 0 :]
    columns = full[:, 1:] if full.shape[1] == 2 else full
    return float(np.mean([roc_auc_score(data.labels == c, columns[:, n]) for n, c in enumerate(classes)]))


def choose(data: Labelled, vectors: Floats, seed: int) -> HeadParams:
    """The recipe that is best in three folds of these texts."""
    scores: dict[tuple[int, float], list[float]] = {}
    for inside, outside in folds(data, 3, seed):
        held_out = take(data, outside)
        for number, (ngram_c, kernel_c) in enumerate(STRENGTHS):
            params = HeadParams(seed=seed, ngram_c=ngram_c, kernel_c=kernel_c)
            predictions = told(take(data, inside), held_out, (vectors[inside], vectors[outside]), params)
            for share in SHARES:
                mixed = share * predictions["ngrams"] + (1 - share) * predictions["kernel"]
                scores.setdefault((number, share), []).append(f1(held_out, mixed))
    number, share = max(scores, key=lambda key: np.mean(scores[key]))
    ngram_c, kernel_c = STRENGTHS[number]
    return HeadParams(seed=seed, ngram_c=ngram_c, kernel_c=kernel_c, ngram_share=share)


def cross_validate(data: Labelled, vectors: Floats, seed: int, *, is_nested: bool) -> dict[str, tuple[float, float]]:
    """Reader -> macro-F1 and its standard deviation over the folds."""
    by_reader: dict[str, list[float]] = {}
    for inside, outside in folds(data, 5, seed):
        inside_data, held_out, parts = take(data, inside), take(data, outside), (vectors[inside], vectors[outside])
        predictions = told(inside_data, held_out, parts, HeadParams(seed=seed))
        for name, full in predictions.items():
            by_reader.setdefault(name, []).append(f1(held_out, full))
        if is_nested:
            params = choose(inside_data, vectors[inside], seed)
            by_reader.setdefault("nested", []).append(f1(held_out, told(inside_data, held_out, parts, params)["mean"]))
        by_reader.setdefault("AUROC", []).append(auroc(held_out, predictions["mean"]))
    return {name: (float(np.mean(values)), float(np.std(values))) for name, values in by_reader.items()}


def main() -> None:
    """Encodes, cross-validates, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--nested", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    cache = options.cache or cache_folder()
    encoders = [make_encoder(EncoderParams(model=name, max_tokens=192, threads=1), cache) for name in ("e5", "use")]
    nested = ["nested"] if options.nested else []
    columns = ["set", "n", "seed", "ngrams", "kernel", "mean", *nested, "AUROC", "target", "seconds"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name, data in read(options.texts).items():
        vectors = np.hstack([embed(data.texts, encoder, cache).vectors for encoder in encoders])
        for seed in options.seeds:
            started = perf_counter()
            scores_by_reader = cross_validate(data, vectors, seed, is_nested=options.nested)
            cells = " | ".join(f"{mean:.3f} ({spread:.3f})" for mean, spread in scores_by_reader.values())
            took = perf_counter() - started
            print(f"| {name} | {len(data.texts):,} | {seed} | {cells} | {TARGETS[name]:.3f} | {took:.0f} |", flush=True)


if __name__ == "__main__":
    main()
