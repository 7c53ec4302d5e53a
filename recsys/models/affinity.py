"""
Affinity: how much more, or less, than other people a user watches of an item, by what the item is about.

Each user has a ridge regression of their own, on the topics of items and the principal components of their texts. It is
fitted to what the user was shown, watched or not, against what is expected of each item. It is solved in a fraction of
a millisecond, so it follows the user without retraining.
"""

from typing import Final

import numpy as np

from recsys.types import Floats, Ids, Responses, Space
from recsys.vocabulary import TOPICS

RIDGE: Final = 12.0
"""The variance of a response over that of a user's coefficient: so many responses move it half of the way."""

LANGUAGE_SCALE: Final = 0.5
MAX_LANGUAGES: Final = 16  # commonest of the catalogue
INTERCEPT_RIDGE: Final = 1.0
MAX_RESPONSES: Final = 300  # newest of a user; more change little and cost time
N_TOPICS: Final = len(TOPICS)
TEXT_COMPONENTS: Final = 24
TEXT_SCALE: Final = 0.2
"""The standard deviation of each component of texts, where a topic is 0 or 1: how far words are trusted beside it."""


def item_features(topics: Floats, language: Ids, text: Space | None) -> Floats:
    """
    (n_items, d) what a user's coefficients multiply: topics, languages, then principal components of texts.

    Shapes: topics (n_items, n_topics) 0 or 1; language (n_items,) codes, 0 = unknown. An item without a text has zeros
            in the components, the mean of all.
    """
    commonest = np.argsort(-np.bincount(language, minlength=1)[1:], kind="stable")[:MAX_LANGUAGES] + 1
    spoken = LANGUAGE_SCALE * (language[:, None] == commonest)
    columns = [topics, spoken] if text is None else [topics, spoken, _components(np.asarray(text.item_vectors))]
    return np.ascontiguousarray(np.hstack(columns), np.float32)


def without_text(features: Floats, has_text: bool) -> Floats:
    """The features (n, d) of items whose words nobody encoded: the components of texts at their mean, 0."""
    blanked = features.copy()
    if has_text:
        blanked[:, -TEXT_COMPONENTS:] = 0
    return blanked


def _components(vectors: Floats) -> Floats:
    """
    (n_items, TEXT_COMPONENTS) principal components of vectors (n_items, d), each as widely spread as the others; those
    that fewer dimensions or texts do not have are 0.
    """
    padded = np.zeros((len(vectors), TEXT_COMPONENTS), np.float32)
    has_text = np.abs(vectors).sum(axis=1) > 0
    if has_text.sum() < 2:
        return padded
    centred = np.where(has_text[:, None], vectors - vectors[has_text].mean(axis=0), 0.0)
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    components = centred @ axes[:, ::-1][:, :TEXT_COMPONENTS].astype(np.float32)
    spread = np.maximum(components[has_text].std(axis=0), 1e-6)
    padded[:, : components.shape[1]] = TEXT_SCALE * components / spread
    return padded


def embed_user(features: Floats, expected: Floats, responses: Responses) -> Floats:
    """
    (d + 1,) a user's coefficients, the last of them the intercept; zeros without responses.

    Shapes: features (n_items, d); expected (n_items,) the response that each item usually gets.
    """
    n_features = features.shape[1]
    rows = responses.items[-MAX_RESPONSES:]
    if not len(rows):
        return np.zeros(n_features + 1, np.float32)
    design = np.ones((len(rows), n_features + 1), np.float32)
    design[:, :-1] = features.take(np.asarray(rows, np.intp), axis=0)
    surprise = responses.values[-MAX_RESPONSES:] - expected[rows]
    gram = design.T @ design
    penalties = np.full(n_features + 1, RIDGE, np.float32)
    penalties[-1] = INTERCEPT_RIDGE
    gram[np.diag_indices_from(gram)] += penalties
    return np.linalg.solve(gram, design.T @ surprise).astype(np.float32)


def affinities(features: Floats, user: Floats, rows: Ids) -> Floats:
    """(n,) of a user (d + 1,) to items (n,), in units of the response, without the intercept."""
    return features.take(np.asarray(rows, np.intp), axis=0) @ user[:-1]
