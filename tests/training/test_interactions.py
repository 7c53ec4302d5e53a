"""Laws of the matrices that models learn from."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.clock import DAY, from_text
from recsys.data.tables import read_dataset
from recsys.user import feedback
from training.interactions import HISTORY_LENGTH, build_interactions
from training.saturation import ITEM_CAP, UNKNOWN_PERSON

SECOND_0 = from_text("2026-01-02T00:00:00Z")


def build(folder, **options):
    return build_interactions(read_dataset(folder), **options)


def event(number, user_id="u1", kind="like", item_id="v1", at=SECOND_0, **rest):
    return {"event_id": f"e{number}", "user_id": user_id, "kind": kind, "item_id": item_id, "at": at, **rest}


def test_the_small_world_by_hand(write):
    built = build(write())
    assert built.user_ids == ("u1", "u2")
    assert built.item_ids == ("v1", "v2", "v3")
    # u1 watched half of v1; the like of v2 (R2) is never learned; u2's negative feedback on v2 is
    assert built.positives.toarray() == pytest.approx(np.array([[0.5, 0, 0], [0, 0, 0]]), rel=1e-5)
    assert built.negatives.toarray() == pytest.approx(np.array([[0, 0, 0], [0, 2, 0]]), rel=1e-5)
    assert built.markets == ("MA", "ZZ")
    assert built.market_positives.toarray()[0] == pytest.approx([0.5, 0], rel=1e-5)
    assert built.n_events == 4
    history = built.histories.of(1)
    assert (history.items.tolist(), history.weights.tolist(), history.at.tolist()) == ([1], [-2], [SECOND_0 + 4_000])


def test_events_at_the_cutoff_or_later_never_enter(write):
    built = build(write(), before=SECOND_0 + 2_000)
    assert built.n_events == 1
    assert built.positives.nnz == built.negatives.nnz == len(built.histories.items) == 0


def test_an_assumed_tier_lets_unlabelled_items_be_learned(write):
    folder = write(events=[event(1, item_id="v3")])
    assert build(folder).positives.nnz == 0
    assert build(folder, assume_tier="R0").positives.toarray()[0, 2] == 1.5


def test_what_was_taken_back_never_enters(write):
    undo = {"event_id": "e9", "user_id": "u1", "kind": "undo", "item_id": None, "at": SECOND_0 + 1, "value": "e1"}
    other = {**undo, "event_id": "e8", "value": "e2"}  # u1 cannot take back what u2 did
    built = build(write(events=[event(1), event(2, user_id="u2"), undo, other]))
    assert built.positives.toarray()[:, 0].tolist() == [0, 1.5]


def test_someone_who_refused_personalisation_leaves_no_row_entries(write, rows):
    users = [{**user, "consent": user["user_id"] != "u1"} for user in rows("users")]
    built = build(write(users=users, events=[event(1), event(2, kind="report"), event(3, user_id="u2")]))
    assert built.positives.toarray()[:, 0].tolist() == [0, 1.5]
    assert built.negatives.nnz == 0
    assert len(built.histories.of(0)) == 0
    assert built.market_positives.toarray()[0].tolist() == [1.5, 1.5]


def test_people_who_only_occur_in_events_come_last_with_an_unknown_profile(write):
    built = build(write(events=[event(1, user_id="zoe"), event(2, user_id="adam")]))
    assert built.user_ids == ("u1", "u2", "adam", "zoe")
    assert built.market_positives.toarray()[0].tolist() == [0, 3 * UNKNOWN_PERSON]


def test_an_interaction_counts_half_after_a_half_life_in_matrices_but_not_in_histories(write):
    built = build(write(events=[event(1), event(2, user_id="u2", at=SECOND_0 + DAY)]), half_life=DAY)
    assert built.positives.toarray()[:, 0].tolist() == [0.75, 1.5]
    assert built.histories.weights.tolist() == [1.5, 1.5]


def test_one_pair_never_counts_above_its_cap(write):
    built = build(write(events=[event(n, kind="helped") for n in range(4)]))
    assert built.positives.toarray()[0, 0] == feedback.PAIR_CAP


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["complete", "like", "share", "helped", "view", "save"]), min_size=1, max_size=60))
def test_no_number_of_events_of_one_account_moves_an_item_beyond_the_cap(write, kinds):
    honest = [event(f"h{n}", user_id="u2", item_id=item) for n, item in enumerate(["v1"])]
    before = build(write(events=honest)).market_positives.sum()
    flooded = build(write(events=[*honest, *(event(n, kind=kind) for n, kind in enumerate(kinds))]))
    assert flooded.market_positives.sum() - before <= ITEM_CAP + 1e-5


def test_a_history_keeps_the_latest_and_stays_in_order(write):
    n = HISTORY_LENGTH + 30
    built = build(write(events=[event(k, at=SECOND_0 + (k * 7919) % n) for k in range(n)]))
    history = built.histories.of(0)
    assert history.at.tolist() == list(range(SECOND_0 + 30, SECOND_0 + n))


def test_without_events_the_matrices_are_empty(write):
    built = build(write(), before=SECOND_0 - DAY)
    assert built.positives.shape == (2, 3)
    assert built.last_at is None
    assert len(built.histories.of(0)) == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["u1", "u2"]), st.sampled_from(["like", "view", "report", "impression"]),
            st.sampled_from(["v1", "v2", "v3"]),
        ),
        min_size=1, max_size=20,
    )
)  # fmt: skip
def test_no_positive_entry_is_ever_on_an_item_of_r2_or_unlabelled(write, drawn):
    events = [event(n, user_id=u, kind=k, item_id=v) for n, (u, k, v) in enumerate(drawn)]
    built = build(write(events=events))
    assert built.positives.toarray()[:, 1:].sum() == 0
    assert built.market_positives.toarray()[1:].sum() == 0
    assert (built.positives.data > 0).all() and (built.negatives.data > 0).all()
    reports = {(u, v) for u, k, v in drawn if k == "report"}
    assert built.negatives.nnz == len(reports)
