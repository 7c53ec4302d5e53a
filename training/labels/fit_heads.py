"""Learning the label heads (`training.labels.heads`) from items that people labelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from recsys.errors import DataError
from recsys.progress import Progress, quiet
from recsys.text.normalise import normalise
from recsys.types import Floats, Rows
from training.labels.heads import ANY, CLIP, Heads, Reader, to_scale
from training.text.ngrams import choose

_NEVER: Final = 9.0  # log-odds
_LEAST_SPREAD: Final = 1e-3  # of landmarks in a direction; along one alone it is 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadParams:
    """
    `least_answers`: a question is learned when it has so many items with yes and with no; a language gets a scale of
    its own from so many. `most_items`: of more, a sample is learned from, yes answers first. `n_runs`, `n_landmarks`:
    size of the two readers. `folds` for the scales.
    """

    least_answers: int = 20
    most_items: int = 20_000
    n_runs: int = 200_000
    n_landmarks: int = 2_000
    folds: int = 3
    letters_c: float = 3.0
    kernel_c: float = 5.0
    letters_share: float = 2 / 3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """
    The heads, and (n, q) probabilities of the items that they learned from, each by readers that did not know the
    item; NaN for items that were not in the sample. `n_items` in it.
    """

    heads: Heads
    left_out: NDArray[np.float64]
    n_items: int


Answers = Mapping[str, NDArray[Any]]
"""Question -> (n,) booleans for yes or no, or small whole numbers for one of several choices."""


def fit(
    texts: Sequence[str],
    vectors: Floats,
    languages: Sequence[str | None],
    answers: Answers,
    params: HeadParams,
    on_progress: Progress = quiet,
) -> Fitted | None:
    """
    Learns the questions of `answers` that have enough of two answers at least; None when none has.

    Shapes: `vectors` (n, d). Raises DataError when the lengths differ.
    """
    if not all(len(part) == len(texts) for part in (vectors, languages, *answers.values())):
        raise DataError("found texts, vectors, languages and answers of different lengths, expected one for each item")
    rng = np.random.default_rng(params.seed)
    rows = _sample(answers, len(texts), params, rng)
    asked = {name: given[rows] for name, given in answers.items() if _is_enough(given[rows], params.least_answers)}
    if not asked:
        return None
    said, spoken = [texts[row] for row in rows.tolist()], [languages[row] for row in rows.tolist()]
    reader = fit_reader(said, vectors[rows], params, rng)
    letters, likeness = reader.letters(said), reader.likeness(vectors[rows]) @ reader.whitening
    whole = _learned(reader, letters, likeness, asked, params)
    part = rng.permutation(len(rows)) % params.folds
    raw = np.empty((len(rows), len(whole.questions)))
    for fold in range(params.folds):
        on_progress("labels", fold, params.folds)
        inside, outside = np.flatnonzero(part != fold), np.flatnonzero(part == fold)
        some = {name: given[inside] for name, given in asked.items()}
        found = _learned(reader, letters[inside], likeness[inside], some, params)
        raw[outside] = found.mixed(letters[outside] @ found.letter_weights, likeness[outside] @ found.kernel_weights)
    on_progress("labels", params.folds, params.folds)
    scales = fit_scales(raw, _yes(asked), spoken, params.least_answers)
    left_out = np.full((len(texts), raw.shape[1]), np.nan)
    left_out[rows] = to_scale(raw, spoken, scales)
    heads = replace(whole, kernel_weights=reader.whitening @ whole.kernel_weights, scales=scales)
    return Fitted(heads=heads, left_out=left_out, n_items=len(rows))


def fit_plain(texts: Sequence[str], vectors: Floats, answers: Answers, params: HeadParams) -> Heads:
    """The heads without scales: for questions of which only the order matters."""
    reader = fit_reader(texts, vectors, params, np.random.default_rng(params.seed))
    found = _learned(reader, reader.letters(texts), reader.likeness(vectors) @ reader.whitening, answers, params)
    return replace(found, kernel_weights=reader.whitening @ found.kernel_weights)


def fit_reader(texts: Sequence[str], vectors: Floats, params: HeadParams, rng: np.random.Generator) -> Reader:
    """The runs, the scale of the vectors, and landmarks drawn from them."""
    runs, rarity = choose([normalise(text).split() for text in texts], least_texts=2, most=params.n_runs)
    mean, scale = vectors.mean(axis=0), np.maximum(vectors.std(axis=0), 1e-6)
    some = rng.choice(len(vectors), min(params.n_landmarks, len(vectors)), replace=False)
    reader = Reader(
        runs=runs,
        rarity=rarity,
        mean=mean,
        scale=scale,
        landmarks=np.asarray((vectors[some] - mean) / scale, np.float32),
        whitening=np.empty((0, 0), np.float32),
    )
    u, s, vt = np.linalg.svd(reader.likeness(vectors[some]).astype(np.float64))
    # equal texts give equal landmarks, whose difference is rounding: it must not be blown up
    whitening = (u * np.where(s > _LEAST_SPREAD, 1 / np.sqrt(np.maximum(s, _LEAST_SPREAD)), 0)) @ vt
    return replace(reader, whitening=np.asarray(whitening, np.float32))


def _learned(reader: Reader, letters: Any, likeness: Floats, answers: Answers, params: HeadParams) -> Heads:
    """Heads without scales, whose kernel weights go with whitened likenesses."""
    both: tuple[list[Floats], list[Floats]] = ([], [])
    for given in answers.values():
        for features, c, of_reader in zip((letters, likeness), (params.letters_c, params.kernel_c), both, strict=True):
            of_reader.append(_weights(features, given, c))
    of_letters, of_kernel = (np.hstack(part) for part in both)
    return Heads(
        reader=reader,
        questions=tuple(name if size == 1 else f"{name}={n}" for name, size in _sizes(answers) for n in range(size)),
        choices=tuple(size for _, size in _sizes(answers)),
        letter_weights=of_letters[:-1],
        kernel_weights=of_kernel[:-1],
        biases=np.stack([of_letters[-1], of_kernel[-1]]),
        scales={},
        letters_share=params.letters_share,
    )


def _weights(features: Any, given: NDArray[Any], c: float) -> Floats:
    """(features + 1, columns) of a linear model, the bias last; a column for each choice, or one for yes."""
    from sklearn.linear_model import LogisticRegression

    size = 1 if given.dtype == np.bool_ else int(given.max()) + 1
    found = np.zeros((features.shape[1] + 1, size), np.float32)
    there = np.unique(given).astype(np.intp)
    found[-1] = -_NEVER  # for a choice that a fold does not have
    if len(there) == 1:
        found[-1, there if size > 1 else 0] = _NEVER if size > 1 or there[0] else -_NEVER
        return found
    # the solver for few columns and many features takes two classes only
    solver = "liblinear" if len(there) == 2 and not isinstance(features, np.ndarray) else "lbfgs"
    model = LogisticRegression(C=c, class_weight="balanced", solver=solver, max_iter=400).fit(features, given)
    fitted = np.vstack([model.coef_.T, model.intercept_])
    if size == 1:
        return np.asarray(fitted, np.float32)
    found[:, there] = fitted if len(there) > 2 else np.hstack([np.zeros_like(fitted), fitted])
    return found


def _sizes(answers: Answers) -> list[tuple[str, int]]:
    return [(name, 1 if given.dtype == np.bool_ else int(given.max()) + 1) for name, given in answers.items()]


def _yes(answers: Answers) -> NDArray[np.bool_]:
    """(n, q) what is true in every column."""
    return np.column_stack(
        [
            given[:, None] if size == 1 else given[:, None] == np.arange(size)
            for (_, size), given in zip(_sizes(answers), answers.values(), strict=True)
        ]
    ).astype(np.bool_)


def _is_enough(given: NDArray[Any], least: int) -> bool:
    """Whether two answers were given so often."""
    return len(np.unique(given)) > 1 and int(np.sort(np.unique(given, return_counts=True)[1])[-2]) >= least


def _sample(answers: Answers, n: int, params: HeadParams, rng: np.random.Generator) -> Rows:
    """All rows, or a sample: a part of it the yes answers to each question (choices above 0), the rest by chance."""
    if n <= params.most_items:
        return np.arange(n)
    chosen = np.zeros(n, np.bool_)
    share = params.most_items // (2 * max(len(answers), 1))
    for given in answers.values():
        chosen[rng.permutation(np.flatnonzero(given))[:share]] = True
    chosen[rng.permutation(np.flatnonzero(~chosen))[: params.most_items - int(chosen.sum())]] = True
    return np.flatnonzero(chosen)


# --- scales ---


def fit_scales(
    raw: NDArray[np.float64], yes: NDArray[np.bool_], languages: Sequence[str | None], least: int
) -> dict[str, Floats]:
    """
    Platt's slope and shift for every question: of all items (`ANY`), and of each language with `least` of both answers.

    A language without takes those of all items. The answers count as (yes + 1) / (n + 2), so that no scale is sure of
    everything (Platt 1999).
    """
    names = np.array([language or ANY for language in languages])
    common = np.array([_platt(raw[:, q], yes[:, q]) for q in range(raw.shape[1])], np.float32)
    scales = {ANY: common}
    for name in np.unique(names[names != ANY]).tolist():
        own = names == name
        scales[name] = np.array(
            [
                _platt(raw[own, q], yes[own, q]) if _is_enough(yes[own, q], least) else common[q]
                for q in range(raw.shape[1])
            ],
            np.float32,
        )
    return scales


def _platt(raw: NDArray[np.float64], yes: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope (at least 0.05) and shift by Newton's method on the log loss."""
    n_yes, n_no = int(yes.sum()), int((~yes).sum())
    target = np.where(yes, (n_yes + 1) / (n_yes + 2), 1 / (n_no + 2))
    odds = logit(np.clip(raw, CLIP, 1 - CLIP))
    design = np.column_stack([odds, np.ones_like(odds)])
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        told = expit(design @ weights)
        slope = design.T @ (target - told) - 1e-3 * (weights - (1.0, 0.0))
        curve = (design * (told * (1 - told))[:, None]).T @ design + 1e-3 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        weights = weights + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return max(float(weights[0]), 0.05), float(weights[1])
