"""Fitting the label heads (`training.labels.heads`) to items that people labelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from recsys.errors import DataError
from recsys.progress import Progress, quiet
from recsys.text.normalise import normalise
from recsys.types import Csr, Floats, Reals, Rows
from training.labels.heads import ANY_LANGUAGE, MIN_PROBABILITY, LabelHeads, TextReader, calibrate
from training.text.ngrams import select_ngrams

_NEVER_LOG_ODDS: Final = 9.0
"""Log odds of an answer that does not occur, and, with a minus, of its opposite."""

_MIN_SINGULAR_VALUE: Final = 1e-3
"""Of the landmarks' similarities in a direction; along one landmark alone it is 1."""


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


Answers = Mapping[str, NDArray[np.bool_] | NDArray[np.int64]]
"""Question -> (n,) booleans for yes or no, or small whole numbers for one of several choices."""


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
    whole = _fit_uncalibrated(reader, ngrams, kernel, asked, params)
    raw = _predict_out_of_fold(reader, ngrams, kernel, asked, params, rng, on_progress)
    scales = fit_scales(raw, _truth_table(asked), spoken, params.min_answers)
    out_of_fold = np.full((len(texts), raw.shape[1]), np.nan)
    out_of_fold[rows] = calibrate(raw, spoken, scales)
    heads = replace(whole, kernel_weights=reader.whitening @ whole.kernel_weights, scales=scales)
    return FittedHeads(heads=heads, out_of_fold=out_of_fold, n_items=len(rows))


def _predict_out_of_fold(
    reader: TextReader,
    ngrams: Csr,
    kernel: Floats,
    answers: Answers,
    params: HeadParams,
    rng: np.random.Generator,
    on_progress: Progress,
) -> Reals:
    """(n, q) probabilities before calibration, each by heads that were fitted to the other folds."""
    n = len(kernel)
    number = rng.permutation(n) % params.folds
    raw = np.empty((n, sum(size for _, size in _column_counts(answers))))
    for fold in range(params.folds):
        on_progress("labels", fold, params.folds)
        inside, outside = np.flatnonzero(number != fold), np.flatnonzero(number == fold)
        known = {name: answer[inside] for name, answer in answers.items()}
        heads = _fit_uncalibrated(reader, ngrams[inside], kernel[inside], known, params)
        raw[outside] = heads.mix_readers(ngrams[outside] @ heads.ngram_weights, kernel[outside] @ heads.kernel_weights)
    on_progress("labels", params.folds, params.folds)
    return raw


def fit_plain(texts: Sequence[str], vectors: Floats, answers: Answers, params: HeadParams) -> LabelHeads:
    """The heads without calibration: for questions of which only the order matters."""
    reader = fit_reader(texts, vectors, params, np.random.default_rng(params.seed))
    ngrams, kernel = reader.ngram_matrix(texts), reader.kernel_matrix(vectors) @ reader.whitening
    heads = _fit_uncalibrated(reader, ngrams, kernel, answers, params)
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
    u, s, vt = np.linalg.svd(reader.kernel_matrix(vectors[drawn]).astype(np.float64))
    # equal texts give equal landmarks, whose difference is rounding: it must not be enlarged
    whitening = (u * np.where(s > _MIN_SINGULAR_VALUE, 1 / np.sqrt(np.maximum(s, _MIN_SINGULAR_VALUE)), 0)) @ vt
    return replace(reader, whitening=np.asarray(whitening, np.float32))


def _fit_uncalibrated(
    reader: TextReader, ngrams: Csr, kernel: Floats, answers: Answers, params: HeadParams
) -> LabelHeads:
    """Heads without calibration, whose kernel weights belong to the whitened kernel matrix."""
    by_ngrams = np.hstack([_fit_linear(ngrams, answer, params.ngram_c) for answer in answers.values()])
    by_kernel = np.hstack([_fit_linear(kernel, answer, params.kernel_c) for answer in answers.values()])
    return LabelHeads(
        reader=reader,
        questions=tuple(
            name if size == 1 else f"{name}={n}" for name, size in _column_counts(answers) for n in range(size)
        ),
        choices=tuple(size for _, size in _column_counts(answers)),
        ngram_weights=by_ngrams[:-1],
        kernel_weights=by_kernel[:-1],
        biases=np.stack([by_ngrams[-1], by_kernel[-1]]),
        scales={},
        ngram_share=params.ngram_share,
    )


def _fit_linear(features: Csr | Floats, answer: NDArray[np.bool_] | NDArray[np.int64], c: float) -> Floats:
    """(features + 1, columns) of a linear model, the bias last; a column for each choice, or one for yes."""
    from sklearn.linear_model import LogisticRegression

    size = _n_columns(answer)
    weights = np.zeros((features.shape[1] + 1, size), np.float32)
    present = np.unique(answer).astype(np.intp)
    weights[-1] = -_NEVER_LOG_ODDS  # for a choice that a fold does not have
    if len(present) == 1:
        weights[-1, present if size > 1 else 0] = _NEVER_LOG_ODDS if size > 1 or present[0] else -_NEVER_LOG_ODDS
        return weights
    # the solver for few columns and many features takes two classes only
    solver = "liblinear" if len(present) == 2 and not isinstance(features, np.ndarray) else "lbfgs"
    model = LogisticRegression(C=c, class_weight="balanced", solver=solver, max_iter=400).fit(features, answer)
    fitted = np.vstack([model.coef_.T, model.intercept_])
    if size == 1:
        return np.asarray(fitted, np.float32)
    weights[:, present] = fitted if len(present) > 2 else np.hstack([np.zeros_like(fitted), fitted])
    return weights


def _n_columns(answer: NDArray[np.bool_] | NDArray[np.int64]) -> int:
    """One for a yes-or-no question, else one for each choice."""
    return 1 if answer.dtype == np.bool_ else int(answer.max()) + 1


def _column_counts(answers: Answers) -> list[tuple[str, int]]:
    return [(name, _n_columns(answer)) for name, answer in answers.items()]


def _truth_table(answers: Answers) -> NDArray[np.bool_]:
    """(n, q) which columns are true."""
    return np.column_stack(
        [
            answer[:, None] if size == 1 else answer[:, None] == np.arange(size)
            for (_, size), answer in zip(_column_counts(answers), answers.values(), strict=True)
        ]
    ).astype(np.bool_)


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
