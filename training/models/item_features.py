"""
What items are about, as numbers that a user's coefficients of affinity multiply (`recsys.models.affinity`).

Topics are labels of the mental-health vocabulary. Many videos are about something else: cooking, football, a joke.
Themes stand for that: clusters of the texts of items without a topic. Vectors of texts differ by language first, so
each language is moved to a common mean before.
"""

from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.models.affinity import N_THEMES, TEXT_COMPONENTS
from recsys.types import Floats, Ids, Mask, Space

LANGUAGE_SCALE: Final = 0.55
MAX_LANGUAGES: Final = 16  # commonest of the catalogue
TEXT_SCALE: Final = 0.1
"""The standard deviation of each component of texts, where a topic is 0 or 1: how far words are trusted beside it."""

N_STARTS: Final = 4
_BLOCK_ITEMS: Final = 65_536  # whose vectors are held as 64-bit floats at a time
_ROUNDING: Final = 1e-5
"""The spread of a component, as a share of the length of vectors, up to which it is the rounding of equal texts."""


def item_features(topics: Floats, language: Ids, text: Space | None, seed: int) -> Floats:
    """
    (n_items, d) topics, languages, then what the texts say: themes and principal components. `seed` starts clusters.

    Shapes: topics (n_items, n_topics) 0 or 1; language (n_items,) codes, 0 = unknown. An item without a text has no
            theme, and zeros in the components: the mean of all.
    """
    commonest = np.argsort(-np.bincount(language, minlength=1)[1:], kind="stable")[:MAX_LANGUAGES] + 1
    columns = [topics, LANGUAGE_SCALE * (language[:, None] == commonest)]
    if text is not None:
        vectors = np.asarray(text.item_vectors)
        has_text = np.abs(vectors).sum(axis=1) > 0
        has_theme = has_text & ~topics.any(axis=1)
        columns += [_themes(_centred_by(language, vectors, has_text), has_theme, seed), _components(vectors, has_text)]
    return np.ascontiguousarray(np.hstack(columns), np.float32)


def _themes(vectors: Floats, has_theme: Mask, seed: int) -> Floats:
    """(n, N_THEMES) 1 for the cluster that an item belongs to; zeros without `has_theme`, or where too few have one."""
    from sklearn.cluster import KMeans

    themes = np.zeros((len(vectors), N_THEMES), np.float32)
    rows = np.flatnonzero(has_theme)
    if len(np.unique(vectors[rows], axis=0)) < N_THEMES:
        return themes
    with threadpool_limits(1):  # of OpenMP too; sums of several threads differ in their last bits
        clusters = KMeans(N_THEMES, n_init=N_STARTS, random_state=seed).fit_predict(vectors[rows])
    themes[rows, clusters] = 1
    return themes


def _centred_by(language: Ids, vectors: Floats, has_text: Mask) -> Floats:
    """The vectors (n, d), less the mean of their language."""
    centred = np.zeros_like(vectors)
    for code in np.unique(language[has_text]):
        rows = np.flatnonzero(has_text & (language == code))
        centred[rows] = vectors[rows] - vectors[rows].mean(axis=0)
    return centred


def _components(vectors: Floats, has_text: Mask) -> Floats:
    """
    (n_items, TEXT_COMPONENTS) principal components of vectors (n_items, d), each as widely spread as the others; those
    that fewer dimensions or different texts do not have are 0.
    """
    padded = np.zeros((len(vectors), TEXT_COMPONENTS), np.float32)
    if has_text.sum() < 2:
        return padded
    centred = np.where(has_text[:, None], vectors - vectors[has_text].mean(axis=0), 0.0)
    blocks = (centred[start : start + _BLOCK_ITEMS] for start in range(0, len(centred), _BLOCK_ITEMS))
    _, axes = np.linalg.eigh(sum(block.T.astype(np.float64) @ block for block in blocks))
    components = centred @ axes[:, ::-1][:, :TEXT_COMPONENTS].astype(np.float32)
    spread, length = components[has_text].std(axis=0), np.linalg.norm(vectors[has_text], axis=1).mean()
    is_spread = spread > _ROUNDING * length
    padded[:, : components.shape[1]][:, is_spread] = TEXT_SCALE * components[:, is_spread] / spread[is_spread]
    return padded
