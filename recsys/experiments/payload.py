"""
Checked experiments as the payload that the `growthbook` SDK evaluates.

There is one feature `layer.<name>` for each layer with a rule for each live experiment, and one feature
`holdout.<name>` for each holdout. The payload changes only at the instants of the ramps, so there is one for each
interval between them, parsed once.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from recsys.clock import Millis, from_datetime
from recsys.experiments.parameters import Parameter
from recsys.experiments.schema import Experiment, Registry
from recsys.source import to_plain
from recsys.types import Fields, JsonObject

LAYER_PREFIX: Final = "layer."
HOLDOUT_PREFIX: Final = "holdout."
OPEN, HELD = "open", "held"
Payload = JsonObject
"""JSON as the SDK's documentation spells it."""
Features = Fields
"""The SDK's own feature objects by name."""


@dataclass(frozen=True, eq=False)  # no slots: cached_property needs a __dict__
class Experiments:
    """All experiments of a folder, checked. `version` is a digest of the files; `Experiments()` has none."""

    registry: Registry | None = None
    experiments: tuple[Experiment, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    version: str = "none"

    def without(self, killed: Set[str]) -> "Experiments":
        """These experiments, of which some are killed. Where that changes one, the version is another too."""
        changed = sorted(killed & {e.key for e in self.experiments if not e.kill_switch})
        if not changed:
            return self
        experiments = tuple(replace(e, kill_switch=True) if e.key in killed else e for e in self.experiments)
        digest = hashlib.sha256("\0".join((self.version, *changed)).encode()).hexdigest()[:12]
        return replace(self, experiments=experiments, version=digest)

    @cached_property
    def live(self) -> tuple[Experiment, ...]:
        """Running and not killed."""
        return tuple(e for e in self.experiments if e.is_live)

    @cached_property
    def ramp_instants(self) -> tuple[Millis, ...]:
        """The instants at which a ramp moves, in order."""
        return tuple(sorted({from_datetime(step.at) for e in self.live for step in e.ramp}))

    @cached_property
    def _parsed(self) -> tuple[Features, ...]:
        starts = (self.ramp_instants[0] - 1, *self.ramp_instants) if self.ramp_instants else ()
        return tuple(parse_features(make_payload(self, at)) for at in starts)

    def features(self, at: Millis) -> Features:
        """The SDK's features in force at an instant; parsed at the first call, for all instants at once."""
        return self._parsed[bisect_right(self.ramp_instants, at)] if self.ramp_instants else {}


def coverage(experiment: Experiment, at: Millis) -> float:
    """The share of the experiment's slice that takes part at an instant; 0 before the first step."""
    reached = [step.coverage for step in experiment.ramp if from_datetime(step.at) <= at]
    return reached[-1] if reached else 0.0


def make_payload(experiments: Experiments, at: Millis) -> Payload:
    """The payload in force at an instant."""
    registry = experiments.registry
    if registry is None:
        return {"features": {}}
    features: Payload = {}
    rules: dict[str, list[Payload]] = {}
    for experiment in experiments.live:
        if share := coverage(experiment, at):
            rules.setdefault(experiment.layer, []).append(_rule(experiment, share, registry))
    for layer, of_layer in rules.items():
        features[LAYER_PREFIX + layer] = {"defaultValue": {}, "rules": of_layer}
    for name, holdout in registry.holdouts.items():
        held = {"force": HELD, "coverage": holdout.share, "seed": holdout.seed, "hashVersion": 2}
        features[HOLDOUT_PREFIX + name] = {"defaultValue": OPEN, "rules": [held]}
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
        "condition": {**_condition(experiment.targeting), **to_plain(dict(registry.protected))},  # all must hold
        "coverage": share,
        "variations": [to_plain(dict(variant.overrides)) for variant in experiment.variants],
        "weights": [variant.weight for variant in experiment.variants],
        "meta": [{"key": variant.key} for variant in experiment.variants],
    }
    if experiment.holdout:
        rule["parentConditions"] = [{"id": HOLDOUT_PREFIX + experiment.holdout, "condition": {"value": OPEN}}]
    return rule


def _condition(targeting: Fields) -> Payload:
    """A missing attribute never matches, not even `$nin`: unknown people take part in no experiment."""
    return {
        name: {**wanted, "$exists": True} if isinstance(wanted, dict) else wanted
        for name, wanted in to_plain(dict(targeting)).items()
    }


def parse_features(payload: Fields) -> Features:
    """
    A payload as the SDK's own objects.

    The SDK is imported here and in `assign` only: it brings an HTTP client that we never use, and about 0.2 s.
    """
    from growthbook.common_types import features_from_dict

    return features_from_dict(payload["features"])
