"""The yardstick of base models: NDCG as exposed, and what users would watch where propensities tell."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from recsys.metrics import HALVING_SHARE
from recsys.models.interactions import UserInteractions, interactions_from_matrix
from recsys.types import Floats
from training.models.yardstick import (
    NDCG,
    WATCH,
    Measured,
    Score,
    ShownItems,
    measure_exposed,
    measure_watch,
    shown_target,
    standard_error,
)

N_ITEMS = 60


def scorer(by_item: np.ndarray) -> Score:
    """A model that scores alike for all users."""

    def score(users: UserInteractions) -> Floats:
        return np.tile(by_item.astype(np.float32), (len(users), 1))

    return score


def nobody(n: int) -> UserInteractions:
    return interactions_from_matrix(sparse.csr_matrix((n, N_ITEMS), dtype=np.float32))


def shown(rows: list[int], items: list[int], propensity: list[float], response: list[float]) -> ShownItems:
    n_users = max(rows) + 1
    return ShownItems(
        users=nobody(n_users), numbers=np.arange(n_users), rows=np.array(rows), items=np.array(items, np.int32),
        propensity=np.array(propensity, np.float32), response=np.array(response, np.float32),
        drawn=np.arange(N_ITEMS, dtype=np.int32), n_open=N_ITEMS,
    )  # fmt: skip


def test_the_estimate_by_hand() -> None:
    log = shown([0, 0], [0, 2], [0.5, 0.25], [1.0, 0.0])
    ranked = scorer(-np.arange(N_ITEMS))  # item n stands at rank n, and is itself among those drawn: rank n + a half
    halves = max(HALVING_SHARE * N_ITEMS, 1.0)
    weights = np.array([2 ** (-0.5 / halves) / 0.5, 2 ** (-2.5 / halves) / 0.25])
    assert shown_target(ranked, log) == pytest.approx([2 ** (-0.5 / halves), 2 ** (-2.5 / halves)])
    assert measure_watch([(ranked, log)]).value == pytest.approx(weights[0] / weights.sum())


def test_what_a_feed_showed_often_is_no_reason_to_rank_it_high() -> None:
    """Item 0 is shown three times as often as item 1, and watched less. It wins as exposed, but not by the estimate."""
    random = np.random.default_rng(0)
    n_users = 400
    items = np.where(random.random(n_users) < 0.75, 0, 1)
    wanted = random.random(n_users) < np.where(items == 0, 0.5, 0.9)
    log = shown(list(range(n_users)), items.tolist(), np.where(items == 0, 0.75, 0.25).tolist(), wanted.tolist())
    often, better = (
        scorer(np.where(np.arange(N_ITEMS) == first, 2, -np.arange(N_ITEMS) % N_ITEMS / N_ITEMS)) for first in (0, 1)
    )
    relevant = sparse.csr_matrix((wanted.astype(np.float32), (np.arange(n_users), items)), (n_users, N_ITEMS))
    relevant.eliminate_zeros()
    came = np.flatnonzero(wanted)
    exposed = [measure_exposed([(it, nobody(len(came)), relevant[came], came)], 1) for it in (often, better)]
    watched = [measure_watch([(it, log)]) for it in (often, better)]
    assert exposed[0].yardstick == NDCG and exposed[0].is_above(exposed[1])
    assert watched[0].yardstick == WATCH and watched[1].is_above(watched[0])


def test_items_of_equal_score_share_their_rank() -> None:
    log = shown([0], [7], [0.5], [1.0])
    flat, first = shown_target(scorer(np.zeros(N_ITEMS)), log), shown_target(scorer(np.arange(N_ITEMS) == 7), log)
    assert flat == pytest.approx(2 ** (-(N_ITEMS / 2) / (HALVING_SHARE * N_ITEMS))) and first > flat


def test_a_met_item_is_not_ranked() -> None:
    log = shown([0], [2], [0.5], [1.0])
    met = sparse.csr_matrix(([1.0, 1.0], ([0, 0], [0, 1])), (1, N_ITEMS), dtype=np.float32)
    knows = replace(log, users=replace(log.users, exposed=met))
    assert shown_target(scorer(-np.arange(N_ITEMS)), knows) > shown_target(scorer(-np.arange(N_ITEMS)), log)


def test_two_rows_of_one_user_count_as_one_user() -> None:
    values = np.array([0.1, 0.9, 0.4, 0.6])
    once = standard_error(values, np.arange(4))
    assert once == pytest.approx(values.std() / 2)
    assert standard_error(np.repeat(values, 2), np.repeat(np.arange(4), 2)) == pytest.approx(once)


@pytest.mark.parametrize("n_rows", [0, 1, 3])
def test_nobody_and_one_user_tell_no_standard_error_and_prove_no_step(n_rows: int) -> None:
    values, numbers = np.arange(n_rows, dtype=np.float64), np.zeros(n_rows, np.intp)
    assert np.isnan(standard_error(values, numbers))
    assert not Measured(WATCH, 0.9, values, numbers).is_above(Measured(WATCH, 0.1, values, numbers))


def test_a_step_within_its_error_does_not_pay() -> None:
    numbers = np.arange(4)
    before = Measured(WATCH, 0.50, np.array([0.1, -0.1, 0.1, -0.1]), numbers)
    after = Measured(WATCH, 0.51, np.array([-0.1, 0.1, -0.1, 0.1]), numbers)  # the difference varies by .1
    assert not after.is_above(before) and Measured(WATCH, 0.61, after.influence, numbers).is_above(before)
