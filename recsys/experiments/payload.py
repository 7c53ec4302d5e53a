"""
Checked experiments as the payload that the `growthbook` SDK evaluates.

One feature `layer.<name>` per layer, one rule in it per live experiment, one feature `holdout.<name>` per holdout.
The payload changes only at the instants of the ramps, so there is one per interval between them, each parsed once.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from recsys.clock import Millis, from_datetime
from recsys.experiments.parameters import Parameter
from recsys.experiments.schema import Experiment, Registry
from recsys.experiments.source import plain

LAYER: Final = "layer."
HOLDOUT: Final = "holdout."
OPEN, HELD = "open", "held"
Payload = dict[str, Any]


@dataclass(frozen=True, eq=False)  # no slots: cached_property needs a __dict__
class Experiments:
    """All experiments of a folder, checked. `version` is a digest of the files; `Experiments()` has none."""

    registry: Registry | None = None
    experiments: tuple[Experiment, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    version: str = "none"

    @cached_property
    def live(self) -> tuple[Experiment, ...]:
        """Running and not killed."""
        return tuple(e for e in self.experiments if e.is_live)

    @cached_property
    def moments(self) -> tuple[Millis, ...]:
        """The instants at which a ramp moves, in order."""
        return tuple(sorted({from_datetime(step.at) for e in self.live for step in e.ramp}))

    @cached_property
    def _parsed(self) -> tuple[Mapping[str, Any], ...]:
        starts = (self.moments[0] - 1, *self.moments) if self.moments else ()
        return tuple(parse(payload(self, at)) for at in starts)

    def features(self, at: Millis) -> Mapping[str, Any]:
        """The SDK's features in force at an instant; parsed at the first call, for all instants at once."""
        return self._parsed[bisect_right(self.moments, at)] if self.moments else {}


def coverage(experiment: Experiment, at: Millis) -> float:
    """The share of the experiment's slice that takes part at an instant; 0 before the first step."""
    begun = [step.coverage for step in experiment.ramp if from_datetime(step.at) <= at]
    return begun[-1] if begun else 0.0


def payload(experiments: Experiments, at: Millis) -> Payload:
    """The payload in force at an instant, as the SDK's documentation spells it; JSON-ready."""
    registry = experiments.registry
    if registry is None:
        return {"features": {}}
    features: dict[str, Any] = {}
    for experiment in experiments.live:
        if share := coverage(experiment, at):
            feature = features.setdefault(LAYER + experiment.layer, {"defaultValue": {}, "rules": []})
            feature["rules"].append(_rule(experiment, share, registry))
    for name, holdout in registry.holdouts.items():
        held = {"force": HELD, "coverage": holdout.share, "seed": holdout.seed, "hashVersion": 2}
        features[HOLDOUT + name] = {"defaultValue": OPEN, "rules": [held]}
    return {"features": features}


def _rule(experiment: Experiment, share: float, registry: Registry) -> Payload:
    rule: Payload = {
        "key": experiment.key,
        "seed": experiment.key,
        "hashAttribute": "id",
        "hashVersion": experiment.assignment.hash_version,
        "filters": [
            {"seed": registry.layers[experiment.layer].seed, "hashVersion": 2, "ranges": [list(experiment.slice)]}
        ],
        "condition": {**_condition(experiment.targeting), **plain(dict(registry.protected))},  # all must hold
        "coverage": share,
        "variations": [plain(dict(variant.overrides)) for variant in experiment.variants],
        "weights": [variant.weight for variant in experiment.variants],
        "meta": [{"key": variant.key} for variant in experiment.variants],
    }
    if experiment.holdout:
        rule["parentConditions"] = [{"id": HOLDOUT + experiment.holdout, "condition": {"value": OPEN}}]
    return rule


def _condition(targeting: Mapping[str, Any]) -> Payload:
    """A missing attribute never matches, not even `$nin`: nobody takes part because we know too little."""
    return {
        name: {**wanted, "$exists": True} if isinstance(wanted, dict) else wanted
        for name, wanted in plain(dict(targeting)).items()
    }


def parse(payload: Payload) -> Mapping[str, Any]:
    """
    A payload as the SDK's own objects.

    The SDK is imported here and in `assign` only: it brings an HTTP client that we never use, and about 0.2 s.
    """
    from growthbook.common_types import features_from_dict

    return features_from_dict(payload["features"])
