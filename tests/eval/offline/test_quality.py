"""Further metrics, parts of the people and base models of a report, against what they are made of."""

import doctest
from dataclasses import replace

import numpy as np
import pytest

from eval.offline import intervals
from eval.offline import replay as replaying
from eval.offline.base_models import chosen_models
from eval.offline.holdout import HeldOutImpressions, hold_out
from eval.offline.intervals import holm, paired_p
from eval.offline.measure import Report
from eval.offline.quality import accuracy_values, item_counts, variety_values
from eval.offline.replay import RANKINGS, ReplayResult, replay
from eval.offline.run import EvalParams, evaluate
from recsys import metrics
from recsys.errors import ConfigError
from recsys.metrics import EMPTY


@pytest.fixture(scope="module")
def replayed(small) -> ReplayResult:
    return replay(small.artifact, small.market, hold_out(small.artifact, small.data).people, k=20)


@pytest.fixture(scope="module")
def report(small) -> Report:
    return evaluate(small.folder, small.data, small.policy, EvalParams(ks=(1, 5, 99)))[0]


def test_pages_planned_in_two_processes_are_those_of_one(small, replayed: ReplayResult, monkeypatch) -> None:
    monkeypatch.setattr(replaying, "_PEOPLE_PER_CHUNK", 4)
    again = replay(small.artifact, small.market, replayed.people, k=20)
    for name in RANKINGS:
        assert np.array_equal(again.pages[name], replayed.pages[name])
        assert np.array_equal(again.watch[name], replayed.watch[name], equal_nan=True)
    assert np.array_equal(again.n_eligible, replayed.n_eligible)
    assert (again.missing, again.notices) == (replayed.missing, replayed.notices)


def test_a_cut_off_above_the_page_is_left_out(report: Report) -> None:
    assert report.ks == [1, 5, 20]
    for name in RANKINGS:
        assert report.accuracy["ndcg@20"][name].mean == report.values["ndcg"][name].mean
        assert report.accuracy["recall@1"][name].mean <= report.accuracy["recall@5"][name].mean


def test_equal_propensities_weigh_nothing(replayed: ReplayResult) -> None:
    """Where everything was shown with one propensity, the weighted metric is the plain one over what was shown."""

    def with_half(person):
        rows = np.union1d(person.relevant, person.impressions.rows).astype(np.int32)
        half = np.full(len(rows), 0.5, np.float32)
        return replace(person, impressions=HeldOutImpressions(rows=rows, response=half, propensity=half))

    equal = replace(replayed, people=tuple(map(with_half, replayed.people)))
    values = accuracy_values(equal, equal.pages, equal.n_relevant, (5, 20))
    for plain in ("recall@5", "ndcg@20"):
        for name in RANKINGS:
            assert values[f"weighted_{plain}"][name] == pytest.approx(values[plain][name], nan_ok=True)


def test_popular_pages_are_the_least_new(replayed: ReplayResult, small) -> None:
    values = variety_values(replayed, small.artifact, replayed.pages)
    novelty, popularity = values["novelty"], values["popularity"]
    assert metrics.mean(novelty["popularity"]) < metrics.mean(novelty["score"])
    assert metrics.mean(popularity["popularity"]) > metrics.mean(popularity["score"])
    assert metrics.mean(values["overlap"]["popularity"]) > metrics.mean(values["overlap"]["score"])
    counts = item_counts(replayed, small.artifact)
    page = replayed.pages["score"][0]
    assert popularity["score"][0] == pytest.approx(counts[page[page != EMPTY]].mean())


def test_every_base_model_has_a_row_on_the_same_videos(report: Report, replayed: ReplayResult, small) -> None:
    assert report.base_models[0].name == "score"
    assert {row.name for row in report.base_models} == {"score", *small.artifact.blend.base_models}
    for name, pages in replayed.model_pages.items():
        assert np.all(replayed.n_eligible[pages[pages != EMPTY]] > 0), name
    for row in report.base_models[1:]:
        assert row.difference is not None
        assert row.difference.p_holm is None or row.difference.p_holm >= row.difference.p


def test_models_are_chosen_by_name_and_an_unknown_one_names_the_others(small) -> None:
    name = next(iter(small.artifact.blend.base_models))
    assert list(chosen_models(small.artifact, (name, name))) == [name]
    with pytest.raises(ConfigError, match=f"found the model 'psychic', expected one of the artifact's: .*{name}"):
        chosen_models(small.artifact, ("psychic",))


def test_parts_of_the_people_add_up(report: Report) -> None:
    kinds = {segment.kind for segment in report.segments}
    assert kinds >= {"market", "region", "language", "age_band", "history"}
    for kind in kinds:
        assert sum(segment.n_people for segment in report.segments if segment.kind == kind) <= report.n_people
    assert all(segment.n_people >= 5 for segment in report.segments)


def test_creators_of_all_sizes_share_all_attention(report: Report) -> None:
    for ranking in RANKINGS:
        assert sum(size.exposure[ranking] for size in report.creator_sizes) == pytest.approx(1)
    assert sum(size.eligible_share for size in report.creator_sizes) == pytest.approx(1)


def test_empty_slots_are_counted_and_their_reasons_summed(report: Report, replayed: ReplayResult) -> None:
    assert report.n_empty_slots == int((replayed.pages["engine"] == EMPTY).sum())
    for reason, total in report.kept_back_in_all.items():
        assert total == sum(reasons.get(reason, 0) for reasons in replayed.missing)


def test_holm_by_hand() -> None:
    assert doctest.testmod(intervals).failed == 0
    assert holm([0.04, 0.01, 0.5]) == pytest.approx([0.08, 0.03, 0.5])  # 2 * .04, 3 * .01, 1 * .5
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_paired_t_test_by_hand() -> None:
    gaps = np.array([1.0, 2.0, 3.0, np.nan])  # mean 2, deviation 1, t = 2 sqrt(3) on 2 degrees of freedom
    t = 2 * np.sqrt(3)
    assert paired_p(gaps) == pytest.approx(1 - t / np.sqrt(t * t + 2))  # the distribution on 2 degrees, closed form
    assert paired_p(np.array([1.0, np.nan])) is None
    assert paired_p(np.zeros(4)) == 1.0
    assert paired_p(np.ones(4)) == 0.0
