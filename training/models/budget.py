"""
Budgets of training: which base models are tried, how large they may be, and how much work their settings may take.

    small      the shipped settings as they are: one fit of each
    nightly    also BM25 and BPR; a search of up to 256 factors within 20 times the work of the settings it starts from
    full       the same search with up to 512 factors, without a limit of work

A search climbs the fixed ladder of `training.models.registry`: one setting at a time, factors last, so 64, 128, 256 and
512 are tried in this order for as long as each is better. Work is estimated before a fit (`training.models.cost`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from recsys.errors import ConfigError
from training.models.settings import SHIPPED_MODELS, BlendParams

ALL_MODELS: Final = (*SHIPPED_MODELS, "bm25", "bpr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """
    `models` are tried. A search tries at most `max_factors`, beside the settings that are given; `work` is how many
    times the work of the settings that it starts from it may take, 1 = no search.
    """

    name: str
    models: tuple[str, ...]
    max_factors: int
    work: float

    @property
    def is_search(self) -> bool:
        """Whether other settings are tried than those that are given."""
        return self.work > 1

    def widen(self, params: BlendParams) -> BlendParams:
        """The settings with the models of this budget, where they name the shipped ones."""
        return replace(params, models=self.models) if params.models == SHIPPED_MODELS else params


_ALL: Final = (
    Budget(name="small", models=SHIPPED_MODELS, max_factors=64, work=1.0),
    Budget(name="nightly", models=ALL_MODELS, max_factors=256, work=20.0),
    Budget(name="full", models=ALL_MODELS, max_factors=512, work=float("inf")),
)

BUDGETS: Final[Mapping[str, Budget]] = {budget.name: budget for budget in _ALL}
"""Every budget by name, the smallest first."""

SMALL, FULL = BUDGETS["small"], BUDGETS["full"]


def find_budget(name: str) -> Budget:
    """The budget of this name. Raises ConfigError."""
    if name not in BUDGETS:
        raise ConfigError(f"found budget {name!r}, expected one of {', '.join(BUDGETS)}; correct --budget")
    return BUDGETS[name]
