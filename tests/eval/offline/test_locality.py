"""The locality part of a report: worked by hand where it is arithmetic, laws on a small world where it is not."""

from itertools import pairwise

import numpy as np
import pytest

from eval.offline.locality import (
    DEFINITIONS,
    FLOOR_RANKINGS,
    FLOORS,
    LocalityReport,
    PersonLocality,
    _attention,
    _audit,
    _divergence,
    _local_definition,
)
from eval.offline.replay import RANKINGS
from eval.offline.run import EvalParams, evaluate
from eval.report.html_locality import (
    audit_sentences,
    concentration_rows,
    definition_rows,
    floor_cost_plot,
    floor_cost_rows,
)


@pytest.fixture(scope="module")
def report(small) -> LocalityReport:
    return evaluate(small.folder, small.data, small.policy, EvalParams(n_people=40))[0].locality


def person(
    slots: list[bool], history: float, eligible: float, *, required: int = 0, countries: object = None
) -> PersonLocality:
    mask = np.array(slots, np.bool_)
    by_ranking = {"engine": mask}
    counts = {"engine": np.array([3.0, 1.0]), "liked": np.array([1.0, 1.0])} if countries is None else countries
    return PersonLocality(
        history_share=dict.fromkeys(DEFINITIONS, history), eligible_share=dict.fromkeys(DEFINITIONS, eligible),
        slots=dict.fromkeys(DEFINITIONS, by_ranking), unknown=by_ranking, floor_pages={}, countries=counts,
        n_local_required=required, is_floor_eligible=mask,
    )  # fmt: skip


def test_attention_counts_early_slots_more() -> None:
    """Weights 1, 1 / log2(3), 1 / 2: of two local slots out of three, first and last, (1 + .5) / (1.5 + .63093)."""
    assert _attention(np.array([True, False, True])) == pytest.approx(1.5 / (1.5 + 1 / np.log2(3)))
    assert _attention(np.array([True, True])) == 1.0
    assert np.isnan(_attention(np.array([], np.bool_)))


def test_a_definition_compares_with_own_history_and_with_supply() -> None:
    people = [
        person([True, False], history=0.2, eligible=0.4),
        person([False, False], history=0.4, eligible=0.6),
    ]
    local = _local_definition("near", people, ["engine"]).rankings["engine"]
    assert local.share == pytest.approx(0.25)
    assert local.bias == pytest.approx((0.3 - 0.4) / 2)
    assert local.visibility == pytest.approx((0.1 - 0.6) / 2)
    first = 1 / (1 + 1 / np.log2(3))  # of attention, in the first page
    assert local.exposure == pytest.approx(((first - 0.4) + (0 - 0.6)) / 2)
    assert local.exposure_ratio == pytest.approx((first / 2) / 0.5)


def test_people_without_a_history_are_left_out_of_the_bias() -> None:
    people = [
        person([True], history=float("nan"), eligible=0.5),
        person([True], history=0.4, eligible=0.5),
    ]
    assert _local_definition("floor_eligible", people, ["engine"]).rankings["engine"].bias == pytest.approx(0.6)


def test_countries_of_a_page_are_compared_with_those_of_what_was_liked() -> None:
    divergence = _divergence([person([True], 0.0, 0.0)], "engine")  # (.75, .25) and (.5, .5); m = (.625, .375)
    assert divergence == pytest.approx([0.954434 - (0.811278 + 1.0) / 2], abs=1e-6)


def test_the_audit_counts_complete_runs_and_leaves_short_pages_out() -> None:
    audit = _audit([
        person([True] * 6 + [False] * 14, 0, 0, required=6),
        person([True] * 5 + [False] * 15, 0, 0, required=6),
        person([False] * 19, 0, 0, required=6),  # no complete run, a long page all the same
        person([False] * 3, 0, 0, required=6),
    ])  # fmt: skip
    assert (audit.runs, audit.below_supply, audit.pages, audit.prefix_failures) == (2, 1, 3, 1)


def test_a_floor_never_makes_pages_less_local_and_costs_nothing_at_zero(report: LocalityReport) -> None:
    for ranking in FLOOR_RANKINGS:
        points = [point for point in report.floor_costs if point.ranking == ranking]
        assert [point.floor for point in points] == list(FLOORS)
        assert points[0].accuracy_cost == 0.0
        shares = [point.local_share or 0.0 for point in points]
        assert all(after >= before - 1e-9 for before, after in pairwise(shares))


def test_every_complete_page_of_the_engine_holds_the_floor_that_supply_allows(report: LocalityReport) -> None:
    assert report.audit.runs > 0 and report.audit.below_supply == 0


def test_floor_eligible_is_near_and_locality_in_the_score_shows(report: LocalityReport) -> None:
    floor_eligible, near, _ = report.definitions
    for ranking in RANKINGS:
        assert (floor_eligible.rankings[ranking].share or 0) <= (near.rankings[ranking].share or 0) + 1e-9
    assert (near.rankings["score"].share or 0) > (near.rankings["no_local"].share or 0)


def test_the_page_shows_every_number_and_nothing_but_text_and_marks(report: LocalityReport) -> None:
    plot = floor_cost_plot(report, 20)
    assert plot.count("<circle") == len(FLOOR_RANKINGS) * len(FLOORS) and "<script" not in plot and "href" not in plot
    assert len(floor_cost_rows(report)) == len(FLOORS)
    assert len(definition_rows(report)) == len(DEFINITIONS) * len(RANKINGS)
    assert len(concentration_rows(report)) == len(RANKINGS)
    assert "complete runs of 20" in audit_sentences(report)
