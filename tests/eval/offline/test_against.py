"""Two artifacts on the same people: an artifact against itself is equal, and another catalogue is refused."""

from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest

from eval.offline.against import COMPARED_METRICS, COMPARED_RANKINGS, compare, people_of
from eval.offline.holdout import HeldOutUser, cutoff_of, hold_out
from eval.offline.intervals import resample
from eval.offline.measure import Report
from eval.offline.run import EvalParams, evaluate
from recsys.clock import DAY, to_text
from recsys.errors import DataError


@pytest.fixture(scope="module")
def report(small) -> Report:
    return evaluate(small.folder, small.data, small.policy, EvalParams(n_people=30), against=small.folder)[0]


def test_an_artifact_is_no_better_than_itself(report: Report) -> None:
    assert report.against is not None
    assert report.against.relevant_known == 1
    for difference in report.against.differences:
        assert (difference.wins, difference.losses) == (0, 0)
        assert difference.p in (None, 1.0) and difference.p_holm in (None, 1.0)
        assert not difference.is_clear
    for metric, of_metric in report.against.values.items():
        for ranking, estimate in of_metric.items():
            assert estimate.mean == report.values[metric][ranking].mean


def test_the_other_does_not_change_the_numbers_of_the_first(report: Report, small) -> None:
    alone = evaluate(small.folder, small.data, small.policy, EvalParams(n_people=30))[0]
    assert alone == msgspec.structs.replace(report, against=None)


def test_people_keep_their_items_in_an_artifact_with_other_rows(small) -> None:
    people = hold_out(small.artifact, small.data).people
    other = replace(small.artifact, items=small.artifact.items.reverse())
    ours, theirs = small.artifact.items["item_id"], other.items["item_id"]
    for before, after in zip(people, people_of(other, small.artifact, people), strict=True):
        assert after.at == before.at
        for name in ("relevant", "exposed", "seen", "liked"):
            rows = getattr(after, name)
            assert rows.tolist() == sorted(rows.tolist())
            assert set(theirs[rows.tolist()]) == set(ours[getattr(before, name).tolist()])
        assert _responses(theirs, after) == _responses(ours, before)


def _responses(item_ids: pl.Series, person: HeldOutUser) -> dict[str, float]:
    shown = person.impressions
    return dict(zip(item_ids[shown.rows.tolist()], shown.response.tolist(), strict=True))


def test_another_catalogue_is_refused(small) -> None:
    people = hold_out(small.artifact, small.data).people
    other = replace(small.artifact, items=small.artifact.items.with_columns(item_id="x" + pl.col("item_id")))
    with pytest.raises(DataError, match="found --against with 0% of the held-out relevant videos"):
        people_of(other, small.artifact, people)


def test_another_cutoff_is_refused(small) -> None:
    earlier = to_text(cutoff_of(small.artifact) - DAY)
    manifest = msgspec.structs.replace(small.artifact.manifest, cutoff=earlier)
    with pytest.raises(DataError, match=r"found --against with the cutoff .* expected that of ARTIFACT"):
        people_of(replace(small.artifact, manifest=manifest), small.artifact, [])


def test_what_is_better_in_a_than_in_b_is_a_gain_of_a() -> None:
    """Ten people with 1 in A and 0 in B: +1 for each metric, ten wins."""
    ones, none = np.ones(10), np.zeros(10)
    ours, theirs = ({m: dict.fromkeys(COMPARED_RANKINGS, v) for m in COMPARED_METRICS} for v in (ones, none))
    found = compare("b", 1.0, ours, theirs, resample(10, np.random.default_rng(0)))
    assert {(d.estimate.mean, d.wins, d.losses) for d in found.differences} == {(1.0, 10, 0)}
    assert {d.first[0] + d.second[0] for d in found.differences} == {"AB"}
    assert {e.mean for of_metric in found.values.values() for e in of_metric.values()} == {0.0}, "those of B"
