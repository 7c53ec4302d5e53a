"""
Off-policy estimators against the Open Bandit Pipeline, and against a truth that is known.

`obp.json` holds the values of obp 0.5.7 on the same arrays, written by `benchmarks/obp/values.py` in an environment of
its own.
"""

import json
from pathlib import Path

import ope
import ope_logs
import ope_truth
import pytest

ROOT = Path(__file__).resolve().parents[2]
FROZEN = json.loads((Path(__file__).parent / "obp.json").read_text("utf-8"))
SAMPLE = ROOT.parent / "shared" / "data" / "obd-sample"


def test_estimators_of_choices_equal_those_of_obp_to_all_digits() -> None:
    assert ope.of_choices(ope_logs.made_choices()) == pytest.approx(FROZEN["made choices"], rel=1e-12, abs=0)


def test_estimators_of_pages_equal_those_of_obp_to_all_digits() -> None:
    assert ope.of_pages(ope_logs.made_pages()) == pytest.approx(FROZEN["made pages"], rel=1e-12, abs=0)


@pytest.mark.data
@pytest.mark.parametrize("campaign", ["all", "men", "women"])
@pytest.mark.parametrize(("log", "judged"), [("random", "bts"), ("bts", "random")])
def test_the_open_bandit_sample_gives_the_values_of_obp(log: str, judged: str, campaign: str) -> None:
    if not SAMPLE.is_dir():
        pytest.skip(f"there is no {SAMPLE}: the evaluation data is not beside the repository")
    found = ope.of_choices(ope_logs.open_bandit(SAMPLE, log, judged, campaign))
    assert found == pytest.approx(FROZEN[f"{log} judges {judged}, {campaign}"], rel=1e-12, abs=0)


def test_the_clip_matters_in_the_log_that_is_made() -> None:
    made = FROZEN["made choices"]
    assert made["clipped"] != made["ips"] and made["switch"] != made["doubly-robust"]


UNBIASED = {
    "choices": ("ips", "snips", "doubly-robust"),
    "pages": ("page-ips", "page-ips-normalised", "interaction", "interaction-normalised", "cascade-dr"),
    "places": ("ips", "snips", "independent", "independent-normalised"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(UNBIASED))
def test_unclipped_estimators_have_no_bias_and_their_intervals_hold_the_truth(name: str) -> None:
    lines = {line.estimator: line for line in ope_truth.lines(name, 200)}
    for estimator in UNBIASED[name]:
        line = lines[estimator]
        assert abs(line.bias) < 3.5 * line.bias_error, line
        assert 0.90 <= line.coverage <= 0.99, line  # of 200 runs, 95 % within three errors


@pytest.mark.slow
def test_what_an_estimator_assumes_wrongly_or_cuts_off_is_bias() -> None:
    choices = {line.estimator: line for line in ope_truth.lines("choices", 30)}
    assert choices["clipped"].bias < -3.5 * choices["clipped"].bias_error
    pages = {line.estimator: line for line in ope_truth.lines("pages", 60)}
    assert pages["independent"].bias > 3.5 * pages["independent"].bias_error  # the item above matters there
