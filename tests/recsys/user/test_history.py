"""A history that many events are added to at once is the one to which they are added one after the other."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.user import history as history_module
from recsys.user.history import HistoryFold
from recsys.user.state import InteractionHistory

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["reaction", "nothing", "follow", "hide_creator", "like", "undo"]),
        st.integers(0, 9),
        st.integers(0, 12).map("e{}".format),
    ),
    max_size=30,
)
LIMIT = 4


def add(history, event, number):
    """The specification: one event, and whole tuples of what comes out."""
    kind, n, event_id = event
    if kind == "undo":
        return without(history, event_id, number)
    if event_id in history.undone or kind in ("nothing", "like"):
        return msgspec.structs.replace(history, log_seq=number)
    if kind == "reaction":
        row = {"items": n, "weights": 1.5, "at": number, "event_ids": event_id}
        added = {name: (*getattr(history, name), value)[-LIMIT:] for name, value in row.items()}
    else:
        name = {"follow": "followed", "hide_creator": "hidden"}[kind]
        others = tuple(pair for pair in getattr(history, name) if pair[0] != f"c{n}")
        added = {name: (*others, (f"c{n}", event_id))[-LIMIT:]}
    return msgspec.structs.replace(history, log_seq=number, **added)


def without(history, event_id, number):
    rows = [n for n, known in enumerate(history.event_ids) if known != event_id]
    marks = {name: tuple(p for p in getattr(history, name) if p[1] != event_id) for name in ("followed", "hidden")}
    columns = {name: tuple(getattr(history, name)[n] for n in rows) for name in ("items", "weights", "at", "event_ids")}
    is_known = any(getattr(history, name) != left for name, left in {**marks, **columns}.items())
    undone = history.undone if is_known else (*history.undone, event_id)[-LIMIT:]
    return msgspec.structs.replace(history, log_seq=number, undone=undone, **marks, **columns)


def fold_event(fold, event, number):
    kind, n, event_id = event
    if kind == "undo":
        fold.undo(event_id)
    elif not fold.is_undone(event_id):
        if kind in ("reaction", "nothing"):
            fold.add_reaction(n, 1.5 if kind == "reaction" else 0.0, number, event_id)
        else:
            fold.mark_creator(kind, f"c{n}", event_id)


@settings(max_examples=300, deadline=None)
@given(before=EVENTS, after=EVENTS)
def test_a_fold_is_what_one_event_after_the_other_is(before, after):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_module, "MAX_INTERACTIONS", LIMIT)
        patch.setattr(history_module, "MAX_MARKS", LIMIT)
        history = InteractionHistory()
        for number, event in enumerate(before):
            history = add(history, event, number)
        fold = HistoryFold(history)
        for number, event in enumerate(after, len(before)):
            history = add(history, event, number)
            fold_event(fold, event, number)
            assert fold.result(number) == history
