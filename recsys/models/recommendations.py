"""The best items for users by one model, for notebooks. A feed chooses its pages under rules: `recsys.feed`."""

import numpy as np

from recsys.metrics import EMPTY
from recsys.models.base import PreferenceModel
from recsys.models.blend import mask_excluded
from recsys.models.interactions import UserInteractions
from recsys.topk import top_k
from recsys.types import Pages


def recommend(model: PreferenceModel, users: UserInteractions, k: int, *, block_users: int = 256) -> Pages:
    """
    The k best items of each user by a base model or a blend, without the items that the user knows already.

    Shapes: `users` of q people; returns (q, min(k, n_items)) item rows, best first; `metrics.EMPTY` where no item is
            left. Equal scores are ordered by the smaller row.
    Memory: scores of `block_users` people at a time.
    Raises: ValueError when k < 1.
    """
    if k < 1:
        raise ValueError(f"found k = {k}, expected 1 or more")
    pages = np.full((len(users), min(k, users.full.shape[1])), EMPTY, np.int32)
    for start in range(0, len(users), block_users):
        batch = users[start : start + block_users]
        scores = mask_excluded(model.scores(batch), batch)
        best = top_k(scores, k)
        is_left = np.take_along_axis(scores, best, axis=1) > -np.inf
        pages[start : start + len(batch)] = np.where(is_left, best, EMPTY)
    return pages
