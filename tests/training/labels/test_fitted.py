"""Laws of fitted heads on disk: equal texts and labels are fitted once, and anything else is fitted anew."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from recsys.types import Floats
from training.labels import fitted
from training.labels.fit_heads import FittedHeads, HeadParams, fit
from training.labels.fitted import MAX_FILES, fit_or_reuse
from training.labels.heads import pack_heads
from training.labels.logistic import Answers

PARAMS = HeadParams(n_landmarks=20, min_answers=5)
TEXTS = [f"{word} {n}" for n in range(30) for word in ("calm sea", "loud storm")]
LANGUAGES: list[str | None] = ["en"] * 59 + [None]
VECTORS = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
ANSWERS: Answers = {"is loud": np.arange(60) % 2 == 1}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each fit."""
    counted: list[int] = []

    def counting(
        texts: Sequence[str], vectors: Floats, languages: Sequence[str | None], answers: Answers, params: HeadParams,
        *rest: object,
    ) -> FittedHeads | None:  # fmt: skip
        counted.append(len(texts))
        return fit(texts, vectors, languages, answers, params)

    monkeypatch.setattr(fitted, "fit", counting)
    return counted


def heads_of(cache: Path, texts: Sequence[str] = TEXTS, answers: Answers = ANSWERS, seed: int = 0) -> FittedHeads:
    params = HeadParams(n_landmarks=20, min_answers=5, seed=seed)
    found = fit_or_reuse(texts, VECTORS, LANGUAGES, answers, params, cache)
    assert found is not None
    return found


def test_the_second_training_gets_the_bytes_of_the_first_and_fits_nothing(tmp_path: Path, fits: list[int]) -> None:
    first, second = heads_of(tmp_path), heads_of(tmp_path)
    assert fits == [60]
    assert pack_heads(first.heads) == pack_heads(second.heads)
    np.testing.assert_array_equal(first.out_of_fold, second.out_of_fold)
    assert first.n_items == second.n_items == 60


def test_what_comes_from_disk_predicts_what_a_fit_predicts(tmp_path: Path) -> None:
    heads_of(tmp_path)
    fresh = fit(TEXTS, VECTORS, LANGUAGES, ANSWERS, PARAMS)
    assert fresh is not None
    expected = fresh.heads.predict(TEXTS, VECTORS, LANGUAGES)
    np.testing.assert_allclose(heads_of(tmp_path).heads.predict(TEXTS, VECTORS, LANGUAGES), expected, atol=1e-6)


def test_another_text_label_or_setting_is_fitted_anew(tmp_path: Path, fits: list[int]) -> None:
    heads_of(tmp_path)
    heads_of(tmp_path, texts=["calm lake 0", *TEXTS[1:]])
    heads_of(tmp_path, texts=["calm sea 0loud", " storm 0", *TEXTS[2:]])  # the same letters, cut elsewhere
    heads_of(tmp_path, answers={"is loud": ANSWERS["is loud"] ^ (np.arange(60) == 7)})
    heads_of(tmp_path, answers={"is calm": ANSWERS["is loud"]})
    heads_of(tmp_path, seed=1)
    assert len(fits) == 6


@pytest.mark.parametrize("damage", [b"", b"x" * 40])
def test_a_damaged_file_is_fitted_again(tmp_path: Path, fits: list[int], damage: bytes) -> None:
    heads_of(tmp_path)
    (path,) = (tmp_path / "labels").glob("*.heads")
    path.write_bytes(damage)
    heads_of(tmp_path)
    heads_of(tmp_path)
    assert len(fits) == 2


def test_another_program_fits_anew(tmp_path: Path, fits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    heads_of(tmp_path)
    monkeypatch.setattr(fitted, "_program", lambda: b"another")
    heads_of(tmp_path)
    assert len(fits) == 2


def test_without_a_place_for_the_cache_a_training_goes_on(tmp_path: Path, fits: list[int]) -> None:
    (tmp_path / "labels").write_text("a file where the folder should be")
    assert heads_of(tmp_path).n_items == heads_of(tmp_path).n_items == 60
    assert len(fits) == 2


def test_the_files_used_last_stay(tmp_path: Path) -> None:
    for seed in range(MAX_FILES + 2):
        heads_of(tmp_path, seed=seed)
    assert len(list((tmp_path / "labels").iterdir())) == MAX_FILES


def test_too_few_labels_leave_no_file(tmp_path: Path) -> None:
    rare: Answers = {"is loud": np.arange(60) == 1}
    assert fit_or_reuse(TEXTS, VECTORS, LANGUAGES, rare, PARAMS, tmp_path) is None
    assert not (tmp_path / "labels").exists()
