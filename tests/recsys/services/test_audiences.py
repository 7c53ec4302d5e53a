"""An experiment's audience is counted as the service would assign it, and an empty one is a problem."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.clock import from_datetime
from recsys.experiments.assignment import assign
from recsys.experiments.files import load_experiments
from recsys.experiments.payload import Experiments
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from recsys.services.audiences import count_audiences
from recsys.types import Fields

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def market() -> Market:
    return load_market(ROOT / "policies" / "morocco.yaml")


@pytest.fixture(scope="module")
def example(market: Market) -> Experiments:
    return load_experiments(ROOT / "experiments", market)


def person(number: int, **values: object) -> Fields:
    adult: Fields = {"country": "MA", "region": None, "languages": ["fr-FR"], "age_band": "18+"}
    return {"user_id": f"u{number}", "age_source": "verified", **adult, **values}


def people(n: int, **values: object) -> Sequence[Fields]:
    return [person(number, **values) for number in range(n)]


def test_the_counts_are_those_of_a_service_that_runs_it(example: Experiments, market: Market) -> None:
    (count,) = count_audiences(example, people(2_000), market)
    running = replace(example, experiments=tuple(replace(e, status="running") for e in example.experiments))
    at = from_datetime(example.experiments[0].ramp[-1].at)
    calm = {"country": "MA", "language": "fr", "effective_age_band": "18+", "loop_level": 0, "surface": "for_you"}
    drawn = [assign(running, user_id=f"u{n}", attributes=calm, at=at).variants.get(count.key) for n in range(2_000)]
    assert count.n_audience == 2_000
    assert dict(count.variants) == {name: drawn.count(name) for name in ("control", "local-35")}
    assert all(count.variants.values()) and count.problem is None
    assert count.note is not None and "min_users_per_variant is 26,000" in count.note


@pytest.mark.parametrize(
    "values",
    [{"country": "FR"}, {"languages": ["zgh"]}, {"age_source": "none"}, {"age_band": "16-17"}, {"age_band": None}],
    ids=str,
)
def test_who_meets_no_condition_is_not_counted(values: Fields, example: Experiments, market: Market) -> None:
    (count,) = count_audiences(example, [*people(50, **values), *people(3)], market)
    assert (count.n_people, count.n_audience) == (53, 3)


def test_an_audience_or_a_variant_without_anybody_is_a_problem(example: Experiments, market: Market) -> None:
    (nobody,) = count_audiences(example, people(9, country="FR"), market)
    assert nobody.problem is not None and "nobody of 9 people in the audience" in nobody.problem
    (one,) = count_audiences(example, people(1), market)
    assert one.problem is not None and "of 1 people in the audience" in one.problem


def test_a_condition_on_the_surface_is_taken_as_met(example: Experiments, market: Market) -> None:
    searched = replace(example.experiments[0], targeting={"surface": "search"})
    (count,) = count_audiences(replace(example, experiments=(searched,)), people(300), market)
    assert count.n_audience == 300 and all(count.variants.values())
