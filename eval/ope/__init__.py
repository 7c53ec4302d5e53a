"""
Off-policy evaluation: what a policy would have gained, from the log of another one that recorded its propensities.

`evaluate_policy` does all of it. `choice_estimators` and `page_estimators` are the estimators on arrays; `diagnose`
says how far a log can tell.
"""

from eval.ope.diagnostics import Diagnostics, diagnose
from eval.ope.estimators import Terms, choice_estimators, page_estimators, point
from eval.ope.report import OpeReport, Value, estimate_values
from eval.ope.rounds import Choices, Rounds, Target
from eval.ope.run import OpeParams, evaluate_policy

__all__ = [
    "Choices",
    "Diagnostics",
    "OpeParams",
    "OpeReport",
    "Rounds",
    "Target",
    "Terms",
    "Value",
    "choice_estimators",
    "diagnose",
    "estimate_values",
    "evaluate_policy",
    "page_estimators",
    "point",
]
