"""The blend of a dataset: validated by later events, kept only where it helps, and the same as an artifact serves."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from threadpoolctl import threadpool_limits

from recsys.clock import DAY, Millis, from_text
from recsys.data.tables import Dataset, read_dataset, write_dataset
from recsys.models import popularity
from recsys.models.artifact import load_artifact
from recsys.models.blend import Blend
from recsys.models.interactions import UserInteractions
from recsys.models.loaded import build_models
from recsys.models.popularity import PopularityParams
from recsys.progress import quiet
from recsys.types import Csr, Floats, Rows
from training.interactions import build_interactions, market_names, select_users, user_interactions
from training.models import recipe
from training.models.blend import FittedBlend, fit_blend
from training.models.folds import (
    MAX_FOLDS,
    drop_exposed,
    exposed_before,
    find_split,
    relevant_since,
    rolling_folds,
    sample_users,
)
from training.models.reranker import NO_RERANKER, RerankerTable, build_reranker_table
from training.models.settings import FACTORS, BlendParams
from training.params import TrainParams
from training.train import run

NOW: Millis = from_text("2026-11-20T00:00:00Z")
N_ITEMS, N_USERS, N_DAYS = 60, 150, 20


def write(folder: Path, *, camps: int, seed: int = 0) -> Dataset:
    """On each of 20 days everyone likes one item: of their camp, or, with one camp, by a popularity that all share."""
    random = np.random.default_rng(seed)
    chance = 1 / np.arange(1, N_ITEMS // camps + 1) ** (2 if camps == 1 else 0.3)
    ids = [f"v{i:02}" for i in range(N_ITEMS)]
    write_dataset(
        folder,
        creators=pl.DataFrame({"creator_id": ["c"], "country": ["MA"]}),
        items=pl.DataFrame({"item_id": ids, "creator_id": "c", "title": ids, "risk_tier": "R0"}).with_columns(
            published_at=pl.lit(NOW - 60 * DAY)
        ),
        users=pl.DataFrame({"user_id": [f"u{u:03}" for u in range(N_USERS)], "country": ["MA", "FR"] * (N_USERS // 2)}),
        events=pl.DataFrame(
            [
                {
                    "event_id": f"e{day}-{u}", "user_id": f"u{u:03}", "kind": "like",
                    "at": NOW - (N_DAYS - day) * DAY + u,
                    "item_id": ids[camps * random.choice(len(chance), p=chance / chance.sum()) + u % camps],
                }
                for day in range(N_DAYS)
                for u in range(N_USERS)
            ]
        ),
    )  # fmt: skip
    return read_dataset(folder)


def fitted(data: Dataset) -> FittedBlend:
    seen = build_interactions(data)
    popular = popularity.fit(seen.market_positives, market_names(seen), PopularityParams())
    with threadpool_limits(1, user_api="blas"):  # as training does
        return fit_blend(data, seen, popular, PopularityParams(), BlendParams(), None, 0, quiet)


def test_where_users_differ_the_blend_is_above_popularity(tmp_path: Path) -> None:
    made = fitted(write(tmp_path, camps=3))
    assert made.weights.ndcg_cross_validated > 1.5 * made.weights.ndcg_by_model["popularity"]
    assert set(made.blend.base_models) == {*made.blend.weights}
    assert all(weight > 0 for weight in made.blend.weights.values())


def test_where_all_are_alike_the_blend_is_not_below_popularity(tmp_path: Path) -> None:
    made = fitted(write(tmp_path, camps=1))
    assert (
        made.weights.ndcg_in_sample
        >= max(made.weights.ndcg_by_model.values())
        >= made.weights.ndcg_by_model["popularity"]
    )


@pytest.mark.parametrize(("least", "is_built"), [(N_USERS, True), (N_USERS + 1, False)])
def test_the_table_of_a_re_ranker_is_not_built_for_fewer_users_than_prove_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, is_built: bool
) -> None:
    built: list[RerankerTable] = []

    def build(models: Blend, item_use: Floats, users: UserInteractions, numbers: Rows, relevant: Csr) -> RerankerTable:
        built.append(build_reranker_table(models, item_use, users, numbers, relevant))
        return built[-1]

    monkeypatch.setattr(recipe, "build_reranker_table", build)
    monkeypatch.setattr(recipe, "MIN_USERS", least)
    made = fitted(write(tmp_path, camps=3))
    assert bool(built) == is_built
    assert is_built or made.reranker is NO_RERANKER


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_fold_is_the_last_share_of_the_events(tmp_path: Path, share: float) -> None:
    data = write(tmp_path, camps=3)
    since = find_split(data, share, None)
    assert since is not None
    at = data.events.select("at").collect()["at"]
    assert (at >= since).mean() == pytest.approx(share, abs=0.01)
    before = NOW - 5 * DAY
    assert find_split(data, share, before) < before  # what is held out is not looked at


def test_relevant_is_what_users_interacted_with_and_had_not_met(tmp_path: Path) -> None:
    data = write(tmp_path, camps=3)
    seen = build_interactions(data)
    found = list(rolling_folds(data, seen, PopularityParams(), None, share=0.1, n_users=10_000, seed=0))
    assert len(found) == MAX_FOLDS  # 150 people are few
    for fold in found:
        met = fold.users.exposed
        assert fold.relevant.nnz and fold.relevant.multiply(met).nnz == 0
        assert np.array_equal(met.toarray() > 0, fold.earlier.positives[fold.rows].toarray() > 0)  # likes are all
        later = seen.positives[fold.numbers].toarray() > 0
        assert np.all(later[fold.relevant.toarray() > 0])
    few = list(rolling_folds(data, seen, PopularityParams(), None, share=0.1, n_users=10, seed=0))
    assert sum(len(fold.rows) for fold in few) <= 10


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_folds_end_where_the_events_begin(tmp_path: Path, share: float) -> None:
    data = write(tmp_path, camps=3)
    found = list(
        rolling_folds(data, build_interactions(data), PopularityParams(), None, share=share, n_users=10_000, seed=0)
    )
    assert 1 <= len(found) < MAX_FOLDS


def test_an_impression_is_exposure_and_half_a_watch_is_not_relevant(tmp_path: Path) -> None:
    data = write(tmp_path, camps=3)
    events = data.events.collect()
    last = NOW - DAY
    ids = {kind: events.row(0, named=True) | {"event_id": kind, "user_id": "u000", "at": last, "kind": kind} for kind in
           ("impression", "view", "complete")}  # fmt: skip
    ids["impression"] |= {"at": last - 10 * DAY, "item_id": "v58"}
    ids["view"] |= {"item_id": "v57", "watch_fraction": 0.5}
    ids["complete"] |= {"item_id": "v58"}
    more = pl.DataFrame(list(ids.values()), {**events.schema, "watch_fraction": pl.Float64}, strict=False)
    both = pl.concat([events, more], how="diagonal")
    write_dataset(tmp_path, events=both)
    data = read_dataset(tmp_path)
    seen = build_interactions(data)
    relevant = relevant_since(seen, last - DAY)[0].toarray()[0]
    row = {item_id: row for row, item_id in enumerate(seen.item_ids)}
    assert relevant[row["v58"]] == 1 and relevant[row["v57"]] == 0
    met = exposed_before(data, seen, np.array([0]), last - DAY)
    assert met[0, row["v58"]] == 1 and met[0, row["v57"]] == 0
    assert drop_exposed(relevant_since(seen, last - DAY)[[0]], met)[0, row["v58"]] == 0


def test_sampled_users_are_what_they_were_among_all(tmp_path: Path) -> None:
    seen = build_interactions(write(tmp_path, camps=3))
    rows = sample_users(seen.positives, seen.positives.nnz // 2, 0)
    assert 0 < len(rows) < N_USERS and seen.positives[rows].nnz <= seen.positives.nnz // 2
    assert len(sample_users(seen.positives, seen.positives.nnz, 0)) == N_USERS
    some = select_users(seen, rows)
    for at, row in enumerate(rows):
        assert some.user_ids[at] == seen.user_ids[row] and some.user_markets[at] == seen.user_markets[row]
        assert np.array_equal(some.histories.of(at).items, seen.histories.of(row).items)
        assert np.array_equal(some.positives[[at]].toarray(), seen.positives[[row]].toarray())


def test_an_artifact_serves_the_blend_that_was_fitted_by_market(tmp_path: Path) -> None:
    data = write(tmp_path / "data", camps=3)
    run(tmp_path / "data", tmp_path / "model", TrainParams(encoder=None, ranker=None, holdout_days=0), NOW)
    model = build_models(load_artifact(tmp_path / "model"))
    made, seen = fitted(data), build_interactions(data)
    assert model.blend.weights == made.blend.weights
    assert np.array_equal(model.spaces["cf"].space.item_vectors, made.factors.item_vectors)
    everybody = made.blend.scores(user_interactions(seen, model.popularity.markets))
    for row in (0, 1):  # one of each market
        country = ("MA", "FR")[row]
        found = model.blend_scores(seen.histories.of(row), country)
        known = np.isfinite(found)
        expected = everybody[row, known]
        assert_allclose(found[known], (expected - expected.mean()) / expected.std(), rtol=1e-3, atol=1e-3)


def test_without_events_there_is_popularity_and_the_factors_know_nothing(tmp_path: Path) -> None:
    write(tmp_path, camps=1)
    write_dataset(tmp_path, events=pl.read_parquet(tmp_path / "events.parquet").clear())
    made = fitted(read_dataset(tmp_path))
    assert made.blend.weights == {"popularity": 1.0}
    assert FACTORS not in made.blend.base_models and not np.any(made.factors.item_vectors)
