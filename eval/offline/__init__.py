"""
Offline evaluation: an artifact on the events that it did not learn from, with confidence intervals over people.

`evaluate` does all of it. Its steps are `hold_out`, `sample`, and the functions of the modules `replay`, `reliability`
and `measure`, which share their names. `resample`, `estimate` and `difference` give intervals.
"""

from eval.offline.holdout import HeldOutUser, Holdout, hold_out, sample
from eval.offline.intervals import Difference, Estimate, Resamples, difference, estimate, resample
from eval.offline.measure import Report, per_person
from eval.offline.reliability import Reliability
from eval.offline.replay import RANKINGS, ReplayResult
from eval.offline.run import EvalParams, evaluate

__all__ = [
    "RANKINGS",
    "Difference",
    "Estimate",
    "EvalParams",
    "HeldOutUser",
    "Holdout",
    "Reliability",
    "ReplayResult",
    "Report",
    "Resamples",
    "difference",
    "estimate",
    "evaluate",
    "hold_out",
    "per_person",
    "resample",
    "sample",
]
