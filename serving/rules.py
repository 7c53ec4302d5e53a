"""The policy and the experiments that an engine is built by."""

from dataclasses import dataclass

from recsys.experiments.files import load_experiments
from recsys.experiments.payload import Experiments
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy, and experiments that were checked with it."""

    market: Market
    experiments: Experiments


def read_rules(settings: Settings) -> Rules:
    """Policy and experiments from their files. Raises ConfigError."""
    market = load_market(settings.policy)
    folder = settings.experiments
    return Rules(market, Experiments() if folder is None else load_experiments(folder, market))
