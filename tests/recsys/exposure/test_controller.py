"""The controller reaches its target where the market can, and stays within bounds whatever happens."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.clock import DAY, HOUR
from recsys.errors import ConfigError
from recsys.exposure.controller import (
    ControllerState,
    is_due,
    locality_factor,
    pack_controller,
    step_controller,
    unpack_controller,
)
from recsys.policy.checks import market_of


@pytest.fixture(scope="module")
def rules(market):
    return market.locality


def life(rules, respond, days=90, daily=4_000, share=0.25):
    """A market that answers the factor with a local share, through the window of a week; daily shares and outputs."""
    state, history, outputs = ControllerState(), [], []
    per_step = rules.controller.every_hours / 24
    for n in range(int(days / per_step)):
        share = respond(locality_factor(state, rules.controller), share)
        history.append(share * daily * per_step)
        week = history[-int(7 / per_step) :]
        state = step_controller(state, round(sum(week)), round(daily * per_step * len(week)), rules, (n + 1) * 6 * HOUR)
        outputs.append(state.output)
    return np.array(history) / (daily * per_step), np.array(outputs)


@pytest.mark.parametrize("base", [0.32, 0.38, 0.45, 0.5])
@pytest.mark.parametrize("gain", [0.1, 0.2])
def test_the_weekly_share_converges_to_its_target_where_the_market_can_reach_it(rules, base, gain):
    """share = base + gain * log2(factor): from .32 with a gain of .1, the target .40 takes a factor of 1.74."""
    shares, outputs = life(rules, lambda f, _: base + gain * np.log2(f))
    assert np.abs(shares[-28:] - rules.target).max() < 0.01  # the last week
    assert np.abs(outputs).max() <= 1.0
    overshoot = (shares - rules.target) * np.sign(rules.target - base)
    assert overshoot.max() < 0.03


def test_a_target_out_of_reach_leaves_the_output_at_its_bound_and_comes_back_at_once(rules):
    """Anti-windup: after 60 days at the bound, a market that turns is followed within two weeks."""
    turned = {"n": 0}

    def respond(f, _):
        turned["n"] += 1
        base = 0.2 if turned["n"] < 240 else 0.55
        return base + 0.1 * np.log2(f)

    _, outputs = life(rules, respond, days=80)
    assert outputs[200] == 1.0
    assert outputs[240 + 56] < 0.0


@given(
    shares=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=60),
    start=st.floats(-1, 1), gaps=st.integers(0, 10**9),
)  # fmt: skip
def test_whatever_the_counts_say_the_weight_stays_within_its_bounds(market, shares, start, gaps):
    rules, state = market.locality, ControllerState(integral=start, output=start)
    for n, (a, b) in enumerate(shares):
        state = step_controller(state, min(a, b), max(a, b), rules, n * gaps)
        assert -1.0 <= state.output <= 1.0 and -1.0 <= state.integral <= 1.0
        assert 1 / rules.controller.most <= locality_factor(state, rules.controller) <= rules.controller.most


def test_equal_counts_give_equal_steps_and_few_give_none(rules):
    before = ControllerState(at=1, integral=0.2, output=0.3)
    assert step_controller(before, 300, 1_000, rules, DAY) == step_controller(before, 300, 1_000, rules, DAY)
    quiet = step_controller(before, 3, rules.controller.least - 1, rules, DAY)
    assert (quiet.integral, quiet.output, quiet.at) == (0.2, 0.3, DAY)
    assert step_controller(before, 0, 0, rules, DAY).share is None


def test_a_market_at_its_target_is_left_alone(rules):
    n = 10_000
    at_target = step_controller(ControllerState(), round(rules.target * n), n, rules, DAY)
    assert at_target.output == pytest.approx(0.0) and locality_factor(at_target, rules.controller) == pytest.approx(1.0)


def test_a_step_is_due_once_in_so_many_hours(rules):
    hours = rules.controller.every_hours
    assert is_due(ControllerState(), rules.controller, DAY)
    assert not is_due(ControllerState(at=DAY), rules.controller, DAY + hours * HOUR - 1)
    assert is_due(ControllerState(at=DAY), rules.controller, DAY + hours * HOUR)


def test_what_is_remembered_survives_the_store():
    state = ControllerState(at=5, integral=-0.25, output=0.5, share=0.4)
    assert unpack_controller(pack_controller(state)) == state and unpack_controller(None) == ControllerState()
    assert len(pack_controller(state)) < 64


def test_the_engine_steers_the_weight_of_locality_and_nothing_else(make_service, morocco, evening):
    """A market far from its target: after a week of feeds the factor grows; limits and floors are as before."""
    controller = replace(morocco.locality.controller, least=20)
    market = replace(morocco, locality=replace(morocco.locality, target=1.0, controller=controller))
    service = make_service(market=market).is_adult("casa-adult")
    first = [service.ask(at=evening + n) for n in range(2)]
    for n in range(1, 4):
        service.ask(size=1, at=evening + n * 7 * HOUR)
    records = service.decisions()
    before, after = records[0].weights, records[-1].weights
    assert before["local"] < after["local"] <= controller.most * before["local"]
    assert {k: v for k, v in before.items() if k != "local"} == {k: v for k, v in after.items() if k != "local"}
    assert records[0].limits == records[-1].limits and len(first[0].items) == 20
    stored = unpack_controller(service.store.controllers.read("MA"))
    assert stored.output > 0 and stored.share is not None and stored.share < 1.0


def test_a_target_below_the_floor_is_refused():
    text = (Path(__file__).parents[3] / "policies" / "morocco.yaml").read_text("utf-8")
    with pytest.raises(ConfigError, match=r"locality\.target"):
        market_of(re.sub(r"target: 0\.4\d*", "target: 0.2", text))
