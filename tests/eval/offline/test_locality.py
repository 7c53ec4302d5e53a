"""What a report says about locality: worked by hand where it is arithmetic, laws on a small world where it is not."""

from itertools import pairwise

import numpy as np
import pytest

from eval.offline.locality import (
    DEFINITIONS,
    FLOORS,
    PRICED,
    LocalityReport,
    Seen,
    _attention,
    _audit,
    _definition,
    _divergence,
)
from eval.offline.replay import RANKINGS
from eval.offline.run import EvalParams, evaluate
from eval.report.page_locality import definition_rows, price_plot, price_rows, sentences, spread_rows


@pytest.fixture(scope="module")
def report(small) -> LocalityReport:  # type: ignore[no-untyped-def]  # the fixture of this folder
    return evaluate(small.folder, small.data, small.policy, EvalParams(n_people=40))[0].locality


def person(slots: list[bool], liked: float, offered: float, *, wanted: int = 0, countries: object = None) -> Seen:
    mask = np.array(slots, np.bool_)
    of = {"engine": mask}
    counts = {"engine": np.array([3.0, 1.0]), "liked": np.array([1.0, 1.0])} if countries is None else countries
    return Seen(
        liked=dict.fromkeys(DEFINITIONS, liked), offered=dict.fromkeys(DEFINITIONS, offered),
        slots=dict.fromkeys(DEFINITIONS, of), unknown=of, priced={}, countries=counts,  # type: ignore[arg-type]
        wanted_local=wanted, is_proven=mask,
    )  # fmt: skip


def test_attention_counts_early_slots_more() -> None:
    """Weights 1, 1 / log2(3), 1 / 2: of two local slots out of three, first and last, (1 + .5) / (1.5 + .63093)."""
    assert _attention(np.array([True, False, True])) == pytest.approx(1.5 / (1.5 + 1 / np.log2(3)))
    assert _attention(np.array([True, True])) == 1.0
    assert np.isnan(_attention(np.array([], np.bool_)))


def test_a_definition_compares_with_own_history_and_with_supply() -> None:
    seen = [person([True, False], liked=0.2, offered=0.4), person([False, False], liked=0.4, offered=0.6)]
    found = _definition("near", seen, ["engine"]).rankings["engine"]
    assert found.share == pytest.approx(0.25)
    assert found.bias == pytest.approx((0.3 - 0.4) / 2)
    assert found.visibility == pytest.approx((0.1 - 0.6) / 2)
    first = 1 / (1 + 1 / np.log2(3))  # of attention, in the first page
    assert found.exposure == pytest.approx(((first - 0.4) + (0 - 0.6)) / 2)
    assert found.exposure_ratio == pytest.approx((first / 2) / 0.5)


def test_whoever_liked_nothing_says_nothing_about_bias() -> None:
    seen = [person([True], liked=float("nan"), offered=0.5), person([True], liked=0.4, offered=0.5)]
    assert _definition("proven", seen, ["engine"]).rankings["engine"].bias == pytest.approx(0.6)


def test_countries_of_a_page_are_compared_with_those_of_what_was_liked() -> None:
    apart = _divergence([person([True], 0.0, 0.0)], "engine")  # (.75, .25) and (.5, .5); m = (.625, .375)
    assert apart == pytest.approx([0.954434 - (0.811278 + 1.0) / 2], abs=1e-6)


def test_the_audit_counts_complete_runs_and_leaves_short_pages_out() -> None:
    found = _audit([
        person([True] * 6 + [False] * 14, 0, 0, wanted=6),
        person([True] * 5 + [False] * 15, 0, 0, wanted=6),
        person([False] * 19, 0, 0, wanted=6),  # no complete run, a long page all the same
        person([False] * 3, 0, 0, wanted=6),
    ])  # fmt: skip
    assert (found.runs, found.below_supply, found.pages, found.prefix_failures) == (2, 1, 3, 1)


def test_a_floor_never_makes_pages_less_local_and_costs_nothing_at_zero(report: LocalityReport) -> None:
    for ranking in PRICED:
        points = [point for point in report.price if point.ranking == ranking]
        assert [point.floor for point in points] == list(FLOORS)
        assert points[0].loss == 0.0
        shares = [point.local_share or 0.0 for point in points]
        assert all(after >= before - 1e-9 for before, after in pairwise(shares))


def test_every_complete_page_of_the_engine_holds_the_floor_that_supply_allows(report: LocalityReport) -> None:
    assert report.audit.runs > 0 and report.audit.below_supply == 0


def test_what_is_proven_is_near_and_locality_in_the_score_shows(report: LocalityReport) -> None:
    proven, near, _ = report.definitions
    for ranking in RANKINGS:
        assert (proven.rankings[ranking].share or 0) <= (near.rankings[ranking].share or 0) + 1e-9
    assert (near.rankings["score"].share or 0) > (near.rankings["no_local"].share or 0)


def test_the_page_shows_every_number_and_nothing_but_text_and_marks(report: LocalityReport) -> None:
    plot = price_plot(report, 20)
    assert plot.count("<circle") == len(PRICED) * len(FLOORS) and "<script" not in plot and "href" not in plot
    assert len(price_rows(report)) == len(FLOORS)
    assert len(definition_rows(report)) == len(DEFINITIONS) * len(RANKINGS)
    assert len(spread_rows(report)) == len(RANKINGS)
    assert "complete runs of 20" in sentences(report)
