"""Laws of the script that fits the language detector: it learns from what it may, and serves as it was fitted."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from recsys.errors import DataError
from recsys.text.detect import ScriptClassifier, classifiers, classify_words
from recsys.text.ngrams import BITS, cumulative_evidence, join_texts, stretch_evidence
from training.text import fit_detector
from training.text.detector_words import MADE_CLASSES, make_phrases
from training.text.fit_detector import CLASSES, ClassTexts, collect, fit, glosses, matrix, own_sentences

DATA = Path(__file__).parents[4] / "shared" / "data" / "text"
FRENCH = ["je ne sais pas", "le chat dort bien", "nous aimons la mer", "où vas tu demain"]
ENGLISH = ["i do not know", "the cat sleeps well", "we love the sea", "where do you go tomorrow"]
AMAZIGH = ["ur ssinɣ mad illan", "amuc ar itgan", "nra ill bahra", "mani trit azkka"]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    raw = table.getvalue().encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """The four sets in their published layout, a few made-up rows each."""
    write(
        tmp_path / "doda_mit_2023/sentences_train_8335.csv.gz", [{"english": "hello", "darija_latin": "salam khouya"}]
    )
    write(tmp_path / "counselchat/counselchat.csv.gz", [{"questionText": "how are you", "answerText": "fine thanks"}])
    write(tmp_path / "mentalqa/train_dev.csv.gz", [{"question": "ليش انا تعبان كذا", "answer": "لا تقلق من هذا الأمر"}])
    amazigh = [{"english": "water", "tamazight_latin": "aman"}, {"english": "hello", "tamazight_latin": "azul"}] * 3
    write(tmp_path / "gatitos_morocco/en_tamazight_latin.csv", amazigh)
    write(tmp_path / "gatitos_morocco/en_tamazight_tifinagh.csv", [{"english": "sun", "tamazight_tifinagh": "ⵜⴰⴼⵓⴽⵜ"}])
    darija = [{"english": "a lot of", "darija_arabic": "بزاف ديال"}, {"english": "year", "darija_arabic": "العام"}]
    write(tmp_path / "gatitos_morocco/en_darija_arabic.csv", darija)
    return tmp_path


def test_every_class_has_text_of_its_own_and_dialects_are_sorted(sets: Path) -> None:
    texts = collect(sets)
    assert set(texts) == {name for names in CLASSES.values() for name in names}
    assert all(len(found.own) > 30 for found in texts.values())
    assert texts["ar"].sets == ["لا تقلق من هذا الأمر"]
    assert texts["other"].sets == ["ليش انا تعبان كذا"]
    assert "بزاف ديال" in texts["ary"].sets and "العام" not in texts["ary"].sets


def test_a_missing_set_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected one of the four training sets"):
        collect(tmp_path)


def test_glosses_are_the_one_word_entries_and_the_same_bytes_each_time(sets: Path) -> None:
    assert gzip.decompress(glosses(sets)).decode() == "aman\twater\nazul\thello\ntafukt\tsun\n"
    assert glosses(sets) == glosses(sets)


def test_what_is_fitted_is_what_is_served() -> None:
    """The sparse matrix of the fit and the cumulative sums of the service give the same evidence."""
    texts = ["a", "bonjour le monde", "ça va", "b"]
    weights = np.random.default_rng(0).standard_normal((2**BITS, 3)).astype(np.float32)
    joined, starts, ends = join_texts(texts)
    assert stretch_evidence(cumulative_evidence(joined, weights), starts, ends) == pytest.approx(
        matrix(texts) @ weights, abs=1e-4
    )


def test_a_small_fit_learns_and_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_detector, "WINDOWS", 200)
    monkeypatch.setattr(fit_detector, "DRAWS", 1)
    names = ("en", "fr", "zgh-Latn")
    monkeypatch.setattr(fit_detector, "CLASSES", {"Latn": names})
    texts = {
        name: ClassTexts(own=own * 20, sets=()) for name, own in zip(names, (ENGLISH, FRENCH, AMAZIGH), strict=True)
    }
    first, right = fit(texts, "Latn", np.random.default_rng(1))
    again, _ = fit(texts, "Latn", np.random.default_rng(1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert right > 0.9
    model = ScriptClassifier(names, first["Latn_weights"].astype(np.float32), first["Latn_bias"])
    found = classify_words([["nous", "aimons", "le", "chat"], ["we", "love", "the", "cat"]], model)
    assert [max(part.whole, key=lambda name: part.whole[name]) for part in found] == ["fr", "en"]


@pytest.mark.parametrize("name", MADE_CLASSES)
def test_phrases_are_made_of_the_words_of_their_variety(name: str) -> None:
    made = make_phrases(name, np.random.default_rng(0), 50, ["الشمس"])
    assert len(made) == 50
    assert all(3 < len(phrase.split()) < 28 and "…" not in phrase and "_" not in phrase for phrase in made)
    assert made == make_phrases(name, np.random.default_rng(0), 50, ["الشمس"])


def test_no_sentence_of_ours_stands_in_two_classes() -> None:
    seen: dict[str, str] = {}
    for names in CLASSES.values():
        for name in names:
            for sentence in set(own_sentences(name)):
                assert seen.setdefault(sentence, name) == name


def test_the_shipped_weights_are_small_and_finite() -> None:
    path = Path(fit_detector.__file__).parents[2] / "recsys" / "text" / "data" / "detector.npz"
    assert path.stat().st_size < 2_000_000
    assert {script: model.classes for script, model in classifiers().items()} == CLASSES
    assert all(np.isfinite(model.weights).all() and len(model.weights) == 2**BITS for model in classifiers().values())


@pytest.mark.data
@pytest.mark.slow
def test_the_shipped_weights_are_those_that_the_script_makes() -> None:
    if not DATA.is_dir():
        pytest.skip("the text sets are not there; see docs/text.md for where they come from")
    found, right = fit(collect(DATA), "Latn", np.random.default_rng(0))  # the other script takes minutes
    assert right > 0.98
    assert np.abs(found["Latn_weights"].astype(np.float32) - classifiers()["Latn"].weights).max() < 0.05
