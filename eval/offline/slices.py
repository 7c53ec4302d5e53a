"""The same numbers for parts of the people, and for items by how large their creators are."""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from eval.offline.intervals import Difference, Estimate, corrected, difference, estimate, resample
from eval.offline.quality import item_counts
from eval.offline.replay import RANKINGS, ReplayResult
from recsys import metrics
from recsys.metrics import EMPTY
from recsys.models.artifact import Artifact
from recsys.types import Longs, Mask, Pages, Reals

MIN_GROUP_SIZE: Final = 5
"""Smaller groups are left out of the breakdowns: their means are noise and could identify a person."""
SEGMENT_METRICS: Final = ("recall", "ndcg", "local_share", "fill_rate")
HISTORY_SEGMENTS: Final = (
    ("cold, liked nothing before", 0, 0),
    ("warm, liked 1 to 9", 1, 9),
    ("hot, liked 10 or more", 10, 10**9),
)
CREATOR_SIZES: Final = (("large", 0.5), ("medium", 0.8), ("small", 1.0))
"""The largest creators that together hold half of all interactions, the next up to four fifths, and all others."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """
    A part of the people: `kind` is market, region, language, age_band or history. `difference`: NDCG of the engine less
    popularity, with a p-value corrected for all segments of the report.
    """

    kind: str
    name: str
    n_people: int
    values: dict[str, dict[str, Estimate]]
    difference: Difference


class CreatorSize(msgspec.Struct, frozen=True, kw_only=True):
    """
    Creators of one size: how many, their share of what could be shown, and by ranking their share of attention and the
    recall of what is relevant of theirs.
    """

    name: str
    n_creators: int
    eligible_share: float
    exposure: dict[str, float]
    recall: dict[str, Estimate]


def segments(values: Mapping[str, dict[str, Reals]], replayed: ReplayResult, rng: np.random.Generator) -> list[Segment]:
    """Every segment of at least `MIN_GROUP_SIZE` people, the largest of each kind first."""
    kinds = {
        "market": replayed.country,
        "region": tuple(region or "unknown" for region in replayed.region),
        "language": replayed.language,
        "age_band": replayed.age_band,
        "history": tuple(_history_segment(int(n)) for n in replayed.n_liked),
    }
    found = []
    for kind, of_people in kinds.items():
        names, numbers, counts = np.unique(np.array(of_people, np.str_), return_inverse=True, return_counts=True)
        for number in np.argsort(-counts, kind="stable"):
            if counts[number] >= MIN_GROUP_SIZE:
                found.append(_segment(kind, str(names[number]), numbers == number, values, rng))
    differences = corrected([segment.difference for segment in found])
    return [
        msgspec.structs.replace(segment, difference=difference)
        for segment, difference in zip(found, differences, strict=True)
    ]


def _segment(
    kind: str, name: str, members: Mask, values: Mapping[str, dict[str, Reals]], rng: np.random.Generator
) -> Segment:
    resamples = resample(int(members.sum()), rng)
    ndcg = {ranking: column[members] for ranking, column in values["ndcg"].items()}
    return Segment(
        kind=kind,
        name=name,
        n_people=int(members.sum()),
        values={
            metric: {ranking: estimate(column[members], resamples) for ranking, column in values[metric].items()}
            for metric in SEGMENT_METRICS
        },
        difference=difference("ndcg", "engine", "popularity", ndcg, resamples),
    )


def _history_segment(n_liked: int) -> str:
    return next(name for name, low, high in HISTORY_SEGMENTS if low <= n_liked <= high)


def creator_sizes(replayed: ReplayResult, artifact: Artifact, rng: np.random.Generator) -> list[CreatorSize]:
    """Large, medium and small creators, by interactions before the cutoff; a size without creators is left out."""
    items = replayed.items
    size_of_item, n_creators = _sizes(replayed, item_counts(replayed, artifact))
    supply = replayed.n_eligible.astype(np.float64)
    attention = {name: metrics.exposure(replayed.pages[name], len(items)) for name in RANKINGS}
    resamples = resample(len(replayed.people), rng)
    found = []
    for size, (name, _) in enumerate(CREATOR_SIZES):
        if not n_creators[size]:
            continue
        is_of_size = size_of_item == size
        n_relevant = np.array([int(is_of_size[relevant].sum()) for relevant in replayed.relevant])
        recall = {
            ranking: metrics.recall(hits & _of_slots(is_of_size, replayed.pages[ranking]), n_relevant, hits.shape[1])
            for ranking, hits in replayed.is_relevant.items()
        }
        found.append(
            CreatorSize(
                name=name,
                n_creators=int(n_creators[size]),
                eligible_share=share_of(supply, is_of_size),
                exposure={ranking: share_of(amounts, is_of_size) for ranking, amounts in attention.items()},
                recall={ranking: estimate(column, resamples) for ranking, column in recall.items()},
            )
        )
    return found


def _sizes(replayed: ReplayResult, counts: Longs) -> tuple[Longs, Longs]:
    """(n_items,) each item's size of creator, -1 for one that nobody could be shown; (3,) creators of each size."""
    is_open = replayed.n_eligible > 0
    creators, number = np.unique(replayed.items.creator_no, return_inverse=True)
    totals = np.bincount(number, counts, len(creators))
    order = np.argsort(-totals, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(totals[order])[:-1]]) / max(totals.sum(), 1)
    size = np.empty(len(creators), np.int64)
    size[order] = np.searchsorted([end for _, end in CREATOR_SIZES[:-1]], before, side="right")
    size[totals == 0] = len(CREATOR_SIZES) - 1
    has_open = np.bincount(number[is_open], minlength=len(creators)) > 0
    return np.where(is_open, size[number], -1), np.bincount(size[has_open], minlength=len(CREATOR_SIZES))


def _of_slots(mask: Mask, pages: Pages) -> Mask:
    return np.asarray((pages != EMPTY) & mask[np.where(pages == EMPTY, 0, pages)])


def share_of(amounts: Reals, mask: Mask) -> float:
    """The part of the amounts that stands where the mask is."""
    return float(amounts[mask].sum() / max(amounts.sum(), 1e-12))
