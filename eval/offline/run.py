"""Offline evaluation of an artifact: load, hold out, sample, replay, measure."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from eval.offline.ages import assume_adults
from eval.offline.holdout import cutoff_of, hold_out, sample
from eval.offline.measure import Report, measure
from eval.offline.reliability import reliability
from eval.offline.replay import replay
from eval.offline.same_data import compare_data
from recsys.clock import Millis
from recsys.models.artifact import load_artifact
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from recsys.progress import Progress, quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalParams:
    """
    `k`: items per page and cut-off of the metrics. `n_people`: at most so many, drawn by `seed`; None = all.
    `until`: events from this instant on are ignored, for data with a published validation part. `assume_adults`: people
    of unknown age count as adults, see `eval.offline.ages`.
    """

    k: int = 20
    n_people: int | None = 2_000
    seed: int = 0
    until: Millis | None = None
    assume_adults: bool = False


def evaluate(
    artifact: Path, data: Path, policy: Path, params: EvalParams, *, on_progress: Progress = quiet
) -> tuple[Report, Market]:
    """
    The report on an artifact, from the events of `data` that it did not learn from; and the market of `policy`.

    Equal files, policy and parameters give equal reports. Raises: ArtifactError, ConfigError or DataError, also for
    data that the artifact did not learn from.
    """
    on_progress("artifact", 0, None)
    loaded, market = load_artifact(artifact), load_market(policy)
    on_progress("the data behind the artifact", 0, None)
    data_notes = compare_data(loaded, data, cutoff_of(loaded), params.until)
    on_progress("held-out events", 0, None)
    holdout = hold_out(loaded, data, until=params.until)
    people = sample(holdout, params.n_people, np.random.default_rng([params.seed, 1]))
    if params.assume_adults:
        loaded = assume_adults(loaded, [person.user_id for person in people])
    with threadpool_limits(1):  # a page is small: threads that wait for each other make it slow
        replayed = replay(loaded, market, people, k=params.k, on_progress=on_progress)
        on_progress("reliability", 0, None)
        by_head = reliability(loaded, data, params.until)
    report = measure(replayed, loaded, market, holdout, by_head, k=params.k, seed=params.seed)
    return msgspec.structs.replace(report, assume_adults=params.assume_adults, data_notes=data_notes), market
