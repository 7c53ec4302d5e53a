"""The locality weight: fitted to choices, by market, within its bounds, the same for the same data."""

import numpy as np
import pytest
from scipy import sparse

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.clock import from_text
from recsys.data.tables import write_dataset
from recsys.models.artifact import load_artifact
from recsys.models.ials import IALSParams
from recsys.policy.weights import DEFAULT_LOCALITY_WEIGHT, score_spread
from training.models.locality_weight import MAX_WEIGHT, MIN_USERS, fit_locality_weights
from training.models.settings import BlendParams
from training.params import TrainParams
from training.train import run

SMALL = BlendParams(ials=IALSParams(embedding_size=8))


def world(local_appetite: float, seed: int = 0, n_users: int = 300, n_items: int = 80):
    """People of MA and FR; each likes items of the own country `local_appetite` times as often as others."""
    rng = np.random.default_rng(seed)
    homes = ["MA" if n % 3 else "FR" for n in range(n_users)]
    made = [(None, "MA", "FR", "FR")[n % 4] for n in range(n_items)]
    taste = rng.normal(size=(n_users, 4)) @ rng.normal(size=(4, n_items))
    is_local = np.array([[home == place for place in made] for home in homes])
    chances = np.exp(taste) * np.where(is_local, local_appetite, 1.0)
    rows = np.repeat(np.arange(n_users), 12)
    liked = np.concatenate([rng.choice(n_items, 12, replace=False, p=row / row.sum()) for row in chances])
    return sparse.csr_matrix((np.ones(len(rows)), (rows, liked)), shape=(n_users, n_items)), homes, made


def test_users_who_choose_locally_get_a_larger_weight_than_those_who_do_not():
    found = {}
    for appetite in (0.2, 6.0):
        found[appetite] = fit_locality_weights(*world(appetite), ("MA",), np.random.default_rng(1))["MA"]
    assert 0.0 <= found[0.2] < found[6.0] <= MAX_WEIGHT


def test_the_same_choices_give_the_same_weight():
    first, second = (fit_locality_weights(*world(3.0), ("MA", "FR"), np.random.default_rng(1)) for _ in range(2))
    assert first == second and set(first) == {"MA", "FR"}


@pytest.mark.parametrize("market", ["EG", "XX"])
def test_a_market_without_data_has_no_weight(market):
    assert fit_locality_weights(*world(3.0), (market,), np.random.default_rng(1)) == {}
    few = world(3.0, n_users=MIN_USERS)
    assert fit_locality_weights(*few, ("MA",), np.random.default_rng(1)) == {}


def test_a_catalogue_of_unknown_places_has_no_weight():
    positives, homes, made = world(3.0)
    assert fit_locality_weights(positives, homes, [None] * len(made), ("MA",), np.random.default_rng(1)) == {}


def test_the_weight_is_in_standard_deviations_of_the_users_scores(morocco):
    """Of cf, content and popular at 1.0, 0.6 and 0.3: the root of 1 + .36 + .09; of a stranger only popularity."""
    weights = {"cf": 1.0, "content": 0.6, "popular": 0.3, "local": 9.0}
    assert score_spread(weights, has_history=True) == pytest.approx(1.45**0.5)
    assert score_spread(weights, has_history=False) == pytest.approx(0.3)


def test_serving_takes_the_markets_weight_then_the_tuned_one_then_the_default(make_service, tiny, morocco, evening):
    from dataclasses import replace

    def local_of(market, tuned):
        service = make_service(market=market)
        model = replace(service.engine.resources.model, locality_weight=tuned)
        service = service.broken(resources=replace(service.engine.resources, model=model))
        service.ask("nobody", at=evening)
        return service.decisions("nobody")[0].weights["local"] / 0.3  # a stranger's spread

    silent = replace(morocco, weights={k: v for k, v in morocco.weights.items() if k != "local"})
    assert local_of(morocco, {"MA": 0.4}) == pytest.approx(morocco.weights["local"])
    assert local_of(silent, {"MA": 0.4}) == pytest.approx(0.4)
    assert local_of(silent, {"FR": 0.4}) == pytest.approx(DEFAULT_LOCALITY_WEIGHT)


def test_training_writes_the_weight_into_the_manifest(tmp_path):
    made = generate(WorldParams(n_items=300, n_users=250, n_events=15_000))
    tables = {"creators": made.creators, "items": made.items, "users": made.users, "events": made.events}
    write_dataset(tmp_path / "data", **tables)
    params = TrainParams(encoder=None, holdout_days=0, ranker=None, blend=SMALL)
    run(tmp_path / "data", tmp_path / "artifact", params, from_text("2026-11-20T18:30:00Z"))
    weight = load_artifact(tmp_path / "artifact").manifest.locality_weight
    assert set(weight) == {"MA"} and 0 <= weight["MA"] <= MAX_WEIGHT
