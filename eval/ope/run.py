"""Off-policy evaluation as one call: read the log, ask the policy, estimate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
from threadpoolctl import threadpool_limits

from eval.offline.ages import assume_adults
from eval.offline.intervals import N_RESAMPLES
from eval.ope.artifact_policy import known_until, target_of_artifact
from eval.ope.diagnostics import diagnose
from eval.ope.pages import REWARDS, ServedLog, read_served
from eval.ope.report import CLIP, OpeReport, estimate_values, logged_value
from eval.ope.rounds import Rounds, Target
from eval.ope.table import (
    OPTIONAL,
    REQUIRED,
    UNIFORM,
    policy_choices,
    read_frame,
    rounds_of,
    sort_rows,
    target_of_choices,
    target_of_columns,
    uniform,
)
from recsys.clock import Millis, to_text
from recsys.data.tables import read_dataset, reading
from recsys.errors import ConfigError
from recsys.models.artifact import load_artifact
from recsys.policy.checks import load_market
from recsys.progress import Progress, quiet

OF_EXPLORED: Final = (
    "the mean {reward} of an explored slot, filled as the policy would: pages of this log are certain but for those "
    "slots, so it says nothing about the other places"
)
OF_PLACES: Final = "the mean {reward} of a place of a page: most places of this log were drawn at random"
OF_TABLE: Final = "the mean {reward} of a choice under the policy, over the situations of the log"
_REPORTED: Final = ("event_id", "user_id", "kind", "at", "item_id", "creator_id", "query", "value", "watch_fraction")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeParams:
    """`columns`: what columns of a table are called in it. `max_pages`: of a dataset, drawn by `seed`."""

    reward: str = "watch"
    columns: Mapping[str, str] = field(default_factory=dict)
    clip: float = CLIP
    seed: int = 0
    n_resamples: int = N_RESAMPLES
    max_pages: int = 2_000
    assume_adults: bool = False


def evaluate_policy(
    log: Path, policy: str, market: Path, params: OpeParams, *, on_progress: Progress = quiet
) -> OpeReport:
    """
    The value of a policy from the log of another one. `log` is a dataset folder or a table, see `eval.ope.table`.

    `policy`: an artifact for a dataset; for a table a file of probabilities, `uniform`, or a column of the log.
    Raises: DataError, ConfigError or ArtifactError, also when the log holds nothing of what the policy would choose.
    """
    on_progress("read the log", 0, None)
    if log.is_dir():
        served = _served(log, policy, params)
        target, notices = _artifact_target(log, served, Path(policy), market, params, on_progress)
        rounds, notices = served.rounds, (*served.notices, *notices)
        estimand = (OF_EXPLORED if served.is_explored_only else OF_PLACES).format(reward=params.reward)
    else:
        rounds, target = _of_table(log, policy, params)
        notices, estimand = (), OF_TABLE.format(reward=params.columns.get("reward", "reward"))
    on_progress("estimate", 0, None)
    return OpeReport(
        log=str(log),
        policy=policy,
        reward=params.reward if log.is_dir() else params.columns.get("reward", "reward"),
        estimand=estimand,
        clip=params.clip,
        seed=params.seed,
        values=estimate_values(rounds, target, clip=params.clip, seed=params.seed, n_resamples=params.n_resamples),
        logged=logged_value(rounds, params.seed, params.n_resamples),
        diagnostics=diagnose(rounds, target, params.clip),
        notices=list(notices),
    )


def _served(log: Path, policy: str, params: OpeParams) -> ServedLog:
    if params.reward not in REWARDS:
        raise ConfigError(f"--reward: found {params.reward!r}, expected one of {', '.join(REWARDS)}")
    if params.columns:
        raise ConfigError(f"--column: found it with the dataset {log}, expected it with a table; leave it out")
    if not Path(policy).is_dir():
        raise ConfigError(f"--policy: found {policy!r} for the dataset {log}, expected the folder of an artifact")
    return read_served(log, params.reward, params.max_pages, params.seed)


def _artifact_target(
    log: Path, served: ServedLog, policy: Path, market: Path, params: OpeParams, on_progress: Progress
) -> tuple[Target, tuple[str, ...]]:
    on_progress("artifact", 0, None)
    artifact = load_artifact(policy)
    if params.assume_adults:
        artifact = assume_adults(artifact, served.frame["user_id"].unique().to_list())
    with threadpool_limits(1):  # a page is small: threads that wait for each other make it slow
        target, alerts = target_of_artifact(
            served, artifact, load_market(market), _events_of(log, served), params.seed, on_progress
        )
    return target, (*_learned_from(served, known_until(artifact)), *alerts)


def _events_of(log: Path, served: ServedLog) -> pl.DataFrame:
    """All events of the log's people, in the columns of a reported event."""
    people = served.frame["user_id"].unique().implode()
    with reading("events"):
        return (
            read_dataset(log)
            .events.filter(pl.col("user_id").is_in(people))
            .select(*_REPORTED)
            .collect(engine="streaming")
        )


def _learned_from(served: ServedLog, cutoff: Millis) -> tuple[str, ...]:
    n_before = int((served.frame["at"] < cutoff).sum())
    if not n_before:
        return ()
    return (
        f"{n_before:,} of {len(served.frame):,} choices were made before {to_text(cutoff)}, until when the artifact "
        "learned: it may have learned from their rewards, which makes it look better than it is.",
    )


def _of_table(log: Path, policy: str, params: OpeParams) -> tuple[Rounds, Target]:
    extra = {*REQUIRED, *OPTIONAL, "predicted", "direct", "predicted_rest", "direct_rest"}
    if unknown := set(params.columns) - extra:
        raise ConfigError(f"--column: found {min(unknown)!r}, expected one of {', '.join(sorted(extra))}")
    frame = read_frame(log, params.columns, REQUIRED)
    if len(frame):
        frame = sort_rows(frame, log)
    rounds = rounds_of(frame, log)
    if policy == UNIFORM:
        return rounds, target_of_choices(rounds, uniform(rounds), params.seed)
    if policy in frame.columns:
        return rounds, target_of_columns(frame, policy, log)
    path = Path(policy)
    if not path.is_file():
        raise ConfigError(
            f"--policy: found {policy!r}, expected for a table: a file of probabilities, {UNIFORM!r}, or a column of "
            f"{log} that holds the policy's probability of each choice"
        )
    table = read_frame(path, {}, ("action", "probability"))
    return rounds, target_of_choices(rounds, policy_choices(table, path, frame, rounds), params.seed)
