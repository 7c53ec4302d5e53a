"""Laws of what items are about: topics, languages, and what texts say without a word about the language."""

import numpy as np
import pytest

from recsys.models import affinity
from recsys.models.affinity import N_THEMES, TEXT_COMPONENTS, topics_and_language
from training.models.item_features import LANGUAGE_SCALE, TEXT_SCALE, item_features


class _Texts:
    def __init__(self, n: int = 40, d: int = 32) -> None:
        self.item_vectors = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)

    def fold_in(self, history):
        return np.zeros(self.item_vectors.shape[1], np.float32)


def test_features_are_topics_then_languages_then_texts() -> None:
    texts = _Texts()
    texts.item_vectors[7] = 0
    topics, language = np.zeros((40, 2), np.float32), np.array([0, 3, 3, 5] * 10, np.int32)
    features = item_features(topics, language, texts, seed=0)
    n_languages = 5  # codes up to 5 but 0, in the order of how common they are
    near = [[0, 0], [LANGUAGE_SCALE, 0], [LANGUAGE_SCALE, 0], [0, LANGUAGE_SCALE]]
    assert features[:4, 2:4].tolist() == np.float32(near).tolist()
    components = features[:, 2 + n_languages + N_THEMES :]
    assert components.shape == (40, TEXT_COMPONENTS) and not components[7].any()
    has_text = np.arange(40) != 7
    np.testing.assert_allclose(components[has_text].std(axis=0), TEXT_SCALE, rtol=1e-4)
    assert item_features(topics, language, None, seed=0).shape == (40, 7)


def test_a_video_without_a_topic_has_one_theme_and_one_with_a_topic_or_without_a_text_has_none() -> None:
    texts = _Texts()
    texts.item_vectors[3] = 0
    topics = np.zeros((40, 1), np.float32)
    topics[5] = 1
    themes = item_features(topics, np.ones(40, np.int32), texts, seed=0)[:, 2 : 2 + N_THEMES]
    expected = np.ones(40)
    expected[[3, 5]] = 0
    assert themes.sum(axis=1).tolist() == expected.tolist()
    assert (themes.sum(axis=0) > 0).all()


def test_a_theme_joins_what_two_languages_say_of_the_same() -> None:
    rng = np.random.default_rng(1)
    subject, language = np.arange(160) % N_THEMES, (np.arange(160) // N_THEMES % 2 + 1).astype(np.int32)
    subjects, languages = rng.standard_normal((N_THEMES, 24)), 5 * rng.standard_normal((3, 24))
    texts = _Texts()
    noise = rng.standard_normal((160, 24)) / 10
    texts.item_vectors = (subjects[subject] + languages[language] + noise).astype(np.float32)
    features = item_features(np.zeros((160, 0), np.float32), language, texts, seed=3)
    themes = features[:, 2 : 2 + N_THEMES]
    of_subject = [themes[subject == number].argmax(axis=1) for number in range(N_THEMES)]
    assert all(len(set(numbers.tolist())) == 1 for numbers in of_subject)
    assert len({int(numbers[0]) for numbers in of_subject}) == N_THEMES


def test_equal_seeds_give_equal_features() -> None:
    topics, language = np.zeros((40, 2), np.float32), np.ones(40, np.int32)
    first, second = (item_features(topics, language, _Texts(), seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("n_texts", [1, 3, 12])
def test_many_items_of_few_texts_have_as_many_components_as_the_texts_differ_in(n_texts: int) -> None:
    rng = np.random.default_rng(2)
    texts = _Texts()
    texts.item_vectors = rng.standard_normal((n_texts, 384)).astype(np.float32)[np.arange(200) % n_texts]
    features = item_features(np.ones((200, 1), np.float32), np.ones(200, np.int32), texts, seed=0)
    components = features[:, 2 + N_THEMES :]
    assert components.any(axis=0).sum() == min(n_texts - 1, TEXT_COMPONENTS)
    np.testing.assert_allclose(components.std(axis=0)[: n_texts - 1], TEXT_SCALE, rtol=1e-3)


@pytest.mark.parametrize("n_items", [10, 64, 65])
def test_blocks_of_items_give_the_components_of_all(n_items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = _Texts(n_items, 6)
    topics, language = np.ones((n_items, 1), np.float32), np.ones(n_items, np.int32)
    whole = item_features(topics, language, texts, seed=0)
    monkeypatch.setattr("training.models.item_features._BLOCK_ITEMS", 16)
    np.testing.assert_allclose(np.abs(item_features(topics, language, texts, seed=0)), np.abs(whole), atol=1e-5)


@pytest.mark.parametrize("n_texts, d", [(0, 32), (1, 32), (5, 32), (40, 8)])
def test_few_or_short_texts_leave_topics_and_languages_where_they_are(n_texts: int, d: int) -> None:
    texts = _Texts()
    texts.item_vectors = np.zeros((40, d), np.float32)
    texts.item_vectors[:n_texts] = np.random.default_rng(0).standard_normal((n_texts, d))
    topics, language = np.ones((40, 12), np.float32), np.ones(40, np.int32)
    features = topics_and_language(item_features(topics, language, texts, seed=0), has_text=True)
    assert features.shape == (40, 13 + affinity.N_TEXT_COLUMNS)
    assert features[:, :13].tolist() == np.float32([[1.0] * 12 + [LANGUAGE_SCALE]] * 40).tolist()
    assert not features[:, 13:].any()
