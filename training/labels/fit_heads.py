"""Fitting the label heads (`training.labels.heads`) to items that people labelled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import expit, logit

from recsys.errors import DataError
from recsys.progress import Progress, quiet
from recsys.text.normalise import normalise
from recsys.types import Csr, Floats, Reals, Rows
from training.labels.heads import ANY_LANGUAGE, MIN_PROBABILITY, LabelHeads, TextReader, calibrate
from training.labels.logistic import Answers, Targets, build_targets, fit_logistic
from training.text.ngrams import select_ngrams

_MIN_DIFFERENCE: Final = 1e-3
"""Added to each landmark's similarity to itself, 1: equal texts differ by rounding, which must not be enlarged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadParams:
    """
    `min_answers`: a question is fitted when so many items answer yes and so many no; a language with so many gets a
    calibration of its own. `max_items`: of more, a sample is used, yes answers first. `n_ngrams`, `n_landmarks`: size
    of the two readers; `ngram_c`, `kernel_c` their inverse regularisation; `ngram_share` the weight of the first.
    `folds` for the calibration.
    """

    min_answers: int = 20
    max_items: int = 20_000
    n_ngrams: int = 200_000
    n_landmarks: int = 2_000
    folds: int = 3
    ngram_c: float = 3.0
    kernel_c: float = 5.0
    ngram_share: float = 2 / 3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedHeads:
    """
    The heads, and (n, q) probabilities of the items that they were fitted to, each by heads that did not know the item
    (out of fold); NaN for items that were not in the sample. `n_items` in it.
    """

    heads: LabelHeads
    out_of_fold: Reals
    n_items: int


def fit(
    texts: Sequence[str],
    vectors: Floats,
    languages: Sequence[str | None],
    answers: Answers,
    params: HeadParams,
    on_progress: Progress = quiet,
) -> FittedHeads | None:
    """
    Heads for the questions of `answers` that have enough of at least two answers; None when none has.

    Shapes: `vectors` (n, d). Raises DataError when the lengths differ.
    """
    if not all(len(column) == len(texts) for column in (vectors, languages, *answers.values())):
        raise DataError("found texts, vectors, languages and answers of different lengths, expected one for each item")
    rng = np.random.default_rng(params.seed)
    rows = _sample_rows(answers, len(texts), params, rng)
    asked = {
        name: answer[rows] for name, answer in answers.items() if _has_enough_answers(answer[rows], params.min_answers)
    }
    if not asked:
        return None
    sample, spoken = [texts[row] for row in rows.tolist()], [languages[row] for row in rows.tolist()]
    reader = fit_reader(sample, vectors[rows], params, rng)
    ngrams, kernel = reader.ngram_matrix(sample), reader.kernel_matrix(vectors[rows]) @ reader.whitening
    targets = build_targets(asked)
    whole, raw = _fit_folds(reader, ngrams, kernel, targets, params, rng, on_progress)
    scales = fit_scales(raw, targets.is_true > 0, spoken, params.min_answers)
    out_of_fold = np.full((len(texts), raw.shape[1]), np.nan)
    out_of_fold[rows] = calibrate(raw, spoken, scales)
    heads = replace(whole, kernel_weights=reader.whitening @ whole.kernel_weights, scales=scales)
    return FittedHeads(heads=heads, out_of_fold=out_of_fold, n_items=len(rows))


def _fit_folds(
    reader: TextReader,
    ngrams: Csr,
    kernel: Floats,
    targets: Targets,
    params: HeadParams,
    rng: np.random.Generator,
    on_progress: Progress,
) -> tuple[LabelHeads, Reals]:
    """
    Heads fitted to all items, and (n, q) probabilities, each by heads that were fitted to the other folds.

    The former start from the mean of the latter. The other way round, a fold would start from what it must not know.
    """
    number = rng.permutation(len(kernel)) % params.folds
    raw = np.empty(targets.is_true.shape)
    by_fold = []
    for fold in range(params.folds):
        on_progress("labels", fold, params.folds)
        inside, outside = np.flatnonzero(number != fold), np.flatnonzero(number == fold)
        weights = _fit_readers(ngrams[inside], kernel[inside], targets.take(inside), params)
        heads = _heads_of(reader, targets, weights, params)
        raw[outside] = heads.mix_readers(ngrams[outside] @ heads.ngram_weights, kernel[outside] @ heads.kernel_weights)
        by_fold.append(weights)
    on_progress("labels", params.folds, params.folds)
    starts = _Weights(
        np.asarray(np.mean([fold.ngrams for fold in by_fold], axis=0), np.float32),
        np.asarray(np.mean([fold.kernel for fold in by_fold], axis=0), np.float32),
    )
    return _heads_of(reader, targets, _fit_readers(ngrams, kernel, targets, params, starts), params), raw


def fit_plain(texts: Sequence[str], vectors: Floats, answers: Answers, params: HeadParams) -> LabelHeads:
    """The heads without calibration: for questions of which only the order matters."""
    reader = fit_reader(texts, vectors, params, np.random.default_rng(params.seed))
    ngrams, kernel = reader.ngram_matrix(texts), reader.kernel_matrix(vectors) @ reader.whitening
    targets = build_targets(answers)
    heads = _heads_of(reader, targets, _fit_readers(ngrams, kernel, targets, params), params)
    return replace(heads, kernel_weights=reader.whitening @ heads.kernel_weights)


