"""
Updates of a person's interaction history: reactions to items, creators followed or hidden, and their undoing. Pure.
"""

import msgspec

from recsys.clock import Millis
from recsys.user.state import MAX_INTERACTIONS, MAX_MARKS, InteractionHistory

_MARK_OF = {"follow": "followed", "hide_creator": "hidden"}


def add_reaction(
    history: InteractionHistory, item_no: int, weight: float, at: Millis, event_id: str
) -> InteractionHistory:
    """The history with one more reaction, at most the newest `MAX_INTERACTIONS`; a weight of 0 adds nothing."""
    if weight == 0:
        return history
    return msgspec.structs.replace(
        history,
        items=(*history.items, item_no)[-MAX_INTERACTIONS:],
        weights=(*history.weights, weight)[-MAX_INTERACTIONS:],
        at=(*history.at, at)[-MAX_INTERACTIONS:],
        event_ids=(*history.event_ids, event_id)[-MAX_INTERACTIONS:],
    )


def mark_creator(history: InteractionHistory, kind: str, creator_id: str, event_id: str) -> InteractionHistory:
    """The history after `follow` or `hide_creator`, the newest `MAX_MARKS` of each; other kinds change nothing."""
    name = _MARK_OF.get(kind)
    if name is None:
        return history
    marks = tuple(pair for pair in getattr(history, name) if pair[0] != creator_id)
    return msgspec.structs.replace(history, **{name: (*marks, (creator_id, event_id))[-MAX_MARKS:]})


def undo(history: InteractionHistory, event_id: str) -> InteractionHistory:
    """
    The history without what an event did to it, or will do when it comes late. What the event did to safety stays.
    """
    rows = [n for n, known in enumerate(history.event_ids) if known != event_id]
    marks = history.followed + history.hidden
    is_known = len(rows) < len(history.event_ids) or any(pair[1] == event_id for pair in marks)
    return msgspec.structs.replace(
        history,
        items=tuple(history.items[n] for n in rows),
        weights=tuple(history.weights[n] for n in rows),
        at=tuple(history.at[n] for n in rows),
        event_ids=tuple(history.event_ids[n] for n in rows),
        followed=tuple(pair for pair in history.followed if pair[1] != event_id),
        hidden=tuple(pair for pair in history.hidden if pair[1] != event_id),
        undone=history.undone if is_known else (*history.undone, event_id)[-MAX_INTERACTIONS:],
    )
