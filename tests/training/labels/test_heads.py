"""Laws of the label heads, on made-up words and vectors."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import ArtifactError, DataError
from training.labels.fit_heads import FittedHeads, HeadParams, fit, fit_scales
from training.labels.heads import ANY_LANGUAGE, calibrate, heads_version, load_heads, pack_heads, predict_by_reader

PARAMS = HeadParams(n_landmarks=50)
N = 240


def made(seed: int = 0) -> tuple[list[str], np.ndarray, list[str], dict[str, np.ndarray]]:
    """Texts whose word says yes or no, vectors whose first number says which of three, two languages."""
    rng = np.random.default_rng(seed)
    yes, kind = rng.random(N) < 0.4, rng.integers(0, 3, N)
    texts = [f"{'zwina' if y else 'khayba'} {n % 7}" for n, y in enumerate(yes)]
    vectors = rng.standard_normal((N, 8)).astype(np.float32) * 0.3
    vectors[:, 0] += kind * 2
    return texts, vectors, ["fr" if n % 2 else "ary" for n in range(N)], {"yes": yes, "kind": kind}


@pytest.fixture(scope="module")
def fitted() -> FittedHeads:
    texts, vectors, languages, answers = made()
    found = fit(texts, vectors, languages, answers, PARAMS)
    assert found is not None
    return found


def test_words_and_vectors_are_both_learned_from(fitted: FittedHeads) -> None:
    texts, vectors, languages, answers = made(1)
    told = fitted.heads.predict(texts, vectors, languages)
    assert fitted.heads.questions == ("yes", "kind=0", "kind=1", "kind=2")
    assert np.mean((told[:, 0] > 0.5) == answers["yes"]) > 0.95
    assert np.mean(told[:, 1:].argmax(axis=1) == answers["kind"]) > 0.85


def test_out_of_fold_predictions_come_from_heads_that_did_not_know_the_item(fitted: FittedHeads) -> None:
    assert fitted.out_of_fold.shape == (N, 4)
    assert np.all((fitted.out_of_fold > 0) & (fitted.out_of_fold < 1))
    texts, vectors, languages, _ = made()
    assert not np.allclose(fitted.out_of_fold, fitted.heads.predict(texts, vectors, languages))


def test_equal_items_give_equal_heads(fitted: FittedHeads) -> None:
    texts, vectors, languages, answers = made()
    again = fit(texts, vectors, languages, answers, PARAMS)
    assert again is not None
    assert pack_heads(again.heads) == pack_heads(fitted.heads)


def test_heads_are_read_back_as_they_were_written(fitted: FittedHeads, tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    path.write_bytes(pack_heads(fitted.heads))
    found = load_heads(path)
    texts, vectors, languages, _ = made(1)
    assert found.predict(texts, vectors, languages) == pytest.approx(fitted.heads.predict(texts, vectors, languages))
    assert found.version == heads_version(path.read_bytes())
    path.write_bytes(b"PK")
    with pytest.raises(ArtifactError, match="no readable label heads"):
        load_heads(path)


def test_a_prediction_depends_on_its_text_alone(fitted: FittedHeads) -> None:
    texts, vectors, languages, _ = made(1)
    one = fitted.heads.predict(texts[:1], vectors[:1], languages[:1])
    assert one == pytest.approx(fitted.heads.predict(texts, vectors, languages)[:1], abs=1e-5)


def test_the_mean_lies_between_the_two_readers(fitted: FittedHeads) -> None:
    texts, vectors, _, _ = made(1)
    told = predict_by_reader(fitted.heads, texts, vectors)
    assert told["mean"] == pytest.approx((2 * told["ngrams"] + told["kernel"]) / 3)


def test_a_question_with_too_few_answers_is_not_learned() -> None:
    texts, vectors, languages, answers = made()
    few = np.zeros(N, np.bool_)
    few[: PARAMS.min_answers - 1] = True
    assert fit(texts, vectors, languages, {"few": few}, PARAMS) is None
    found = fit(texts, vectors, languages, {"few": few, "yes": answers["yes"]}, PARAMS)
    assert found is not None
    assert found.heads.questions == ("yes",)


def test_of_many_items_a_sample_keeps_the_rare_answers() -> None:
    texts, vectors, languages, _ = made()
    rare = np.zeros(N, np.bool_)
    rare[::10] = True
    found = fit(texts, vectors, languages, {"rare": rare}, HeadParams(max_items=100, n_landmarks=20))
    assert found is not None
    assert found.n_items == 100
    assert not np.isnan(found.out_of_fold[rare]).any()
    assert np.isnan(found.out_of_fold).any()


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(DataError, match="different lengths"):
        fit(["a"], np.zeros((2, 3), np.float32), [None], {}, PARAMS)


def test_a_language_with_enough_answers_has_a_calibration_of_its_own() -> None:
    rng = np.random.default_rng(0)
    raw = np.clip(rng.random((400, 1)), 0.01, 0.99)
    languages = ["fr"] * 195 + ["ary"] * 195 + ["en"] * 10
    chance = np.where(np.arange(400) < 195, raw[:, 0], raw[:, 0] ** 3)  # the same answer means less in the second
    yes = (rng.random(400) < chance)[:, None]
    scales = fit_scales(raw, yes, languages, 20)
    assert set(scales) == {ANY_LANGUAGE, "fr", "ary", "en"}
    assert np.array_equal(scales["en"], scales[ANY_LANGUAGE])
    told = calibrate(np.full((3, 1), 0.5), ["fr", "ary", None], scales)[:, 0]
    assert told[1] < told[2] < told[0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.05, 20), st.floats(-20, 20))
def test_calibration_never_reverses_the_order(raw: list[float], slope: float, shift: float) -> None:
    ordered = np.sort(np.array(raw))[:, None]
    told = calibrate(ordered, [None] * len(raw), {ANY_LANGUAGE: np.array([[slope, shift]], np.float32)})
    assert np.all(np.diff(told[:, 0]) >= 0)
    assert np.all((told >= 0) & (told <= 1))
