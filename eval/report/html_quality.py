"""Rows of the report's tables on cut-offs, variety, base models, segments, creators and the other artifact."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from eval.offline.intervals import Difference, Estimate
from eval.offline.measure import Report
from eval.offline.replay import RANKINGS
from eval.report.wording import RANKING_NAMES, metric_name, number, p_value, signed, verdict_among, with_interval

ACCURACY_NOTE: Final = (
    "Means over people with 95 % intervals. NDCG has two ideals: as many hits on top as the person has relevant "
    "videos, or a full page of them. By inverse propensity, a relevant video that was rarely shown counts for more."
)
VARIETY_NOTE: Final = (
    "Overlap is the share of a page that another person's page also holds: 1 is one page for everybody. Novelty is in "
    "bits: one more for half as many people who know a video. Miscalibration is the divergence from what the person "
    "liked before: 0 is proportion. The long tail is all but the videos that hold four fifths of the interactions."
)
MODELS_NOTE: Final = (
    "Each base model of the blend alone, on the videos that the engine could show to the same person; a person without "
    "a history gets the same page from all but popularity. p is of the paired t-test of NDCG less the score's, "
    "corrected for all rows (Holm)."
)
SEGMENTS_NOTE: Final = (
    "NDCG of the engine less popularity's in each part of the people; p is corrected for all rows (Holm). Among many "
    "parts one looks different by chance alone, so read the corrected p."
)
CREATORS_NOTE: Final = (
    "Large creators are the fewest that together hold half of all interactions, medium ones the next up to four "
    "fifths. Attention is by position; recall is of relevant videos of these creators."
)
DIFFERENCE_HEAD: Final = ("", "mean, 95 %", "", "p, Holm", "better / equal / worse")
MODELS_HEAD_METRICS: Final = ("ndcg", "recall", "map", "mrr", "coverage", "novelty", "overlap", "tail_share")
SEGMENTS_HEAD: Final = (
    "",
    "NDCG, engine",
    "NDCG, popularity",
    "difference, 95 %",
    "p, Holm",
    "local share",
    "fill rate",
)
CREATORS_HEAD: Final = ("", "of what could be shown", "attention: engine", "popularity", "recall: engine", "popularity")
_KINDS: Final = {
    "market": "market",
    "region": "region",
    "language": "language",
    "age_band": "age",
    "history": "history",
}


def cell(estimate: Estimate) -> str:
    """A mean with its interval below."""
    mean, _, interval = with_interval(estimate).partition(" ")
    return f"{mean}<small>{interval}</small>" if interval else mean


def metric_rows(values: Mapping[str, Mapping[str, Estimate]], k: int) -> list[list[str]]:
    """A row for each metric, a cell for each ranking."""
    return [
        [escape(metric_name(metric, k)), *(cell(of_metric[name]) for name in RANKINGS)]
        for metric, of_metric in values.items()
    ]


def difference_rows(differences: Sequence[Difference], k: int) -> list[list[str]]:
    """A row for each difference."""
    rows = []
    for d in differences:
        mean, _, interval = signed(d.estimate).partition(" ")
        name = f"{escape(metric_name(d.metric, k))}<small>{escape(f'{d.first} less {d.second}')}</small>"
        people = f"{d.wins:,} / {d.ties:,} / {d.losses:,}"
        rows.append([name, f"{mean}<small>{interval}</small>", verdict_among(d), escape(p_value(d.p_holm)), people])
    return rows


def model_head(k: int) -> list[str]:
    """The names of the columns of `model_rows`."""
    return ["", *(escape(metric_name(name, k)) for name in MODELS_HEAD_METRICS), "p, Holm"]


def model_rows(report: Report) -> list[list[str]]:
    """The score and every base model."""
    return [
        [
            escape(RANKING_NAMES.get(row.name, row.name) if row.difference is None else row.name),
            *(cell(row.values[name]) for name in MODELS_HEAD_METRICS),
            "" if row.difference is None else escape(p_value(row.difference.p_holm)),
        ]
        for row in report.base_models
    ]


def segment_rows(report: Report) -> list[list[str]]:
    """A row for each part of the people."""
    rows = []
    for part in report.segments:
        mean, _, interval = signed(part.difference.estimate).partition(" ")
        rows.append(
            [
                f"<bdi>{escape(part.name)}</bdi><small>{_KINDS[part.kind]}, {part.n_people:,} people</small>",
                cell(part.values["ndcg"]["engine"]),
                cell(part.values["ndcg"]["popularity"]),
                f"{mean}<small>{interval}</small>",
                escape(p_value(part.difference.p_holm)),
                number(part.values["local_share"]["engine"].mean),
                number(part.values["fill_rate"]["engine"].mean),
            ]
        )
    return rows


def creator_rows(report: Report) -> list[list[str]]:
    """A row for each size of creators."""
    return [
        [
            f"{size.name}<small>{size.n_creators:,} creators</small>",
            f"{size.eligible_share:.1%}",
            *(f"{size.exposure[name]:.1%}" for name in ("engine", "popularity")),
            *(cell(size.recall[name]) for name in ("engine", "popularity")),
        ]
        for size in report.creator_sizes
    ]
