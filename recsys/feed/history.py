"""
The history that models read: what training knew of a person, then what happened since.
"""

import numpy as np

from recsys.catalogue.items import Items, is_unlearnable
from recsys.clock import Millis
from recsys.types import History
from recsys.user.feedback import learnables
from recsys.user.state import InteractionHistory


def history_of(recent: InteractionHistory, trained: History | None, items: Items, n_rows: int) -> History:
    """
    Trained history and recent interactions as rows of the artifact, oldest first, for `fold_in`.

    Nothing positive comes from an item that counts as R2 or above now, whatever it was when it was watched. `n_rows` is
    how many rows the artifact has.
    """
    base = History.empty() if trained is None else _after(trained, recent.reset_at)
    numbers = np.array(recent.items, np.intp)
    is_new = (items.row[numbers] >= 0) & (np.array(recent.at, np.int64) > base.at.max(initial=recent.reset_at))
    history = History(
        np.concatenate([base.items, items.row[numbers[is_new]]]),
        np.concatenate([base.weights, np.array(recent.weights, np.float32)[is_new]]),
        np.concatenate([base.at, np.array(recent.at, np.int64)[is_new]]),
    )
    is_risky = np.zeros(n_rows, np.bool_)
    is_risky[items.row[is_unlearnable(items) & (items.row >= 0)]] = True
    weights = learnables(history.weights, is_risky[history.items])
    is_telling = weights != 0  # what tells nothing is left out, so that it cannot even touch a rounding
    return History(history.items[is_telling], weights[is_telling], history.at[is_telling])


def _after(history: History, at: Millis) -> History:
    is_after = history.at > at
    return History(history.items[is_after], history.weights[is_after], history.at[is_after])
