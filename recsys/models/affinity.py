"""
Affinity: how much more, or less, than other people a user watches of an item, by what the item is about.

Each user has a ridge regression of their own, on topics, languages, texts and forms of items. It is fitted to what the
user was shown, watched or not, against what is expected of each item. It is solved in a fraction of a millisecond, so
it follows the user without retraining.
"""

from typing import Final, NamedTuple

import numpy as np

from recsys.types import Floats, Ids, Responses
from recsys.vocabulary import TOPICS

RIDGE: Final = 6.0
"""The variance of a response over that of a user's coefficient: so many responses move it half of the way."""

INTERCEPT_RIDGE: Final = 1.0
MAX_RESPONSES: Final = 300  # newest of a user; more change little and cost time
N_TOPICS: Final = len(TOPICS)
N_THEMES: Final = 8
TEXT_COMPONENTS: Final = 16
N_TEXT_COLUMNS: Final = N_THEMES + TEXT_COMPONENTS
"""
What a user's coefficients multiply, see `training.models.item_features`: topics, languages, what texts say, which needs
the encoder, and the form of an item.
"""


class Form(NamedTuple):
    """
    The last columns: how many for the kind of an item's creator, then how many for its length; none where people do not
    differ in it.
    """

    n_kinds: int = 0
    n_lengths: int = 0


NO_FORM: Final = Form()


def topics_and_language(features: Floats, has_text: bool, form: Form = NO_FORM) -> Floats:
    """
    The features (n, d) of items whose words nobody encoded, and whose form nobody knows: no theme, components of texts
    at their mean, 0, and no form.
    """
    blanked = features.copy()
    n_blank = sum(form) + (N_TEXT_COLUMNS if has_text else 0)
    blanked[:, features.shape[1] - n_blank :] = 0
    return blanked


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
