"""
The rules for experiment files beyond their schema. They are errors, never warnings: the SDK that assigns people accepts
wrong files silently (weights of 1.2, unknown operators), so no wrong file may reach it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Final

from recsys.experiments.audience import audience_problems
from recsys.experiments.parameters import Parameter, adjustable_parameters, problem_with, resolve_parameter
from recsys.experiments.schema import ANY_LAYER, ATTRIBUTES, PROTECTED, Experiment, Metric, ParameterRules, Registry
from recsys.policy.schema import Market
from recsys.source import SourceFile, to_plain

KEY_PATTERN: Final = "[a-z0-9][a-z0-9-]{2,63}"  # of an experiment
CONTROL: Final = "control"
LIST_OPERATORS: Final = ("$in", "$nin")
OPERATORS: Final = (*LIST_OPERATORS, "$ne")
MIN_DAYS: Final = 7
_REQUIRED_FIELDS: Final = {
    "mean": ("column",),
    "ratio": ("numer", "denom"),
    "quantile": ("column", "q"),
    "quantile_clustered": ("column", "cluster", "q"),
}


def registry_problems(source: SourceFile, registry: Registry, market: Market) -> Iterator[str]:
    """The problems of a registry for this market."""
    for path, rules in registry.parameters.items():
        sentence = _parameter_problem(path, rules, registry, market)
        if sentence:
            yield source.problem(f"parameters.{path}", sentence)
    if ANY_LAYER in registry.layers:
        yield source.problem(
            f"layers.{ANY_LAYER}", f"found a layer called {ANY_LAYER}, expected another name: it means all layers"
        )
    yield from _attribute_problems(source, registry, market)
    for name, metric in registry.metrics.items():
        missing = [need for need in _REQUIRED_FIELDS[metric.kind] if getattr(metric, need) is None]
        if missing:
            sentence = f"found no {' and no '.join(missing)}, expected them for a metric of kind {metric.kind}"
            yield source.problem(f"metrics.{name}", sentence)
    seeds = [(f"layers.{name}.seed", layer.seed) for name, layer in registry.layers.items()]
    seeds += [(f"holdouts.{name}.seed", holdout.seed) for name, holdout in registry.holdouts.items()]
    for n, (key, seed) in enumerate(seeds):
        if not seed or seed in [other for _, other in seeds[:n]]:
            sentence = (
                f"found {seed!r}, expected a seed that nothing else has: a shared seed ties two divisions together"
            )
            yield source.problem(key, sentence)


def _parameter_problem(path: str, rules: ParameterRules, registry: Registry, market: Market) -> str | None:
    widest = adjustable_parameters(market).get(path)
    if widest is None:
        return f"found a path that no experiment may change, expected one of {', '.join(adjustable_parameters(market))}"
    if (rules.type, rules.tighten) != (widest.type, widest.tighten):
        return f"found type {rules.type}, tighten {rules.tighten}, expected {widest.type}, {widest.tighten}"
    layers = (ANY_LAYER,) if widest.layer == ANY_LAYER else tuple(registry.layers)
    if rules.layer not in layers:
        return f"found layer {rules.layer}, expected {' or '.join(layers)}"
    written = {name for name in ("min", "max") if getattr(rules, name) is not None}
    wanted = {"lower": {"min"}, "higher": {"max"}, None: {"min", "max"}}[rules.tighten]
    if written != wanted:
        reason = "; the other end is the market's value" if rules.tighten else ""
        bounds = " and ".join(sorted(written)) or "no bound"
        return f"found {bounds}, expected {' and '.join(sorted(wanted))}{reason}"
    if rules.type == "int" and any(bound is not None and bound % 1 for bound in (rules.min, rules.max)):
        return "found a bound with a fraction, expected a whole number: the parameter counts"
    return _range_problem(widest, resolve_parameter(path, rules, market))


def _range_problem(widest: Parameter, parameter: Parameter) -> str | None:
    low, high = parameter.low, parameter.high
    if low > high:
        return f"found a range from {low:g} to {high:g} with the market's value as its loose end, expected one"
    if low < widest.low or high > widest.high:
        return f"found {low:g} to {high:g}, expected it within {widest.low:g} to {widest.high:g}"
    return None


def _attribute_problems(source: SourceFile, registry: Registry, market: Market) -> Iterator[str]:
    vocabularies = {"region": set(market.regions), "language": set(market.languages)}
    for name, attribute in registry.attributes.items():
        key = f"attributes.{name}"
        if name not in ATTRIBUTES:
            yield source.problem(key, f"found {name}, expected one of {', '.join(ATTRIBUTES)}")
        values = [to_plain(value) for value in attribute.values]
        wrong = [v for v in values if type(v) is not {"string": str, "int": int}[attribute.type]]
        if wrong:
            yield source.problem(f"{key}.values", f"found {wrong[0]!r}, expected each value to be {attribute.type}")
        elif name in vocabularies and set(values) - vocabularies[name]:
            strangers = ", ".join(sorted(set(values) - vocabularies[name]))
            yield source.problem(f"{key}.values", f"found {strangers}, expected only what the market's policy names")
    for name, wanted in PROTECTED.items():
        value = to_plain(registry.protected.get(name))
        if type(value) is not type(wanted) or value != wanted:
            sentence = (
                f"found {value!r}, expected {wanted!r}: experiments reach calm adults only, and no file changes that"
            )
            yield source.problem(f"protected.{name}", sentence)
    for name, value in registry.protected.items():
        allowed = [to_plain(v) for v in registry.attributes[name].values] if name in registry.attributes else []
        if to_plain(value) not in allowed:
            sentence = f"found {to_plain(value)!r}, expected one value that `attributes` lists for {name}"
            yield source.problem(f"protected.{name}", sentence)


def experiment_problems(
    source: SourceFile, experiment: Experiment, registry: Registry, parameters: Mapping[str, Parameter]
) -> Iterator[str]:
    """The problems of one experiment alone; whether it can reach anybody is asked when it has no others."""
    problems = list(_file_problems(source, experiment, registry, parameters))
    yield from problems or audience_problems(source, experiment, registry)


def _file_problems(
    source: SourceFile, experiment: Experiment, registry: Registry, parameters: Mapping[str, Parameter]
) -> Iterator[str]:
    if not re.fullmatch(KEY_PATTERN, experiment.key):
        sentence = f"found {experiment.key!r}, expected 3 to 64 lower-case letters, digits and hyphens"
        yield source.problem("key", sentence)
    if not source.name.endswith(f"{experiment.key}.yaml"):
        sentence = f"found {experiment.key}, expected the file's name without .yaml: the key is also the hash seed"
        yield source.problem("key", sentence)
    for name in ("owner", "hypothesis"):
        if not getattr(experiment, name).strip():
            yield source.problem(name, "found nothing, expected a sentence that a stranger understands")
    if experiment.layer not in registry.layers:
        sentence = f"found {experiment.layer}, expected one of {', '.join(registry.layers)}"
        yield source.problem("layer", sentence)
    if experiment.holdout is not None and experiment.holdout not in registry.holdouts:
        known_holdouts = ", ".join(registry.holdouts) or "none, as the registry has no holdouts"
        yield source.problem("holdout", f"found {experiment.holdout}, expected one of {known_holdouts}")
    yield from _traffic_problems(source, experiment)
    yield from _variant_problems(source, experiment, parameters)
    yield from _targeting_problems(source, experiment, registry)
    yield from _metric_problems(source, experiment, registry.metrics)


def _traffic_problems(source: SourceFile, experiment: Experiment) -> Iterator[str]:
    if len(experiment.slice) != 2 or not experiment.slice[0] < experiment.slice[1]:
        yield source.problem("slice", f"found {list(experiment.slice)}, expected [from, to] with from below to")
    if not experiment.ramp:
        yield source.problem("ramp", "found no step, expected at least one {at, coverage}")
    naive = [n for n, step in enumerate(experiment.ramp) if step.at.tzinfo is None]
    for n in naive:
        yield source.problem(f"ramp[{n}].at", "found an instant without a zone, expected such as 2026-11-23T08:00:00Z")
    for n, (before, after) in enumerate(pairwise(experiment.ramp) if not naive else (), start=1):
        if after.at <= before.at:
            yield source.problem(f"ramp[{n}].at", "found an instant not after the step before, expected a later one")
        if after.coverage < before.coverage:
            sentence = f"found {after.coverage:g} after {before.coverage:g}, expected a ramp that only goes up"
            yield source.problem(f"ramp[{n}].coverage", f"{sentence}: shrinking it throws people out half way")


def _variant_problems(source: SourceFile, experiment: Experiment, parameters: Mapping[str, Parameter]) -> Iterator[str]:
    variants = experiment.variants
    keys = [variant.key for variant in variants]
    if len(variants) < 2 or len(set(keys)) < len(keys):
        yield source.problem("variants", f"found {keys}, expected two or more, each with its own key")
    if variants and (variants[0].key != CONTROL or variants[0].overrides):
        yield source.problem("variants[0]", f"found {keys[0]}, expected {CONTROL} first, without overrides")
    total = math.fsum(variant.weight for variant in variants)
    if abs(total - 1) > 1e-9 or any(variant.weight <= 0 for variant in variants):
        yield source.problem("variants", f"found weights summing to {total:g}, expected positive weights summing to 1")
    for n, variant in enumerate(variants):
        for path, value in variant.overrides.items():
            parameter = parameters.get(path)
            if parameter is None:
                sentence: str | None = (
                    f"found a path that the registry does not list, expected {_nearest_paths(path, parameters)}"
                )
            elif parameter.layer not in (ANY_LAYER, experiment.layer):
                sentence = f"found in layer {experiment.layer}, expected in layer {parameter.layer}, which owns it"
            else:
                sentence = problem_with(parameter, to_plain(value))
            if sentence:
                yield source.problem(f"variants[{n}].overrides.{path}", sentence)


def _nearest_paths(path: object, parameters: Mapping[str, Parameter]) -> str:
    root = str(path).partition(".")[0]
    return "one of " + ", ".join([p for p in parameters if p.startswith(f"{root}.")] or parameters)


def _targeting_problems(source: SourceFile, experiment: Experiment, registry: Registry) -> Iterator[str]:
    targetable = [n for n, a in registry.attributes.items() if a.values and n not in registry.protected]
    for name, wanted in experiment.targeting.items():
        key = f"targeting.{name}"
        if name in registry.protected:
            yield source.problem(
                key, "found a condition, expected none: the registry's `protected` sets it for everybody"
            )
        elif name not in targetable:
            yield source.problem(key, f"found {name}, expected one of {', '.join(targetable)}")
        else:
            sentence = _condition_problem(to_plain(wanted), [to_plain(v) for v in registry.attributes[name].values])
            if sentence:
                yield source.problem(key, sentence)


def _condition_problem(wanted: object, values: list[object]) -> str | None:
    if isinstance(wanted, list):
        any_of = f"{{$in: [{', '.join(map(str, wanted))}]}}"
        return f"found a list, expected one value or {any_of}, which means any of these"
    if isinstance(wanted, dict):
        if len(wanted) != 1 or next(iter(wanted)) not in OPERATORS:
            return f"found {', '.join(map(str, wanted))}, expected one operator of {', '.join(OPERATORS)}"
        operator, wanted = next(iter(wanted.items()))
        if (operator in LIST_OPERATORS) != isinstance(wanted, list) or wanted == []:
            return (
                f"found {wanted!r} behind {operator}, expected {'a list' if operator in LIST_OPERATORS else 'a value'}"
            )
    asked = wanted if isinstance(wanted, list) else [wanted]
    strangers = [v for v in asked if v not in values or isinstance(v, bool)]
    return f"found {strangers[0]!r}, expected some of {', '.join(map(str, values))}" if strangers else None


def _metric_problems(source: SourceFile, experiment: Experiment, metrics: Mapping[str, Metric]) -> Iterator[str]:
    named = [("primary", experiment.primary.metric)]
    named += [(f"secondary[{n}]", metric.metric) for n, metric in enumerate(experiment.secondary)]
    named += [(f"guardrails[{n}]", guardrail.metric) for n, guardrail in enumerate(experiment.guardrails)]
    for key, metric in named:
        if metric not in metrics:
            yield source.problem(f"{key}.metric", f"found {metric}, expected one of {', '.join(metrics)}")
    if not any(guardrail.on_breach == "kill" for guardrail in experiment.guardrails):
        yield source.problem(
            "guardrails", "found none with on_breach: kill, expected at least one that stops by itself"
        )
    analysis = experiment.analysis
    if analysis.min_days < MIN_DAYS:
        sentence = f"found {analysis.min_days}, expected {MIN_DAYS} or more: a week has a weekend"
        yield source.problem("analysis.min_days", sentence)
    if analysis.max_days < analysis.min_days:
        sentence = f"found {analysis.max_days}, expected at least min_days ({analysis.min_days})"
        yield source.problem("analysis.max_days", sentence)


def conflicts_between(sourced: Sequence[tuple[SourceFile, Experiment]], registry: Registry) -> Iterator[str]:
    """The problems between experiments: two on the same part of a layer, or a key that is also a seed."""
    seeds = {layer.seed for layer in registry.layers.values()} | {h.seed for h in registry.holdouts.values()}
    for source, experiment in sourced:
        if experiment.key in seeds:
            sentence = f"found {experiment.key}, which the registry uses as a seed, expected another key"
            yield source.problem("key", sentence)
    live = [(s, e) for s, e in sourced if e.is_live and len(e.slice) == 2]
    for (_, a), (source, b) in combinations(live, 2):
        if a.layer == b.layer and a.slice[0] < b.slice[1] and b.slice[0] < a.slice[1]:
            sentence = f"found {list(b.slice)}, which overlaps {list(a.slice)} of {a.key} in layer {a.layer}"
            yield source.problem("slice", f"{sentence}, expected a part of the layer that no running experiment uses")
