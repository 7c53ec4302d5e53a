"""
Who is in which variant: in process, without network or storage, a pure function of the files, the person and the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from recsys.clock import Millis
from recsys.experiments.parameters import Drawn, merge
from recsys.experiments.payload import LAYER, Experiments
from recsys.experiments.schema import Registry
from recsys.policy.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """
    What experiments mean for one request.

    `variants` by experiment key, as named in the answer; `limits` to meet with the policy's other layers; `weights` to
    put in place of the market's, by name; `problems`: an audit line per override that was refused.
    """

    variants: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    weights: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


NOWHERE: Final = Assignment()  # in no experiment


def assign(experiments: Experiments, *, user_id: str, attributes: Mapping[str, Any], at: Millis) -> Assignment:
    """
    The variants of one person at one instant.

    `attributes` as resolved for the request: country, region, language, effective_age_band, loop_level, surface.
    Whoever is not an adult at loop level 0, or of whom that is not known, is in no experiment.
    """
    if experiments.registry is None or not is_open_to(experiments.registry, attributes):
        return NOWHERE
    features = experiments.features(at)
    drawn = draw(features, _resolved(experiments.registry, user_id, attributes))
    if not drawn:
        return NOWHERE
    merged = merge(experiments.parameters, drawn)
    return Assignment(
        variants={one.experiment: one.variant for one in drawn},
        limits=merged.limits,
        weights=merged.weights,
        problems=merged.problems,
    )


def is_open_to(registry: Registry, attributes: Mapping[str, Any]) -> bool:
    """Whether the protected audience holds. The payload asks the same again; this does not depend on it."""
    return all(
        type(attributes.get(name)) in (str, int) and attributes[name] == wanted
        for name, wanted in registry.protected.items()
    )


def _resolved(registry: Registry, user_id: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Only registered attributes, of the registered type; the id is always a string (0 would count as missing)."""
    kinds = {"string": str, "int": int}
    typed = {
        name: attributes[name]
        for name, attribute in registry.attributes.items()
        if type(attributes.get(name)) is kinds[attribute.type]
    }
    return {**typed, "id": str(user_id)}


def draw(features: Mapping[str, Any], attributes: dict[str, Any]) -> list[Drawn]:
    """The variant in each layer, at most one; `features` as from `Experiments.features`."""
    layers = [name for name in features if name.startswith(LAYER)]
    if not layers:
        return []
    from growthbook.common_types import EvaluationContext, GlobalContext, Options, StackContext, UserContext
    from growthbook.core import eval_feature

    user, shared = UserContext(attributes=attributes), GlobalContext(options=Options(), features=dict(features))
    drawn = []
    for layer in layers:
        # a stack of its own each: a holdout that two layers share would look like a cycle
        result = eval_feature(layer, EvaluationContext(user=user, global_ctx=shared, stack=StackContext()))
        if result.experiment is not None and result.experimentResult is not None:
            name = layer.removeprefix(LAYER)
            drawn.append(Drawn(result.experiment.key, name, result.experimentResult.key, result.value))
    return drawn
