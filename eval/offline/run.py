"""Offline evaluation of an artifact: load, hold out, sample, replay, measure."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from eval.offline.against import Against, compare, people_of, shared_relevant
from eval.offline.ages import assume_adults
from eval.offline.base_models import chosen_models
from eval.offline.holdout import HeldOutUser, cutoff_of, hold_out, sample
from eval.offline.intervals import resample
from eval.offline.leaks import check_past
from eval.offline.measure import Report, measure, per_person
from eval.offline.reliability import reliability
from eval.offline.replay import ReplayResult, replay
from eval.offline.same_data import compare_data
from recsys.clock import Millis
from recsys.models.artifact import Artifact, load_artifact
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from recsys.progress import Progress, quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalParams:
    """
    `k`: items per page and cut-off of the metrics; `ks`: further cut-offs. `n_people`: at most so many, drawn by
    `seed`; None = all. `until`: events from this instant on are ignored, for data with a published validation part.
    `assume_adults`: people of unknown age count as adults, see `eval.offline.ages`. `models`: base models to report,
    None = all of the artifact.
    """

    k: int = 20
    ks: tuple[int, ...] = (5, 10)
    models: tuple[str, ...] | None = None
    n_people: int | None = 2_000
    seed: int = 0
    until: Millis | None = None
    assume_adults: bool = False


def evaluate(
    artifact: Path,
    data: Path,
    policy: Path,
    params: EvalParams,
    *,
    against: Path | None = None,
    on_progress: Progress = quiet,
) -> tuple[Report, Market]:
    """
    The report on an artifact, from the events of `data` that it did not learn from; and the market of `policy`.
    `against` is another artifact, to be compared on the same people.

    Equal files, policy and parameters give equal reports. Raises: ArtifactError, ConfigError or DataError, also for
    data that the artifact did not learn from, and for an artifact that learned from what it is evaluated on.
    """
    on_progress("artifact", 0, None)
    loaded, market = load_artifact(artifact), load_market(policy)
    chosen_models(loaded, params.models)
    other = None if against is None else load_artifact(against)
    on_progress("the data behind the artifact", 0, None)
    cutoff = cutoff_of(loaded)
    data_notes = compare_data(loaded, data, cutoff, params.until)
    check_past(loaded, cutoff)
    on_progress("held-out events", 0, None)
    holdout = hold_out(loaded, data, until=params.until)
    people = sample(holdout, params.n_people, np.random.default_rng([params.seed, 1]))
    theirs = None if other is None else _people_of(other, loaded, people, data, params)
    if other is not None:
        data_notes += [f"B: {note}" for note in compare_data(other, data, cutoff, params.until)]
    loaded = _aged(loaded, people, params)
    with threadpool_limits(1):  # a page is small: threads that wait for each other make it slow
        replayed = replay(loaded, market, people, k=params.k, models=params.models, on_progress=on_progress)
        beside = None
        if other is not None and theirs is not None:
            other = _aged(other, people, params)
            beside = replay(other, market, theirs, k=params.k, models=(), on_progress=on_progress)
        on_progress("reliability", 0, None)
        by_head = reliability(loaded, data, params.until)
    report = measure(replayed, loaded, market, holdout, by_head, k=params.k, seed=params.seed, ks=params.ks)
    if other is not None and beside is not None:
        report = msgspec.structs.replace(report, against=_against(other.version, replayed, beside, market, params))
    return msgspec.structs.replace(report, assume_adults=params.assume_adults, data_notes=data_notes), market


def _people_of(
    other: Artifact, artifact: Artifact, people: tuple[HeldOutUser, ...], data: Path, params: EvalParams
) -> tuple[HeldOutUser, ...]:
    """The same people for the other artifact, after the same checks."""
    mapped = people_of(other, artifact, people)
    check_past(other, cutoff_of(other))
    return mapped


def _aged(artifact: Artifact, people: tuple[HeldOutUser, ...], params: EvalParams) -> Artifact:
    return assume_adults(artifact, [person.user_id for person in people]) if params.assume_adults else artifact


def _against(version: str, replayed: ReplayResult, beside: ReplayResult, market: Market, params: EvalParams) -> Against:
    """What is relevant is the same for both: that of the first."""
    ours = per_person(replayed, market, params.k)
    theirs = per_person(beside, market, params.k, replayed.n_relevant)
    resamples = resample(len(replayed.people), np.random.default_rng([params.seed, 4]))
    return compare(version, shared_relevant(beside.people, replayed.people), ours, theirs, resamples)
