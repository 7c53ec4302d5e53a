"""
Assignment of people to variants: in process, without network or storage, as a pure function of files, person and time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from recsys.clock import Millis
from recsys.experiments.parameters import DrawnVariant, merge_overrides
from recsys.experiments.payload import LAYER_PREFIX, Experiments, Features
from recsys.experiments.schema import Registry
from recsys.policy.limits import Limits

Attributes = Mapping[str, object]
"""What is known of a request, by the names of `schema.ATTRIBUTES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """
    The effect of experiments on one request.

    `variants` by experiment key, as named in the answer; `limits` to meet with the policy's other layers; `weights` to
    put in place of the market's, by name; `problems`: an audit line per override that was refused.
    """

    variants: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    weights: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


NO_ASSIGNMENT: Final = Assignment()


def assign(experiments: Experiments, *, user_id: str, attributes: Attributes, at: Millis) -> Assignment:
    """
    The variants of one person at one instant.

    `attributes` as resolved for the request: country, region, language, effective_age_band, loop_level, surface.
    Only people who are known to be adults at loop level 0 are in an experiment.
    """
    if experiments.registry is None or not is_open_to(experiments.registry, attributes):
        return NO_ASSIGNMENT
    features = experiments.features(at)
    drawn = draw_variants(features, _typed_attributes(experiments.registry, user_id, attributes))
    if not drawn:
        return NO_ASSIGNMENT
    merged = merge_overrides(experiments.parameters, drawn)
    return Assignment(
        variants={variant.experiment: variant.variant for variant in drawn},
        limits=merged.limits,
        weights=merged.weights,
        problems=merged.problems,
    )


def is_open_to(registry: Registry, attributes: Attributes) -> bool:
    """Whether a request belongs to the protected audience. The payload repeats the condition."""
    return all(
        type(attributes.get(name)) in (str, int) and attributes[name] == wanted
        for name, wanted in registry.protected.items()
    )


def _typed_attributes(registry: Registry, user_id: str, attributes: Attributes) -> dict[str, object]:
    """Only registered attributes, of the registered type; the id is always a string (0 would count as missing)."""
    types = {"string": str, "int": int}
    typed = {
        name: attributes[name]
        for name, attribute in registry.attributes.items()
        if type(attributes.get(name)) is types[attribute.type]
    }
    return {**typed, "id": str(user_id)}


def draw_variants(features: Features, attributes: Attributes) -> list[DrawnVariant]:
    """The variant in each layer, at most one; `features` as from `Experiments.features`."""
    layers = [name for name in features if name.startswith(LAYER_PREFIX)]
    if not layers:
        return []
    from growthbook.common_types import EvaluationContext, GlobalContext, Options, StackContext, UserContext
    from growthbook.core import eval_feature

    user, shared = UserContext(attributes=dict(attributes)), GlobalContext(options=Options(), features=dict(features))
    drawn = []
    for layer in layers:
        # a new stack for each layer: a holdout that two layers share would look like a cycle
        result = eval_feature(layer, EvaluationContext(user=user, global_ctx=shared, stack=StackContext()))
        if result.experiment is not None and result.experimentResult is not None:
            name = layer.removeprefix(LAYER_PREFIX)
            drawn.append(DrawnVariant(result.experiment.key, name, result.experimentResult.key, result.value))
    return drawn