def fit_reader(texts: Sequence[str], vectors: Floats, params: HeadParams, rng: np.random.Generator) -> TextReader:
    """The n-grams, the scale of the vectors, and landmarks drawn from them."""
    words = [normalise(text).split() for text in texts]
    ngrams, idf = select_ngrams(words, min_texts=2, max_ngrams=params.n_ngrams)
    mean, scale = vectors.mean(axis=0), np.maximum(vectors.std(axis=0), 1e-6)
    drawn = rng.choice(len(vectors), min(params.n_landmarks, len(vectors)), replace=False)
    reader = TextReader(
        ngrams=ngrams,
        idf=idf,
        mean=mean,
        scale=scale,
        landmarks=np.asarray((vectors[drawn] - mean) / scale, np.float32),
        whitening=np.empty((0, 0), np.float32),
    )
    among = reader.kernel_matrix(vectors[drawn]).astype(np.float64) + _MIN_DIFFERENCE * np.eye(len(drawn))
    whitening = solve_triangular(cholesky(among, lower=True), np.eye(len(drawn)), lower=True).T
    return replace(reader, whitening=np.asarray(whitening, np.float32))


class _Weights(NamedTuple):
    """Of the two readers, the bias last: (v + 1, q) and (m + 1, q), which belong to the whitened kernel matrix."""

    ngrams: Floats
    kernel: Floats


def _fit_readers(
    ngrams: Csr, kernel: Floats, targets: Targets, params: HeadParams, starts: _Weights | None = None
) -> _Weights:
    return _Weights(
        fit_logistic(ngrams, targets, params.ngram_c, starts and starts.ngrams),
        fit_logistic(kernel, targets, params.kernel_c, starts and starts.kernel),
    )


def _heads_of(reader: TextReader, targets: Targets, weights: _Weights, params: HeadParams) -> LabelHeads:
    """Heads without calibration, whose kernel weights belong to the whitened kernel matrix."""
    return LabelHeads(
        reader=reader,
        questions=targets.columns,
        choices=targets.sizes,
        ngram_weights=weights.ngrams[:-1],
        kernel_weights=weights.kernel[:-1],
        biases=np.stack([weights.ngrams[-1], weights.kernel[-1]]),
        scales={},
        ngram_share=params.ngram_share,
    )


def _has_enough_answers(answer: NDArray[np.bool_] | NDArray[np.int64], min_answers: int) -> bool:
    """Whether two answers occur so often."""
    counts = np.sort(np.unique(answer, return_counts=True)[1])
    return len(counts) > 1 and int(counts[-2]) >= min_answers


def _sample_rows(answers: Answers, n: int, params: HeadParams, rng: np.random.Generator) -> Rows:
    """All rows, or a sample: half of it answers yes to a question (choices above 0), the rest is drawn from all."""
    if n <= params.max_items:
        return np.arange(n)
    is_drawn = np.zeros(n, np.bool_)
    share = params.max_items // (2 * max(len(answers), 1))
    for answer in answers.values():
        is_drawn[rng.permutation(np.flatnonzero(answer))[:share]] = True
    is_drawn[rng.permutation(np.flatnonzero(~is_drawn))[: params.max_items - int(is_drawn.sum())]] = True
    return np.flatnonzero(is_drawn)


# --- calibration ---


def fit_scales(
    raw: Reals, truth: NDArray[np.bool_], languages: Sequence[str | None], min_answers: int
) -> dict[str, Floats]:
    """
    Platt's slope and intercept for every question: of all items (`ANY_LANGUAGE`), and of each language with
    `min_answers` of both answers. Another language takes those of all items.

    The answers count as (yes + 1) / (n + 2), so that no probability becomes 0 or 1 (Platt 1999).
    """
    names = np.array([language or ANY_LANGUAGE for language in languages])
    common = np.array([_fit_platt(raw[:, q], truth[:, q]) for q in range(raw.shape[1])], np.float32)
    scales = {ANY_LANGUAGE: common}
    for name in np.unique(names[names != ANY_LANGUAGE]).tolist():
        rows = names == name
        scales[name] = np.array(
            [
                _fit_platt(raw[rows, q], truth[rows, q])
                if _has_enough_answers(truth[rows, q], min_answers)
                else common[q]
                for q in range(raw.shape[1])
            ],
            np.float32,
        )
    return scales


def _fit_platt(raw: Reals, yes: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope (at least 0.05) and intercept by Newton's method on the log loss."""
    n_yes, n_no = int(yes.sum()), int((~yes).sum())
    target = np.where(yes, (n_yes + 1) / (n_yes + 2), 1 / (n_no + 2))
    odds = logit(np.clip(raw, MIN_PROBABILITY, 1 - MIN_PROBABILITY))
    design = np.column_stack([odds, np.ones_like(odds)])
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        predicted = expit(design @ weights)
        gradient = design.T @ (target - predicted) - 1e-3 * (weights - (1.0, 0.0))
        hessian = (design * (predicted * (1 - predicted))[:, None]).T @ design + 1e-3 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        weights = weights + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return max(float(weights[0]), 0.05), float(weights[1])
