""" "Not interested" on a risk topic: off at first, then reduced, then forgotten."""

import numpy as np
import pytest

from recsys.clock import DAY, from_text
from recsys.safety.loop.levels import (
    reduce_scores,
    topic_factors,
    topic_limits,
)

AT = from_text("2026-09-21T14:00:00Z")  # 14:00 in Casablanca


def test_a_refused_risk_topic_is_off_14_days_then_reduced_for_140(someone, market):
    someone.tell("not_interested", 3)  # R2 despair on S1: the family, never the help
    someone.tell("not_interested", 2)  # R1 on S11, which is not supportive
    loop, rules = someone.loop, market.loop
    for at, off in ((AT, True), (AT + 14 * DAY, True), (AT + 14 * DAY + 1, False)):
        limits = topic_limits(loop, rules, at)
        assert (limits.blocked_families, limits.blocked_topics) == (
            (frozenset({"despair"}), frozenset({"S11"})) if off else (frozenset(), frozenset())
        )
    assert topic_factors(loop, rules, AT + 14 * DAY) == {}
    assert topic_factors(loop, rules, AT + 15 * DAY)["despair"] == pytest.approx(0.2 + 0.8 / 140)
    assert topic_factors(loop, rules, AT + 84 * DAY)["S11"] == pytest.approx(0.6)  # half of the 140 days
    assert topic_factors(loop, rules, AT + 154 * DAY) == {}
    assert someone.page(0, wait=154 * DAY).loop.topic_off != ()
    assert someone.page(0, wait=1).loop.topic_off == ()


def test_refusing_again_starts_anew(someone, market):
    someone.tell("not_interested", 3)
    someone.at += 100 * DAY
    someone.tell("not_interested", 3)
    assert topic_limits(someone.loop, market.loop, someone.at).blocked_families == {"despair"}
    assert len(someone.loop.topic_off) == 1


@pytest.mark.parametrize("item", [1, 5])
def test_r0_and_unlabelled_items_put_no_topic_off(someone, market, item):
    assert someone.tell("not_interested", item).loop.topic_off == ()


def test_a_reduced_score_moves_towards_the_worst_of_the_page():
    scores, factors = np.array([2.0, -1.0, np.nan, 1.0], np.float32), np.array([0.2, 0.2, 0.2, 1.0], np.float32)
    np.testing.assert_allclose(reduce_scores(scores, factors), [-0.4, -1.0, np.nan, 1.0], rtol=1e-6)
