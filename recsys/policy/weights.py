"""
The weights of the score on one page: the one place where they are worked out. They are recorded with the page.

    market file -> share of content learned in training -> experiment
        -> locality, in standard deviations of the person's scores, times the exposure controller's factor
        -> re-weighting for the heads of the learned ranker -> the person's own weight of locality

Pure. Weights order items among those that the rules admit; no cap, gap or floor reads them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from recsys.policy.schema import Market

Weights = Mapping[str, float]
"""
Weight by part of the score: `cf`, `content`, `popular`, `fresh`, `followed`, `local`, `supportive`, `language` and the
heads.
"""

DEFAULT_LOCALITY_WEIGHT: Final = 0.75
"""In standard deviations of scores, where neither the policy file nor the artifact says."""

PERSONAL_MODELS: Final = ("cf", "content", "popular")
"""The parts of the score that predict what somebody wants, in standard deviations each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedWeights:
    """
    What training says about weights.

    `content_share` multiplies the market's weight of content. `locality` holds, by market, the weight of locality in
    standard deviations of a person's scores. `mix_heads` moves weight to the heads of the learned ranker; None without
    one.
    """

    content_share: float = 1.0
    locality: Weights = field(default_factory=dict)
    mix_heads: Callable[[Weights], Weights] | None = None


def effective_weights(
    market: Market,
    learned: LearnedWeights,
    experiment: Weights,
    *,
    has_history: bool,
    controller_factor: float,
    local_weight: float | None,
) -> dict[str, float]:
    """
    The weights of one page. `experiment` replaces the market's weights by name.

    `has_history`: something positive is known of the person. `controller_factor` is the exposure controller's; it is 1
    while that is off. `local_weight` is the person's own multiplier of locality, None when they set none.
    """
    content = market.weights.get("content", 0.0) * learned.content_share
    weights = {**market.weights, "content": content, **experiment}
    deviations = weights.get("local", learned.locality.get(market.market, DEFAULT_LOCALITY_WEIGHT))
    weights["local"] = deviations * score_spread(weights, has_history=has_history) * controller_factor
    if learned.mix_heads is not None:
        weights = dict(learned.mix_heads(weights))
    if local_weight is not None:
        weights["local"] *= local_weight
    return weights


def score_spread(weights: Weights, *, has_history: bool) -> float:
    """
    The standard deviation of a person's scores over the catalogue, before locality.

    Each model's scores have a standard deviation of 1, so it is the root of the summed squares of the weights. Of a
    person without a history only popularity says something.
    """
    names = PERSONAL_MODELS if has_history else ("popular",)
    return float(sum(weights.get(name, 0.0) ** 2 for name in names) ** 0.5)
