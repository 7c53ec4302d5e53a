"""
The policy of a market: its file, the limits that follow from it for one person, and the weights of one page.

`load_market` reads and checks a file; `CompiledPolicy` works out its layers; `effective_limits` meets them with those
of one person; `effective_weights` gives the weights of the score. `meet` combines limits and never loosens one.
"""

from recsys.policy.checks import load_market, market_of
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.effective import EffectiveLimits, effective_band, effective_limits, personal_limits
from recsys.policy.limits import Limits, Windows, meet
from recsys.policy.schema import Market
from recsys.policy.weights import LearnedWeights, effective_weights

__all__ = [
    "CompiledPolicy",
    "EffectiveLimits",
    "LearnedWeights",
    "Limits",
    "Market",
    "Windows",
    "effective_band",
    "effective_limits",
    "effective_weights",
    "load_market",
    "market_of",
    "meet",
    "personal_limits",
]
