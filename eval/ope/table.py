"""
Any table of logged choices, and a policy given as a table of probabilities.

A log has a row for each choice: `action`, `propensity` and `reward`; further `context`, `user_id` (whoever is
resampled as one; default: each page), `position` (from 1), `slate` (the page of a choice; default: each row),
`place_propensity`, `predicted` and `direct`. A policy has `action` and `probability`, for each `context` and
`position` that it names.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from eval.ope.outcome import expected_rewards, rewards_to_come
from eval.ope.rounds import Choices, Rounds, Target, propensity_problem
from recsys.data.files import READABLE, format_of
from recsys.data.tables import reading
from recsys.errors import DataError
from recsys.types import Longs, Reals

REQUIRED: Final = ("action", "propensity", "reward")
OPTIONAL: Final = ("context", "user_id", "position", "slate", "place_propensity")
_TOLERANCE: Final = 1e-6
UNIFORM: Final = "uniform"


def read_frame(path: Path, names: Mapping[str, str], required: Sequence[str]) -> pl.DataFrame:
    """
    The columns of a table file under the names of this module; `names` says what they are called in the file.

    Raises:  DataError for a file of another form, a damaged one, and missing columns.
    """
    form = format_of(path.name)
    if form is None or not path.is_file():
        raise DataError(f"found {path}, expected a dataset folder, or a table in {READABLE}; correct the path")
    with reading(path.name):
        if form == "parquet":
            frame = pl.read_parquet(path)
        elif form == "jsonl":
            frame = pl.read_ndjson(path, infer_schema_length=None)
        else:
            frame = pl.read_csv(path, separator="\t" if form == "tsv" else ",", infer_schema=False)
    missing = [names.get(name, name) for name in (*required, *names) if names.get(name, name) not in frame.columns]
    if missing:
        raise DataError(
            f"{path}: found the columns {', '.join(frame.columns[:30])}, and not {', '.join(dict.fromkeys(missing))}; "
            "name a column that is called otherwise by --column, such as --column reward=click"
        )
    return frame.with_columns(pl.col(told).alias(name) for name, told in names.items())


def rounds_of(frame: pl.DataFrame, path: Path) -> Rounds:
    """
    The choices of a table, sorted by page and place.

    Raises:  DataError for an empty table, a propensity that is none, and a value that is no number.
    """
    if not len(frame):
        raise DataError(f"{path}: {propensity_problem(np.empty(0))}")
    logged = numbers(frame, "propensity", path, is_required=False)
    placed = numbers(frame, "place_propensity", path, is_required=False) if "place_propensity" in frame else logged
    for name, values in (("propensity", logged), ("place_propensity", placed)):
        if problem := propensity_problem(values, name):
            raise DataError(f"{path}: {problem}")
    actions, action_ids = _numbered(frame["action"], path)
    row = np.arange(len(frame))
    slates = _numbered(frame["slate"], path)[0] if "slate" in frame else row
    people = _numbered(frame["user_id"], path)[0] if "user_id" in frame else slates
    positions = _positions(frame, path)
    if len(np.unique(np.stack([slates, positions]), axis=1).T) < len(frame):
        raise DataError(
            f"{path}: found a page with two choices at one place, expected one; give each page its own slate"
        )
    return Rounds(
        people=people, slates=slates, positions=positions, actions=actions,
        rewards=numbers(frame, "reward", path), logged=logged, placed=placed, action_ids=action_ids,
    )  # fmt: skip


def sort_rows(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The rows by page and place, as `rounds_of` needs them; as they are where there are no pages."""
    if "slate" not in frame.columns:
        return frame
    order = np.lexsort((_positions(frame, path), _numbered(frame["slate"], path)[0]))
    return frame[order]


def _positions(frame: pl.DataFrame, path: Path) -> Longs:
    if "position" not in frame.columns:
        if "slate" in frame.columns:
            raise DataError(f"{path}: found slate without position, expected the place of each choice, from 1")
        return np.ones(len(frame), np.int64)
    places = numbers(frame, "position", path)
    if not ((places >= 0) & (places == np.floor(places))).all():
        raise DataError(f"{path}: column position: found {places.min():g} to {places.max():g}, expected whole numbers")
    return places.astype(np.int64)


def numbers(frame: pl.DataFrame, name: str, path: Path, *, is_required: bool = True) -> Reals:
    """A column (n,) as numbers, NaN for nothing. Raises DataError, also for NaN where one is required."""
    column = frame[name]
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean, pl.Null)):
        raise DataError(f"{path}: column {name}: found {column.dtype}, expected numbers")
    values = column.cast(pl.Float64, strict=False)
    unreadable = (values.is_null() & column.is_not_null()).arg_true()
    if len(unreadable):
        row = unreadable[0]
        raise DataError(f"{path}: column {name}: found {str(column[row])[:40]!r} in row {row + 1}, expected a number")
    found = values.fill_null(float("nan")).to_numpy()
    missing = np.flatnonzero(~np.isfinite(found))
    if is_required and len(missing):
        value = found[missing[0]]
        what = "nothing" if np.isnan(value) else f"{value:g}"
        raise DataError(f"{path}: column {name}: found {what} in row {missing[0] + 1}, expected a number in every row")
    return np.asarray(found, np.float64)


def _numbered(column: pl.Series, path: Path) -> tuple[Longs, list[str]]:
    """Numbers of a column's values (n,), and the values in their order."""
    if column.null_count():
        row = column.is_null().arg_true()[0]
        raise DataError(f"{path}: column {column.name}: found nothing in row {row + 1}, expected a value in every row")
    if column.dtype.is_nested():
        raise DataError(f"{path}: column {column.name}: found {column.dtype}, expected texts or numbers")
    values, number = np.unique(column.cast(pl.String).to_numpy().astype(object), return_inverse=True)
    return number.astype(np.int64), [str(value) for value in values]


