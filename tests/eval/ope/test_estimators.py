"""The estimators by hand, and what holds of them for any log."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.ope import Choices, Rounds, Target, choice_estimators, diagnose, estimate_values, page_estimators, point
from eval.ope.estimators import cumulative
from eval.ope.outcome import expected_rewards, rewards_to_come


def rounds(rewards: list[float], logged: list[float], *, slates: list[int] | None = None) -> Rounds:
    n = np.arange(len(rewards))
    pages = n if slates is None else np.array(slates)
    places = (
        np.ones(len(n), np.int64)
        if slates is None
        else np.array([slates[: i + 1].count(s) for i, s in enumerate(slates)])
    )
    return Rounds(
        people=pages, slates=pages, positions=places, actions=n * 0, rewards=np.array(rewards, float),
        logged=np.array(logged), placed=np.array(logged), action_ids=["a"],
    )  # fmt: skip


def target(chosen: list[float], **model: list[float]) -> Target:
    made = {name: np.array(values) for name, values in model.items()}
    return Target(chosen=np.array(chosen), placed=np.array(chosen), **made)


def values(log: Rounds, policy: Target, clip: float = 1.5) -> dict[str, float]:
    return {name: point(terms, len(log)) for name, terms in choice_estimators(log, policy, clip).items()}


def test_the_worked_example_of_choices() -> None:
    found = values(rounds([1, 0], [0.25, 0.5]), target([0.5, 0.5], direct=[0.4, 0.4], predicted=[0.6, 0.2]))
    assert found == pytest.approx({
        "ips": 1.0,  # (2 * 1 + 1 * 0) / 2
        "snips": 2 / 3,
        "clipped": 0.75,  # 1.5 * 1 / 2
        "direct": 0.4,
        "doubly-robust": 0.4 + (2 * 0.4 - 1 * 0.2) / 2,
        "switch": 0.4 + (0 - 1 * 0.2) / 2,  # 2 is above the clip
    })  # fmt: skip


def test_the_worked_example_of_pages() -> None:
    log = rounds([1, 1, 0, 1], [0.5, 0.5, 0.5, 1.0], slates=[0, 0, 1, 1])
    found = page_estimators(log, target([1.0, 0.25, 0.5, 0.5]))
    assert {name: point(terms, 2) for name, terms in found.items()} == pytest.approx({
        "page-ips": (1 + 1 + 0 + 0.5) / 2,  # whole pages weigh 2 * 0.5 and 1 * 0.5
        "page-ips-normalised": 2 * (1 + 1 + 0.5) / 3,
        "independent": (2 + 0.5 + 0 + 0.5) / 2,
        "independent-normalised": 2 / 3 + 1.0,
        "interaction": (2 + 1 + 0 + 0.5) / 2,
        "interaction-normalised": 2 / 3 + 1.0,
    })  # fmt: skip


def test_products_and_sums_run_within_a_page() -> None:
    log = rounds([1, 2, 4, 8], [1, 1, 1, 1], slates=[0, 0, 1, 1])
    assert cumulative(np.array([2.0, 3.0, 5.0, 7.0]), log.slates).tolist() == [2, 6, 5, 35]
    assert rewards_to_come(log).tolist() == [3, 2, 12, 8]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 1)), min_size=2, max_size=30))
def test_a_policy_judged_on_its_own_log_gains_what_it_gained(choices: list[tuple[float, float]]) -> None:
    rewards, logged = map(list, zip(*choices, strict=True))
    mean = [float(np.mean(rewards))] * len(rewards)
    found = values(rounds(rewards, logged), target(logged, direct=mean, predicted=mean))
    assert found == pytest.approx(dict.fromkeys(found, mean[0]), abs=1e-12)


def test_weights_far_from_even_are_refused_and_so_is_a_deep_clip() -> None:
    log = rounds([1.0] * 400, [0.001] + [1.0] * 399)
    found = {v.estimator: v for v in estimate_values(log, target([1.0] + [0.1] * 399), n_resamples=100)}
    assert found["ips"].value is None and "expected at least 1%" in str(found["ips"].refused)
    assert "cuts off 95% of the weight" in str(found["clipped"].refused)  # 990 of 1,039.9


def test_diagnostics_say_what_part_of_the_policy_was_possible() -> None:
    d = diagnose(rounds([1, 0, 1, 0] * 100, [0.5] * 400), target([0.5, 0.5, 0.0, 0.0] * 100), 10.0)
    assert (d.mean_weight, d.matched_share, d.effective_size) == (0.5, 0.5, 200.0)
    assert d.outside_support == pytest.approx(0.5 - 1.96 * 0.5 / 20)  # half, less what chance may have done
    assert d.certain_share == 0 and d.propensity_quantiles["median"] == 0.5


def test_people_are_resampled_with_all_that_they_did() -> None:
    """Ten copies of a person tell no more than one of them: the interval stays as wide."""
    rng = np.random.default_rng(0)
    rewards = rng.integers(0, 2, 200).astype(float)
    one = rounds(rewards.tolist(), [1.0] * 200)
    ten = Rounds(
        people=np.repeat(np.arange(200), 10), slates=np.arange(2000), positions=np.ones(2000, np.int64),
        actions=np.zeros(2000, np.int64), rewards=np.repeat(rewards, 10), logged=np.ones(2000), placed=np.ones(2000),
        action_ids=["a"],
    )  # fmt: skip
    first, second = (estimate_values(log, target([1.0] * len(log)))[0] for log in (one, ten))
    assert (first.low, first.high) == pytest.approx((second.low, second.high))


def test_nobody_is_predicted_from_their_own_rewards() -> None:
    """Every person alone has an action; what the model expects of it is what it expects of any unknown action."""
    n = np.arange(50)
    log = Rounds(
        people=n, slates=n, positions=np.ones(50, np.int64), actions=n, rewards=(n < 25).astype(float),
        logged=np.ones(50), placed=np.ones(50), action_ids=[str(i) for i in n],
    )  # fmt: skip
    nothing = Choices(situation_of=n, situations=n, actions=np.full(50, -1), probabilities=np.ones(50))
    direct, predicted = expected_rewards(log, nothing, log.rewards)
    assert predicted.tolist() == pytest.approx(direct.tolist())


def test_a_place_where_the_policy_chooses_nothing_of_the_log_refuses_what_divides_by_it() -> None:
    """Of 40 pages with two places the policy has the first place alone: the second one has no weight."""
    log = rounds([1.0, 0.0] * 40, [0.5] * 80, slates=[page for page in range(40) for _ in range(2)])
    found = {v.estimator: v for v in estimate_values(log, target([0.5, 0.0] * 40), n_resamples=50)}
    for name in ("independent-normalised", "interaction-normalised"):
        assert found[name].value is None and "nothing that was logged there" in (found[name].refused or "")
    assert found["independent"].refused is None and found["independent"].low is not None


def test_an_interval_some_of_whose_draws_have_no_value_is_none() -> None:
    """One of ten people has all the weight: a draw without them has no mean."""
    log = rounds([1.0] * 10, [0.5] * 10)
    [snips] = [v for v in estimate_values(log, target([0.5] + [0.0] * 9), n_resamples=50) if v.estimator == "snips"]
    assert snips.value == 1.0 and (snips.low, snips.high) == (None, None)
