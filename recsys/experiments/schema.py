"""
The two kinds of experiment file, as frozen dataclasses. `registry.yaml` declares what experiments may change; one file
for each experiment declares what it changes. docs/experiments.md explains the keys, `recsys.experiments.checks` checks
the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final, Literal

from recsys.config import Range
from recsys.types import Fields

Share = Annotated[float, Range(0, 1)]
Count = Annotated[int, Range(1, 1_000_000_000)]
Number = Annotated[float, Range(-1e9, 1e9)]
Version = Literal["sanad.experiments/v1"]
Direction = Literal["increase", "decrease"]

ANY_LAYER: Final = "any"  # owns the parameters that every layer may tighten
ATTRIBUTES: Final = ("user_id", "country", "region", "language", "effective_age_band", "loop_level", "surface")
PROTECTED: Final[Mapping[str, str | int]] = {"effective_age_band": "18+", "loop_level": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterRules:
    """
    The range of one parameter, and the layer that owns it.

    With `tighten`, only the tight end is written (`min` for lower, `max` for higher); the market's value is the other.
    """

    type: Literal["int", "float"]
    layer: str
    min: Number | None = None
    max: Number | None = None
    tighten: Literal["lower", "higher"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A division of the audience: a person is in at most one experiment of a layer. Layers are independent."""

    seed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """A share of people kept out of every experiment that names the holdout."""

    seed: str
    share: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """An attribute of a request. Only attributes with `values` can be targeted."""

    type: Literal["string", "int"]
    values: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric, by the names of columns in the analysis table."""

    kind: Literal["mean", "ratio", "quantile", "quantile_clustered"]
    column: str | None = None
    numer: str | None = None
    denom: str | None = None
    covariate: str | None = None
    cluster: str | None = None
    q: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """`registry.yaml`."""

    apiVersion: Version
    kind: Literal["Registry"]
    parameters: Mapping[str, ParameterRules]
    layers: Mapping[str, Layer]
    holdouts: Mapping[str, Holdout]
    attributes: Mapping[str, Attribute]
    protected: Fields
    metrics: Mapping[str, Metric]


@dataclass(frozen=True, slots=True, kw_only=True)
class RampStep:
    """From `at` on, `coverage` of the slice takes part."""

    at: datetime
    coverage: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentRules:
    """The unit of assignment. There is one option, so that two experiments always agree about it."""

    unit: Literal["user_id"] = "user_id"
    hash_version: Literal[2] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One arm. `weight` is its share of the experiment; `overrides` are parameter paths and values."""

    key: str
    weight: Share
    overrides: Fields = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Primary:
    """The metric that decides. `mde_relative`: the smallest effect worth detecting, relative to control."""

    metric: str
    direction: Direction
    mde_relative: Annotated[float, Range(1e-6, 1)]
    cuped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Secondary:
    """A metric that is reported and does not decide."""

    metric: str
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A metric that must not get worse by more than `max_harm_relative`, and the action when it does."""

    metric: str
    direction: Direction
    max_harm_relative: Share
    on_breach: Literal["kill", "pause"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Duration, sample size and error rates."""

    min_days: Count
    max_days: Count
    min_users_per_variant: Count
    alpha: Annotated[float, Range(1e-6, 0.2)] = 0.05
    power: Annotated[float, Range(0.5, 0.999)] = 0.8
    sequential: bool = True
    srm_alpha: Annotated[float, Range(1e-6, 0.2)] = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment file. `slice` is the share [from, to) of the layer."""

    apiVersion: Version
    kind: Literal["Experiment"]
    key: str
    owner: str
    hypothesis: str
    status: Literal["draft", "running", "paused", "stopped"]
    layer: str
    slice: tuple[Share, ...]
    ramp: tuple[RampStep, ...]
    variants: tuple[Variant, ...]
    primary: Primary
    guardrails: tuple[Guardrail, ...]
    analysis: Analysis
    kill_switch: bool = False
    assignment: AssignmentRules = AssignmentRules()
    holdout: str | None = None
    targeting: Fields = field(default_factory=dict)
    secondary: tuple[Secondary, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether anybody may be in it."""
        return self.status == "running" and not self.kill_switch