# ---- policies ----


def uniform(rounds: Rounds) -> Choices:
    """The policy that chooses each action of the log with the same probability."""
    places, situation = np.unique(rounds.positions, return_inverse=True)
    n = len(rounds.action_ids)
    return Choices(
        situation_of=situation.astype(np.int64),
        situations=np.repeat(np.arange(len(places)), n),
        actions=np.tile(np.arange(n), len(places)),
        probabilities=np.full(n * len(places), 1 / n),
    )


def policy_choices(policy: pl.DataFrame, path: Path, frame: pl.DataFrame, rounds: Rounds) -> Choices:
    """
    What a table of probabilities would choose at each logged choice.

    Raises:  DataError for a probability that is none, probabilities of a situation that do not add up to 1, a
             situation of the log that the policy says nothing about, and a policy about other actions.
    """
    keys = [name for name in ("context", "position") if name in policy.columns]
    if missing := [name for name in keys if name not in frame.columns]:
        raise DataError(
            f"{path}: found the column {missing[0]}, which the log does not have; add it there or drop it here"
        )
    chances = numbers(policy, "probability", path)
    if not ((chances >= 0) & (chances <= 1)).all():
        raise DataError(f"{path}: column probability: found {chances.min():g} to {chances.max():g}, expected 0 to 1")
    _numbered(policy["action"], path)  # says what is wrong with it
    numbered = {action: number for number, action in enumerate(rounds.action_ids)}
    actions = np.array([numbered.get(action, -1) for action in policy["action"].cast(pl.String)], np.int64)
    if (actions < 0).all():
        raise DataError(
            f"{path}: found none of the {len(numbered):,} actions of the log: it is the log of another catalogue; "
            "name the log and the policy of one catalogue"
        )
    if len(twice := policy.filter(policy.select(*keys, "action").is_duplicated())):
        raise DataError(
            f"{path}: found the action {twice['action'][0]} twice in one situation, expected one probability"
        )
    rows, of_log = _text_keys(policy, keys), _text_keys(frame, keys)
    situations, inverse = np.unique(rows, return_inverse=True)
    totals = np.bincount(inverse, chances)
    if (wrong := np.flatnonzero(np.abs(totals - 1) > _TOLERANCE)).size:
        where = f" for {situations[wrong[0]]}" if keys else ""
        raise DataError(f"{path}: found probabilities that add up to {totals[wrong[0]]:g}{where}, expected 1")
    at = np.minimum(np.searchsorted(situations, of_log), len(situations) - 1)
    if (unknown := np.flatnonzero(situations[at] != of_log)).size:
        raise DataError(f"{path}: found nothing about {of_log[unknown[0]]}, expected probabilities for all of the log")
    return _split_by_place(at, inverse, actions, chances, rounds.positions)


def _text_keys(frame: pl.DataFrame, keys: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    if not keys:
        return np.full(len(frame), "everything", object)
    parts = [pl.format("{} {}", pl.lit(key), pl.col(key).cast(pl.String)) for key in keys]
    return frame.select(pl.concat_str(parts, separator=", ").fill_null("?")).to_series().to_numpy().astype(object)


def _split_by_place(situation: Longs, of_row: Longs, actions: Longs, chances: Reals, positions: Longs) -> Choices:
    """The choices with a situation for each pair of a policy's situation and a place of the log."""
    pairs, pair_of = np.unique(np.stack([situation, positions], axis=1), axis=0, return_inverse=True)
    order = np.argsort(of_row, kind="stable")
    begins = np.searchsorted(of_row[order], pairs[:, 0], side="left")
    ends = np.searchsorted(of_row[order], pairs[:, 0], side="right")
    rows = np.concatenate([order[begin:end] for begin, end in zip(begins, ends, strict=True)])
    return Choices(
        situation_of=pair_of.astype(np.int64),
        situations=np.repeat(np.arange(len(pairs)), ends - begins),
        actions=actions[rows],
        probabilities=chances[rows],
    )


def target_of_choices(rounds: Rounds, choices: Choices, seed: int) -> Target:
    """A policy whose choices are known, with the outcome model of `eval.ope.outcome`."""
    chosen = choices.of(rounds.actions)
    direct, predicted = expected_rewards(rounds, choices, rounds.rewards, seed)
    if not rounds.has_slates:
        return Target(chosen=chosen, placed=chosen, direct=direct, predicted=predicted)
    direct_rest, predicted_rest = expected_rewards(rounds, choices, rewards_to_come(rounds), seed)
    return Target(
        chosen=chosen, placed=chosen, direct=direct, predicted=predicted, direct_rest=direct_rest,
        predicted_rest=predicted_rest,
    )  # fmt: skip


def target_of_columns(frame: pl.DataFrame, name: str, path: Path) -> Target:
    """A policy whose probability of each logged choice stands in the log itself; `place_<name>` where there is one."""

    def column(column: str) -> Reals | None:
        return numbers(frame, column, path) if column in frame.columns else None

    chosen = numbers(frame, name, path)
    placed = column(f"place_{name}")
    for values in (chosen, placed):
        if values is not None and not ((values >= 0) & (values <= 1)).all():
            raise DataError(f"{path}: column {name}: found {values.min():g} to {values.max():g}, expected 0 to 1")
    return Target(
        chosen=chosen, placed=chosen if placed is None else placed, direct=column("direct"),
        predicted=column("predicted"), direct_rest=column("direct_rest"), predicted_rest=column("predicted_rest"),
    )  # fmt: skip
