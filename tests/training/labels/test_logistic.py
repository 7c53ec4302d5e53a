"""Laws of the regression that fits all questions at once: it ends where a fit of one question alone ends."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from recsys.types import Floats
from training.labels import logistic
from training.labels.logistic import Answers, Targets, balanced_weights, build_targets, fit_logistic

C = 2.0


@pytest.fixture
def features() -> Floats:
    return np.random.default_rng(3).normal(size=(400, 12)).astype(np.float32)


def answers_of(features: Floats) -> Answers:
    """A rare yes, a common yes, and one of three choices, all noisy."""
    noisy = features + np.random.default_rng(4).normal(size=features.shape)
    return {"rare": noisy[:, 0] > 1.8, "common": noisy[:, 1] > -0.5, "kind": noisy[:, 2:5].argmax(axis=1)}


def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "MAX_GRADIENT", 1e-4)


def test_every_question_ends_at_the_optimum_of_a_fit_of_it_alone(
    features: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    exactly(monkeypatch)
    answers = answers_of(features)
    weights = fit_logistic(features, build_targets(answers), C)
    odds = features @ weights[:-1] + weights[-1]
    rows = np.hstack([features, np.ones((400, 1), np.float32)])  # so that the bias is regularised there too
    for column, name in enumerate(("rare", "common")):
        alone = LogisticRegression(C=C, class_weight="balanced", fit_intercept=False, tol=1e-8).fit(rows, answers[name])
        np.testing.assert_allclose(expit(odds[:, column]), alone.predict_proba(rows)[:, 1], atol=2e-3)
    alone = LogisticRegression(C=C, class_weight="balanced", fit_intercept=False, tol=1e-8).fit(rows, answers["kind"])
    np.testing.assert_allclose(softmax(odds[:, 2:], axis=1), alone.predict_proba(rows), atol=2e-3)


def test_sparse_features_in_several_blocks_give_what_dense_ones_give(
    features: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    exactly(monkeypatch)
    monkeypatch.setattr(logistic, "_BLOCK_ROWS", 150)  # blocks of 150, 150 and 100 rows
    targets = build_targets(answers_of(features))
    dense = fit_logistic(features, targets, C)
    np.testing.assert_allclose(fit_logistic(sparse.csr_matrix(features), targets, C), dense, atol=4e-3)


def test_a_start_changes_the_way_and_not_the_end(features: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    exactly(monkeypatch)
    targets = build_targets(answers_of(features))
    weights = fit_logistic(features, targets, C)
    far = np.random.default_rng(5).normal(size=weights.shape).astype(np.float32)
    np.testing.assert_allclose(fit_logistic(features, targets, C, far), weights, atol=4e-3)
    assert fit_logistic(features, targets, C, weights) is weights


def test_a_question_does_not_depend_on_its_neighbours(features: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    exactly(monkeypatch)
    answers = answers_of(features)
    together = fit_logistic(features, build_targets(answers), C)
    alone = fit_logistic(features, build_targets({"rare": answers["rare"]}), C)
    np.testing.assert_allclose(together[:, :1], alone, atol=4e-3)


def test_answers_are_weighed_so_that_each_counts_as_much() -> None:
    """Of 4 items one says yes: it weighs 4 / 2 / 1, each no 4 / 2 / 3. Of the choices 0, 0, 2, 2 each item weighs 1."""
    targets = build_targets({"q": np.array([True, False, False, False]), "kind": np.array([0, 0, 2, 2])})
    weights = balanced_weights(targets)
    np.testing.assert_allclose(weights[:, 0], [2, 2 / 3, 2 / 3, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(weights[:, 1:], 1)
    assert targets.columns == ("q", "kind=0", "kind=1", "kind=2")
    assert targets.sizes == (1, 3)


@pytest.mark.parametrize(("answer", "is_likely"), [(True, True), (False, False)])
def test_an_answer_that_a_fold_does_not_have_is_never_likely(features: Floats, answer: bool, is_likely: bool) -> None:
    targets = build_targets({"q": np.full(400, answer), "kind": np.repeat([0, 2], 200)})
    weights = fit_logistic(features, targets, C)
    odds = features @ weights[:-1] + weights[-1]
    assert np.isfinite(odds).all()
    assert ((odds[:, 0] > 2) if is_likely else (odds[:, 0] < -2)).all()
    assert softmax(odds[:, 1:], axis=1)[:, 1].max() < 0.05


def test_the_rows_that_are_taken_keep_columns_that_none_of_them_has() -> None:
    targets = build_targets({"kind": np.array([0, 1, 2, 1])})
    part: Targets = targets.take(np.array([0, 1]))
    assert part.is_true.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert part.columns == targets.columns


def test_without_features_that_vary_the_bias_says_that_both_answers_are_as_likely() -> None:
    """Balanced answers: one yes among ten counts as much as the nine."""
    weights = fit_logistic(np.zeros((10, 2), np.float32), build_targets({"q": np.arange(10) == 0}), C)
    np.testing.assert_allclose(weights, 0, atol=0.1)
