"""A folder of experiment files: read, checked and ready for assignment, or all its problems as sentences."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from recsys.clock import from_datetime, to_text
from recsys.config import load
from recsys.errors import ConfigError
from recsys.experiments.checks import conflicts_between, experiment_problems, registry_problems
from recsys.experiments.parameters import resolve_parameter
from recsys.experiments.payload import Experiments
from recsys.experiments.schema import Experiment, Registry
from recsys.policy.schema import Market
from recsys.source import SourceFile, to_plain

REGISTRY_FILE: Final = "registry.yaml"
_NOTES: Final = (".md", ".rst", "readme", "readme.txt")
T = TypeVar("T")


def load_experiments(folder: Path, market: Market) -> Experiments:
    """
    The experiments of a folder, for a market. An empty folder holds none.

    Raises ConfigError with every problem of every file. A caller that reloads should then keep the last good ones.
    """
    paths = _paths(folder)
    if not paths:
        return Experiments()
    registry_path = folder / REGISTRY_FILE
    if registry_path not in paths:
        raise ConfigError(f"{folder}: found experiments but no {REGISTRY_FILE}, expected it beside them")
    problems: list[str] = []
    registry = _read(registry_path, Registry, problems)
    sourced = [
        (source, experiment)
        for path in paths
        if path != registry_path and (read := _read(path, Experiment, problems))
        for source, experiment in [read]
    ]
    if registry:
        problems += _problems(*registry, sourced, market)
    if problems or registry is None:
        raise ConfigError(*problems)
    rules = registry[1]
    return Experiments(
        registry=rules,
        experiments=tuple(experiment for _, experiment in sourced),
        parameters={path: resolve_parameter(path, parameter, market) for path, parameter in rules.parameters.items()},
        version=_digest(paths),
    )


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: found no such folder, expected one with {REGISTRY_FILE} and a file per experiment"
        )
    overlooked = [name for name in unread(folder) if not _is_aside(name)]
    if overlooked:
        raise ConfigError(
            *(
                f"{folder / name}: is not read, expected a name that ends in .yaml, in {folder} itself; "
                "rename it, or move it elsewhere"
                for name in overlooked
            )
        )
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


def unread(folder: Path) -> tuple[str, ...]:
    """What the folder holds beside the files that are read. Folders end in a slash; empty ones are left out."""
    return tuple(
        f"{path.name}/" if path.is_dir() else path.name
        for path in sorted(folder.iterdir())
        if path.name.startswith(".") or path.suffix != ".yaml" or path.is_dir()
        if not path.is_dir() or any(path.iterdir())
    )


def _is_aside(name: str) -> bool:
    """Whether a name is plainly no experiment: notes for people, and what tools hide (`.git/`, `..data/`)."""
    is_hidden = name.startswith(".") and not name.casefold().endswith((".yaml", ".yml"))
    return is_hidden or name.casefold().endswith(_NOTES)


def _read(path: Path, schema: type[T], problems: list[str]) -> tuple[SourceFile, T] | None:
    try:
        value = load(path, schema)  # first: its sentence names a file that cannot be read
        return SourceFile(str(path), path.read_text("utf-8")), value
    except ConfigError as error:
        problems += error.problems
        return None


def _problems(
    source: SourceFile, registry: Registry, sourced: list[tuple[SourceFile, Experiment]], market: Market
) -> Iterator[str]:
    in_registry = list(registry_problems(source, registry, market))
    yield from in_registry
    if in_registry:  # with wrong bounds, sentences about the experiments would be wrong too
        return
    parameters = {path: resolve_parameter(path, rules, market) for path, rules in registry.parameters.items()}
    for experiment_source, experiment in sourced:
        yield from experiment_problems(experiment_source, experiment, registry, parameters)
    yield from conflicts_between(sourced, registry)


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentSummary:
    """One experiment as text for a table."""

    key: str
    status: str
    layer: str
    slice: str
    ramp: str
    variants: str
    changes: str


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """The result of `sanad experiment check`: a row for each experiment, or the problems; and what was not read."""

    rows: tuple[ExperimentSummary, ...]
    problems: tuple[str, ...]
    unread: tuple[str, ...] = ()


def check_folder(folder: Path, market: Market) -> FolderCheck:
    """As `load_experiments`, for display: never raises ConfigError."""
    try:
        experiments = load_experiments(folder, market)
    except ConfigError as error:
        return FolderCheck((), error.problems, unread(folder) if folder.is_dir() else ())
    return FolderCheck(tuple(_summarise(experiment) for experiment in experiments.experiments), (), unread(folder))


def _summarise(experiment: Experiment) -> ExperimentSummary:
    changes = [
        f"{variant.key}: {path} = {to_plain(value)}"
        for variant in experiment.variants
        for path, value in variant.overrides.items()
    ]
    return ExperimentSummary(
        key=experiment.key,
        status="killed" if experiment.kill_switch else experiment.status,
        layer=experiment.layer,
        slice=f"{_percent(experiment.slice[0])} to {_percent(experiment.slice[1])}",
        ramp=", ".join(f"{_percent(step.coverage)} from {to_text(from_datetime(step.at))}" for step in experiment.ramp),
        variants=", ".join(f"{variant.key} {_percent(variant.weight)}" for variant in experiment.variants),
        changes="; ".join(changes) or "nothing",
    )


def _percent(share: float) -> str:
    """A share as it was written: 0.00001 is 0.001 %, not 0 %."""
    return f"{100 * share:.6g}%"
