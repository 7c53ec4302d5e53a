"""
What models read of a person: the history of reactions, by training and since, and the responses to what was shown.
"""

from itertools import compress

import numpy as np

from recsys.catalogue.items import Items
from recsys.clock import Millis
from recsys.feed.compiled_history import learn_compiled
from recsys.kernels import library
from recsys.sets import distinct, is_among
from recsys.types import History, Ids, Mask, Responses
from recsys.user.feedback import learnables, responses
from recsys.user.state import InteractionHistory, UserState


def learned_of(
    state: UserState, trained: History | None, logged: Ids, items: Items, is_unlearnable_row: Mask
) -> tuple[History, Responses]:
    """What `history_of` and `responses_of` tell of a person; `logged` are rows of the training log that they saw."""
    native, recent, before = library(), state.interactions, History.empty() if trained is None else trained
    known = None
    if native is not None and not (recent.reset_at and len(logged)):
        known = learn_compiled(native, recent, before, state.seen, items, is_unlearnable_row)
    if known is not None:
        return known
    history = history_of(recent, trained, items, is_unlearnable_row)
    return history, responses_of(state, history, logged, items, is_unlearnable_row)


def history_of(recent: InteractionHistory, trained: History | None, items: Items, is_unlearnable_row: Mask) -> History:
    """
    Trained history and recent interactions as rows of the artifact, oldest first, for `fold_in`.

    Nothing positive comes from an item that counts as R2 or above now, whatever it was when it was watched.
    `is_unlearnable_row` (n_rows,) tells these, by rows of the artifact.
    """
    base = History.empty() if trained is None else _after(trained, recent.reset_at)
    numbers = np.array(recent.items, np.intp)
    is_new = (items.row[numbers] >= 0) & (np.array(recent.at, np.int64) > base.at.max(initial=recent.reset_at))
    history = History(
        np.concatenate([base.items, items.row[numbers[is_new]]]),
        np.concatenate([base.weights, np.array(recent.weights, np.float32)[is_new]]),
        np.concatenate([base.at, np.array(recent.at, np.int64)[is_new]]),
    )
    weights = learnables(history.weights, is_unlearnable_row[history.items])
    is_telling = weights != 0  # what tells nothing is left out, so that it cannot even touch a rounding
    return History(history.items[is_telling], weights[is_telling], history.at[is_telling])


def responses_of(state: UserState, history: History, logged: Ids, items: Items, is_unlearnable_row: Mask) -> Responses:
    """
    How much a person watched of what they were shown by the word of events and of the training log.

    What was delivered counts only once an event says that it was seen. `history` is what the person reacted to, and
    `logged` (n,) the rows that the training log says they have seen: after a reset these do not count.
    """
    reset_at = state.interactions.reset_at
    shown = np.array([*compress(state.seen.reported, map(reset_at.__lt__, state.seen.reported_at))], np.intp)
    rows = items.row[shown[shown < len(items)]]
    if reset_at:
        rows = rows[~is_among(rows, logged)]
    known = np.concatenate([history.items[~is_among(history.items, rows)], rows])
    known = known[(known >= 0) & ~is_unlearnable_row[known]]
    once = np.array([*dict.fromkeys(known.tolist())], np.int32)
    rows = distinct(np.concatenate([once, history.items]))
    watched = responses(np.searchsorted(rows, history.items), history.weights, len(rows))
    return Responses(once, watched[np.searchsorted(rows, once)])


def _after(history: History, at: Millis) -> History:
    is_after = history.at > at
    return History(history.items[is_after], history.weights[is_after], history.at[is_after])
