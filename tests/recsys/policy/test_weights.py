"""The weights of one page: who sets which, in which order, and what locality is measured in."""

from dataclasses import replace

import pytest

from recsys.policy.weights import DEFAULT_LOCALITY_WEIGHT, LearnedWeights, effective_weights, score_spread

GIVEN = {"cf": 1.0, "content": 0.6, "popular": 0.3, "local": 0.5, "fresh": 0.2}
SPREAD = 1.45**0.5  # of 1.0, 0.6 and 0.3
USUAL = {"has_history": True, "controller_factor": 1.0, "local_weight": None}


@pytest.fixture
def weighing(market):
    """`effective_weights` of the market with the weights above."""

    def weigh(learned=None, experiment=None, weights=None, **more):
        made = replace(market, weights=GIVEN if weights is None else weights)
        return effective_weights(made, learned or LearnedWeights(), experiment or {}, **(USUAL | more))

    return weigh


def without(*names):
    return {name: weight for name, weight in GIVEN.items() if name not in names}


def test_the_spread_of_scores_is_the_root_of_the_summed_squares():
    assert score_spread(GIVEN, has_history=True) == pytest.approx(SPREAD)
    assert score_spread(GIVEN, has_history=False) == pytest.approx(0.3)
    assert score_spread({}, has_history=True) == 0.0


def test_locality_is_measured_in_standard_deviations_of_the_persons_scores(weighing):
    assert weighing()["local"] == pytest.approx(0.5 * SPREAD)
    assert weighing(has_history=False)["local"] == pytest.approx(0.5 * 0.3)
    assert {**weighing(), "local": 0.5} == GIVEN


def test_the_markets_weight_of_locality_comes_before_the_learned_one_and_that_before_the_default(weighing, market):
    learned = LearnedWeights(locality={market.market: 0.4})
    assert weighing(learned)["local"] == pytest.approx(0.5 * SPREAD)
    assert weighing(learned, weights=without("local"))["local"] == pytest.approx(0.4 * SPREAD)
    elsewhere = LearnedWeights(locality={"XX": 0.4})
    assert weighing(elsewhere, weights=without("local"))["local"] == pytest.approx(DEFAULT_LOCALITY_WEIGHT * SPREAD)


def test_training_scales_the_weight_of_content(weighing):
    assert weighing(LearnedWeights(content_share=0.5))["content"] == pytest.approx(0.3)
    assert weighing(LearnedWeights(content_share=0.5), weights=without("content"))["content"] == 0.0


def test_an_experiment_replaces_by_name_and_locality_follows(weighing):
    weights = weighing(LearnedWeights(content_share=0.5), {"content": 0.9, "local": 2.0})
    assert weights["content"] == 0.9
    assert weights["local"] == pytest.approx(2.0 * (1 + 0.81 + 0.09) ** 0.5)


def test_the_controller_multiplies_locality_and_nothing_else(weighing):
    weights, plain = weighing(controller_factor=1.5), weighing()
    assert weights == {**plain, "local": pytest.approx(1.5 * plain["local"])}


def test_the_heads_take_weight_after_locality_was_measured(weighing):
    def half(weights):
        return {**weights, "cf": weights["cf"] / 2, "like": 0.7}

    weights = weighing(LearnedWeights(mix_heads=half))
    assert (weights["cf"], weights["like"]) == (0.5, 0.7)
    assert weights["local"] == pytest.approx(0.5 * SPREAD)


@pytest.mark.parametrize("own", [0.0, 0.5, 2.0])
def test_the_persons_own_weight_comes_last(weighing, own):
    assert weighing(local_weight=own, controller_factor=1.5)["local"] == pytest.approx(own * 1.5 * 0.5 * SPREAD)


def test_the_markets_weights_are_left_alone(weighing):
    weighing(LearnedWeights(content_share=0.5), {"cf": 3.0}, local_weight=2.0)
    assert GIVEN["cf"] == 1.0 and GIVEN["content"] == 0.6
