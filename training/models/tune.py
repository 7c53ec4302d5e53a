"""
Tuning: the settings of the base models, chosen on the last part of a dataset, as a file that `sanad train` reads.

Each setting that was measured is a line of the study, written before the next begins, so a run that was stopped goes on
where it was. The lines carry the fingerprint of the data, so that a study of other data is refused.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np
from ruamel.yaml import YAML
from threadpoolctl import threadpool_limits

from recsys.clock import Millis
from recsys.data.tables import Dataset
from recsys.errors import ConfigError, DataError
from recsys.models.blend import POPULARITY
from recsys.models.popularity import PopularityParams
from recsys.progress import Progress, quiet
from recsys.types import JsonObject
from training.interactions import build_interactions
from training.models.blend import dataset_folds
from training.models.budget import FULL
from training.models.registry import Params, find_specs
from training.models.search import CoordinateAscent, ValidationFold, limit_factors
from training.models.settings import BlendParams
from training.models.yardstick import NDCG, Measured

_LINE: Final = '{"key": '
"""How a line of a study begins."""


_STUDY_FORMAT: Final = 4
"""Changes with the words of a study, and with its validation: measures of another validation are not comparable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult:
    """
    `params`: the settings chosen. `default` and `best`: NDCG at k of each model on validation, with the settings that
    the search started from and with the chosen ones; the latter is in-sample, so it is too high. `n_measured` settings,
    of which `n_known` were measured in an earlier run of the study. `n_users` validated.
    """

    params: BlendParams
    default: Mapping[str, float]
    best: Mapping[str, float]
    n_measured: int
    n_known: int
    n_users: int


def tune(
    dataset: Dataset,
    fingerprint: str,
    study: Path,
    start: BlendParams,
    before: Millis | None,
    seed: int,
    on_progress: Progress = quiet,
) -> TuneResult:
    """
    Coordinate ascent from `start`, model by model; `before` leaves out later events. The study is a file of JSON lines.

    Raises: DataError without a user to validate by; ConfigError for a study of other data or another seed.
    """
    key = f"{fingerprint} {before} {seed} {_STUDY_FORMAT} {start.validation_share} {start.validation_users} {start.k}"
    known = _read(study, key)
    folds = _folds(dataset, start, before, seed)
    params, n_measured, best, default = start, 0, {}, {}
    for name, spec in find_specs(start).items():
        if name == POPULARITY or not all(spec.can_fit(fold.train) for fold in folds):
            continue
        begin = spec.params
        earlier = {type(begin)(**fields): _measured(value) for model, fields, value in known if model == name}
        ascent = CoordinateAscent(
            limit_factors(spec, FULL.max_factors), folds, start.k, seed, on_progress, stage=f"tune {name}",
            earlier=earlier, remember=partial(_append, study, key, name),
        )  # fmt: skip
        with threadpool_limits(1, user_api="blas"):  # as `training.train`: equal settings on every machine
            chosen, _ = ascent.search()
        params = replace(params, **{name: chosen})
        values = {setting: measure.value for setting, measure in ascent.measured.items() if measure}
        best[name], default[name] = values[chosen], values[begin]
        n_measured += len(values)
    return TuneResult(
        params=params,
        default=default,
        best=best,
        n_measured=n_measured,
        n_known=len(known),
        n_users=sum(len(fold.users) for fold in folds),
    )


def as_yaml(params: BlendParams) -> str:
    """The settings as a file for `sanad train --config`."""
    plain = json.loads(json.dumps(asdict(params)))
    out = StringIO()
    YAML(typ="safe", pure=True).dump(plain, out)
    return out.getvalue()


def _folds(dataset: Dataset, params: BlendParams, before: Millis | None, seed: int) -> tuple[ValidationFold, ...]:
    """The rolling folds of `sanad train`."""
    interactions = build_interactions(dataset, before=before)
    folds = dataset_folds(dataset, interactions, PopularityParams(), params, before, seed, has_shown=False)
    if not folds:
        raise DataError(
            "found no user who came back for something new, expected some to validate by; give more events, of more "
            "than one instant"
        )
    return folds


def _measured(value: float) -> Measured:
    """A measure that a study holds."""
    return Measured(NDCG, value, np.empty(0), np.empty(0, np.intp))


def _append(study: Path, key: str, name: str, params: Params, measured: Measured) -> None:
    line = json.dumps({"key": key, "model": name, "params": asdict(params), "ndcg": measured.value})
    with study.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _read(study: Path, key: str) -> list[tuple[str, JsonObject, float]]:
    """
    The measures of a study. A last line that a kill cut short is removed from the file, so that the next starts anew.

    Raises: ConfigError for a study of something else, and for a file that is no study.
    """
    measures = []
    text = study.read_text("utf-8", "replace") if study.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    torn = text[len(whole) :]
    if not torn.startswith(_LINE[: len(torn)]):
        raise ConfigError(f"{study}: found {torn[:60]!r} at its end, expected lines of a study; choose another --study")
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            entry = json.loads(line)
            if entry["key"] != key:
                raise ConfigError(
                    f"{study}:{number}: found a study of other data, of another holdout, seed or validation, or of an "
                    "earlier version, expected one of this run; choose another --study or remove it"
                )
            measures.append((str(entry["model"]), dict(entry["params"]), float(entry["ndcg"])))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{study}:{number}: found {line[:60]!r}, expected a line of a study; choose another --study"
            ) from error
    if torn:
        study.write_text(whole, "utf-8")
    return measures
