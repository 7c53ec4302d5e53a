"""Two artifacts on the same people: B is asked for the same people's pages at the same instants."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

from eval.offline.holdout import HeldOutImpressions, HeldOutUser, cutoff_of
from eval.offline.intervals import Difference, Estimate, Resamples, corrected, difference, estimate
from recsys.clock import to_text
from recsys.errors import DataError
from recsys.models.artifact import Artifact
from recsys.types import Ids, Reals

COMPARED_RANKINGS: Final = ("engine", "score")
COMPARED_METRICS: Final = ("watch", "recall", "ndcg", "local_share", "supportive_share", "R0", "R1", "fill_rate")
MIN_SHARED_RELEVANT: Final = 0.5
"""The share of the relevant items that B must know: with fewer its catalogue is another one."""


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """
    The other artifact, B: metric -> ranking -> estimate, and differences of this one less B. `relevant_known`: the
    share of the relevant items that B knows; one that it does not know counts as missed.
    """

    model_version: str
    relevant_known: float
    values: dict[str, dict[str, Estimate]]
    differences: list[Difference]


def people_of(other: Artifact, artifact: Artifact, people: Sequence[HeldOutUser]) -> tuple[HeldOutUser, ...]:
    """
    The same people in the rows of the other artifact; items that it does not have are left out.

    Raises: DataError when its cutoff differs, or when it knows less than `MIN_SHARED_RELEVANT` of what is relevant.
    """
    if (theirs := cutoff_of(other)) != (ours := cutoff_of(artifact)):
        raise DataError(
            f"found --against with the cutoff {to_text(theirs)}, expected that of ARTIFACT, {to_text(ours)}: one of "
            "the two would have learned from days that the other is evaluated on; train both with equal --holdout-days"
        )
    rows = {item_id: row for row, item_id in enumerate(other.items["item_id"].to_list())}
    row_of = np.array([rows.get(item_id, -1) for item_id in artifact.items["item_id"].to_list()], np.int32)
    mapped = tuple(_mapped(person, row_of) for person in people)
    known = shared_relevant(mapped, people)
    if known < MIN_SHARED_RELEVANT:
        raise DataError(
            f"found --against with {known:.0%} of the held-out relevant videos in its catalogue, expected at least "
            f"{MIN_SHARED_RELEVANT:.0%}: it learned from another catalogue"
        )
    return mapped


def shared_relevant(mapped: Sequence[HeldOutUser], people: Sequence[HeldOutUser]) -> float:
    """The share of the relevant items of all people that the other artifact knows."""
    total = sum(len(person.relevant) for person in people)
    return sum(len(person.relevant) for person in mapped) / max(total, 1)


def _mapped(person: HeldOutUser, row_of: Ids) -> HeldOutUser:
    impressions, at = person.impressions, row_of[person.impressions.rows]
    order = np.argsort(at, kind="stable")
    order = order[at[order] >= 0]
    return replace(
        person,
        relevant=_known(row_of[person.relevant]),
        exposed=_known(row_of[person.exposed]),
        seen=_known(row_of[person.seen]),
        liked=_known(row_of[person.liked]),
        impressions=HeldOutImpressions(
            rows=at[order], response=impressions.response[order], propensity=impressions.propensity[order]
        ),
    )


def _known(rows: Ids) -> Ids:
    return np.sort(rows[rows >= 0])


def compare(
    version: str,
    relevant_known: float,
    ours: Mapping[str, Mapping[str, Reals]],
    theirs: Mapping[str, Mapping[str, Reals]],
    resamples: Resamples,
) -> Against:
    """The comparison, from the values of each person: metric -> ranking -> (q,)."""
    differences = [
        difference(metric, f"A {ranking}", f"B {ranking}", _pair(ranking, ours[metric], theirs[metric]), resamples)
        for metric in COMPARED_METRICS
        for ranking in COMPARED_RANKINGS
        if not (metric == "watch" and ranking == "engine")
    ]
    return Against(
        model_version=version,
        relevant_known=relevant_known,
        values={
            metric: {ranking: estimate(theirs[metric][ranking], resamples) for ranking in COMPARED_RANKINGS}
            for metric in COMPARED_METRICS
        },
        differences=corrected(differences),
    )


def _pair(ranking: str, ours: Mapping[str, Reals], theirs: Mapping[str, Reals]) -> dict[str, Reals]:
    return {f"A {ranking}": ours[ranking], f"B {ranking}": theirs[ranking]}
