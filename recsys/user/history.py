"""
Updates of a person's interaction history: reactions to items, creators followed or hidden, and their undoing.
"""

import msgspec

from recsys.clock import Millis
from recsys.user.state import MAX_INTERACTIONS, MAX_MARKS, InteractionHistory

_MARK_OF = {"follow": "followed", "hide_creator": "hidden"}


class HistoryFold:
    """A history while many events are added to it one by one; `result` is the history with all of them."""

    def __init__(self, history: InteractionHistory) -> None:
        self._before = history
        self._reactions = list(zip(history.items, history.weights, history.at, history.event_ids, strict=True))
        self._marks = {"followed": list(history.followed), "hidden": list(history.hidden)}
        self._undone = list(history.undone)

    def add_reaction(self, item_no: int, weight: float, at: Millis, event_id: str) -> None:
        """One more reaction, at most the newest `MAX_INTERACTIONS`; a weight of 0 adds nothing."""
        if weight != 0:
            self._reactions.append((item_no, weight, at, event_id))
            del self._reactions[:-MAX_INTERACTIONS]

    def mark_creator(self, kind: str, creator_id: str, event_id: str) -> None:
        """A `follow` or `hide_creator`, the newest `MAX_MARKS` of each; other kinds change nothing."""
        name = _MARK_OF.get(kind)
        if name is not None:
            others = [pair for pair in self._marks[name] if pair[0] != creator_id]
            self._marks[name] = [*others, (creator_id, event_id)][-MAX_MARKS:]

    def undo(self, event_id: str) -> None:
        """
        Takes back what an event did to the history, or will do when it comes late. What it did to safety stays.
        """
        n_before = len(self._reactions) + sum(map(len, self._marks.values()))
        self._reactions = [reaction for reaction in self._reactions if reaction[3] != event_id]
        self._marks = {name: [pair for pair in pairs if pair[1] != event_id] for name, pairs in self._marks.items()}
        if len(self._reactions) + sum(map(len, self._marks.values())) == n_before:
            self._undone = [*self._undone, event_id][-MAX_INTERACTIONS:]

    def is_undone(self, event_id: str) -> bool:
        """Whether an event was undone before it came."""
        return event_id in self._undone

    def result(self, log_seq: int) -> InteractionHistory:
        """The history with all events up to `log_seq`."""
        columns = list(zip(*self._reactions, strict=True)) or [(), (), (), ()]
        items, weights, at, event_ids = columns
        return msgspec.structs.replace(
            self._before,
            items=items,
            weights=weights,
            at=at,
            event_ids=event_ids,
            followed=tuple(self._marks["followed"]),
            hidden=tuple(self._marks["hidden"]),
            undone=tuple(self._undone),
            log_seq=log_seq,
        )
