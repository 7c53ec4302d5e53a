"""
Tuning: the settings of the parts of taste, chosen on the last part of a dataset, as a file that `sanad train` reads.

Each setting that was measured is a line of the study, written before the next begins: a run that was stopped goes on
where it stood. The lines carry the fingerprint of the data, so that a study of other data is refused, not mixed in.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from ruamel.yaml import YAML

from recsys.clock import Millis
from recsys.data.tables import Dataset
from recsys.errors import ConfigError, DataError
from recsys.models.popularity import PopularityParams
from recsys.progress import Progress, quiet
from training.interactions import build_interactions
from training.models.collaborative import TasteParams
from training.models.folds import windows
from training.models.registry import Observed, families
from training.models.search import Climb, Fold

_LINE: Final = '{"key": '
"""How a line of a study begins."""


_JUDGING: Final = 2
"""Changes with who judges and by what: measures of other judges are not comparable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """
    `params`: the settings chosen. `default` and `best`: NDCG at k of each part with the shipped settings and with
    those, on validation, which flatters the best. `n_known`: measures taken from an earlier run of the study.
    """

    params: TasteParams
    default: Mapping[str, float]
    best: Mapping[str, float]
    n_measured: int
    n_known: int
    n_judges: int


def tune(
    dataset: Dataset,
    fingerprint: str,
    study: Path,
    start: TasteParams,
    before: Millis | None,
    seed: int,
    on_progress: Progress = quiet,
) -> Tuned:
    """
    Climbs from `start`, part by part; `before` leaves out later events. The study is a file of JSON lines.

    Raises: DataError when there is nothing to judge by; ConfigError for a study of other data or another seed.
    """
    key = f"{fingerprint} {before} {seed} {_JUDGING} {start.valid_share} {start.judges} {start.k}"
    known = _read(study, key)
    folds = _folds(dataset, start, before, seed)
    params, measured, best, default = start, 0, {}, {}
    for family in families():
        if family.name not in start.parts or not family.suits(folds[0].seen.signed):
            continue
        family = replace(
            family, params=getattr(start, family.name), grid=_with(family.grid, getattr(start, family.name))
        )
        kind = type(family.params)
        earlier = {kind(**each): value for name, each, value in known if name == family.name}
        climb = Climb(family, folds, start.k, seed, earlier, partial(_append, study, key, family.name))
        on_progress(f"tune {family.name}", 0, None)
        chosen = climb.best(any(np.any(fold.seen.signed.data < 0) for fold in folds))
        params = replace(params, **{family.name: chosen})
        best[family.name], default[family.name] = climb.tried[chosen], climb.tried[family.params]
        measured += len(climb.tried)
    return Tuned(
        params=params,
        default=default,
        best=best,
        n_measured=measured,
        n_known=len(known),
        n_judges=sum(len(fold.people) for fold in folds),
    )


def as_yaml(params: TasteParams) -> str:
    """The settings as a file for `sanad train --config`."""
    plain = json.loads(json.dumps(asdict(params)))
    out = StringIO()
    YAML(typ="safe", pure=True).dump(plain, out)
    return out.getvalue()


def _folds(dataset: Dataset, params: TasteParams, before: Millis | None, seed: int) -> tuple[Fold, ...]:
    """Those who judge in `sanad train` too."""
    seen = build_interactions(dataset, before=before)
    share, judges = params.valid_share, params.judges
    found = tuple(windows(dataset, seen, PopularityParams(), before, share=share, judges=judges, seed=seed))
    if not found:
        raise DataError(
            "found nobody who came back for something new, expected people to judge by; give more events, of more than "
            "one instant"
        )
    rng = np.random.default_rng(seed)
    return tuple(
        Fold(Observed(each.early.signed()), each.tastes, each.wanted, rng.permutation(len(each.rows))) for each in found
    )


def _with(grid: Mapping[str, tuple[Any, ...]], params: Any) -> dict[str, tuple[Any, ...]]:
    """The grid with the values that the search starts from among its own."""
    return {name: tuple(sorted({*values, getattr(params, name)})) for name, values in grid.items()}


def _append(study: Path, key: str, name: str, params: Any, value: float) -> None:
    line = json.dumps({"key": key, "part": name, "params": asdict(params), "ndcg": value})
    with study.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _read(study: Path, key: str) -> list[tuple[str, dict[str, Any], float]]:
    """
    What was measured. A last line that a kill tore is taken out of the file, so that the next is not glued to it.

    Raises: ConfigError for a study of something else, and for a file that is none.
    """
    found = []
    text = study.read_text("utf-8", "replace") if study.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    torn = text[len(whole) :]
    if not torn.startswith(_LINE[: len(torn)]):
        raise ConfigError(f"{study}: found {torn[:60]!r} at its end, expected lines of a study; choose another --study")
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            said = json.loads(line)
            if said["key"] != key:
                raise ConfigError(
                    f"{study}:{number}: found a study of other data, another holdout, seed or judges, expected one of "
                    "this; choose another --study or remove it"
                )
            found.append((str(said["part"]), dict(said["params"]), float(said["ndcg"])))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{study}:{number}: found {line[:60]!r}, expected a line of a study; choose another --study"
            ) from error
    if torn:
        study.write_text(whole, "utf-8")
    return found
