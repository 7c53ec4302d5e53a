"""Names of metrics and rankings, formats of numbers, and sentences about results; for the terminal and the page."""

from typing import Final

from eval.offline.against import Against
from eval.offline.intervals import CONFIDENCE_LEVEL, Difference, Estimate
from eval.offline.measure import Report
from eval.offline.reliability import Reliability

RANKING_NAMES: Final = {
    "engine": "engine (under the policy)",
    "score": "score only",
    "no_local": "score, locality off",
    "popularity": "popularity of the market",
}
HEAD_NAMES: Final = {
    "complete": "watched to the end",
    "like": "liked",
    "helped": "helped",
    "share": "shared",
    "not_interested": "negative feedback",
}
METRIC_NAMES: Final = {
    "watch": "watch fraction",
    "recall": "Recall@{k} as exposed",
    "ndcg": "NDCG@{k} as exposed",
    "impression_auc": "impression AUC",
    "local_share": "local share",
    "supportive_share": "supportive share",
    "R0": "R0 share",
    "R1": "R1 share",
    "R2": "R2 share",
    "fill_rate": "fill rate",
    "coverage": "coverage",
    "gini_items": "Gini, items",
    "gini_creators": "Gini, creators",
}
FURTHER_NAMES: Final = {
    "precision": "precision",
    "hit_rate": "hit rate",
    "map": "MAP",
    "mrr": "MRR",
    "ndcg_full_page": "NDCG, full page as ideal",
    "weighted_recall": "Recall by inverse propensity",
    "weighted_ndcg": "NDCG by inverse propensity",
    "auc": "AUC of the page",
    "novelty": "novelty, bits",
    "serendipity": "serendipity",
    "diversity": "diversity within a page",
    "overlap": "overlap of pages",
    "popularity": "interactions per video (ARP)",
    "tail_share": "share of the long tail",
    "miscalibration_topics": "miscalibration, topics",
    "miscalibration_languages": "miscalibration, languages",
}
"""Of the metrics that stand in tables of their own."""

HEADLINES: Final = (("watch", "score"), ("ndcg", "engine"))
"""Metric and ranking that are compared with popularity first. The engine's page has no score to estimate from."""

MIN_PEOPLE: Final = 30
"""With fewer people a report begins by saying so."""

METRIC_MEANINGS: Final = {
    "watch": "estimated share that people would watch of what comes first, also of what the old feed rarely showed",
    "recall": "share of a person's relevant videos that is on the page",
    "ndcg": "the same, with more weight for early positions",
    "impression_auc": "chance that a relevant video scores above another impression",
    "local_share": "share of slots with local videos",
    "supportive_share": "share of slots with labelled R0 videos on supportive topics",
    "R0": "share of slots, by the label's tier",
    "R1": "share of slots, by the label's tier",
    "R2": "share of slots, by the label's tier; unlabelled counts here",
    "fill_rate": "share of the requested slots that hold a video",
    "coverage": "share of the catalogue that is on any page; grows with the number of people",
    "gini_items": "attention over videos: 0 even, 1 one takes all",
    "gini_creators": "attention over creators: 0 even, 1 one takes all",
}


def metric_name(metric: str, k: int) -> str:
    """The name of a metric with its cut-off: `k`, or that of `name@5`."""
    name, _, own = metric.partition("@")
    if name in METRIC_NAMES:
        return METRIC_NAMES[name].format(k=own or k)
    return f"{FURTHER_NAMES[name]} @{own}" if own else FURTHER_NAMES[name]


def p_value(p: float | None) -> str:
    """`.047`, or `<.001`; a dash for nothing to compare."""
    return "–" if p is None else "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def against_sentence(against: Against) -> str:
    """Who is compared with whom, on what."""
    known = "" if against.relevant_known == 1 else f" B knows {against.relevant_known:.0%} of the relevant videos."
    return f"A is this artifact, B is {against.model_version}: the same people at the same instants.{known}"


def number(value: float | None) -> str:
    """Three decimals, or four below 0.1; a dash for unknown."""
    return "–" if value is None else f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def with_interval(estimate: Estimate) -> str:
    """`0.0543 [0.0401, 0.0690]`, or the number alone where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return number(estimate.mean)
    return f"{number(estimate.mean)} [{number(estimate.low)}, {number(estimate.high)}]"


def short_interval(estimate: Estimate) -> str:
    """`.037–.073`; an empty text where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.3f}–{estimate.high:.3f}".replace("0.", ".")


def signed(estimate: Estimate, digits: int = 4) -> str:
    """A difference with its sign and interval."""
    if estimate.mean is None or estimate.low is None or estimate.high is None:
        return "–"
    mean, low, high = (f"{value:+.{digits}f}" for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"


def verdict(difference: Difference) -> str:
    """What the interval of a difference allows to be claimed."""
    if difference.estimate.mean is None:
        return "nothing to compare"
    if not difference.is_clear:
        return "not clear"
    return "higher" if difference.estimate.mean > 0 else "lower"


def verdict_among(difference: Difference) -> str:
    """What may be claimed of a difference that is shown among many: its corrected p must be below 0.05 too."""
    is_chance = difference.p_holm is not None and difference.p_holm >= 1 - CONFIDENCE_LEVEL
    return "not clear" if difference.is_clear and is_chance else verdict(difference)


def headline(report: Report) -> str:
    """The comparisons that readers ask for first, in sentences that claim no more than their intervals do."""
    return " ".join(_against_popularity(report, metric, first) for metric, first in HEADLINES)


def _against_popularity(report: Report, metric: str, first: str) -> str:
    found = (d for d in report.differences if (d.metric, d.first, d.second) == (metric, first, "popularity"))
    comparison = next(found)
    relation = {"higher": "above", "lower": "below", "not clear": "not clearly different from"}
    estimates = report.values[metric]
    counts = (
        f"; better for {comparison.wins:,} people, worse for {comparison.losses:,}, equal for {comparison.ties:,}"
        if metric == "ndcg"
        else ""
    )
    return (
        f"{metric_name(metric, report.k).capitalize() if metric == 'watch' else metric_name(metric, report.k)} of the "
        f"{first} is {number(estimates[first].mean)}, {relation.get(verdict(comparison), 'not comparable with')} "
        f"popularity's {number(estimates['popularity'].mean)} ({signed(comparison.estimate)}{counts})."
    )


def accuracy_cost_sentence(report: Report) -> str:
    """The accuracy cost of the weight for local items."""
    cost = report.locality_accuracy_cost
    if cost is None:
        return "The weight for local items does not make pages more local here, so it has no accuracy cost."
    verb = "costs" if cost > 0 else "gains"
    return (
        f"The weight for local items {verb} {abs(cost):.2f} % of NDCG for each percentage point of the page that it "
        "makes local (against the same score without it)."
    )


def reliability_sentence(head: Reliability) -> str:
    """Predicted against observed, of one head."""
    return (
        f"{HEAD_NAMES[head.head]}: predicted {head.predicted:.1%}, observed {head.observed:.1%}; calibration error "
        f"{head.error:.1%} ({head.n:,} impressions)."
    )


def cautions(report: Report) -> list[str]:
    """What a reader must know before using the numbers."""
    sentences = [
        f"{report.n_people:,} of the {report.n_active:,} people who came back are evaluated: a sample of the "
        f"{report.n_evaluable:,} with a relevant new video. They have {report.relevant_per_person:.1f} relevant videos "
        "each.",
        "People can only react to what the old feed showed them, so by recall and NDCG rankings like the old feed's "
        "look better than they are. The watch fraction takes that out as far as propensities tell; it rests on "
        f"{report.effective_impressions:,.0f} equally weighted impressions.",
    ]
    if report.n_people < MIN_PEOPLE:
        sentences.insert(
            0,
            f"{report.n_people:,} people are few: below {MIN_PEOPLE} intervals are narrower than they should be. "
            "Evaluate more people or hold out more days before you conclude anything.",
        )
    sentences[:0] = [*report.data_notes, *_short_pages(report)]
    if report.assume_adults:
        sentences.insert(0, "People of unknown age count as adults here (--assume-adults); a service never does that.")
    if not tells_rankings_apart(report):
        sentences.insert(
            0,
            "The data says nothing of how much was watched, so every impression counts alike and the watch fraction is "
            "the same for every ranking. Read recall and NDCG here, and that they prefer what the old feed showed.",
        )
    if report.risk_source == "assumed":
        sentences.insert(0, "Tiers are made up (--assume-tier): no number here says anything about risk or support.")
    return [*sentences, *(f"Alert of the engine: {notice}" for notice in report.notices)]


def tells_rankings_apart(report: Report) -> bool:
    """Whether the estimated watch fraction differs between rankings: without watch times all impressions are alike."""
    means = [estimate.mean for estimate in report.values["watch"].values() if estimate.mean is not None]
    return len(means) < 2 or max(means) - min(means) > 1e-6


_REASONS: Final = {
    "age": "not for the person's age",
    "gap": "too soon after the last of the same tier",
    "cap": "above a cap",
    "language": "in languages the person does not read",
    "pause": "not asked for because of a pause",
    "published": "published later",
    "excluded": "met before the cutoff",
    "tier": "of a tier that is never served to them",
    "unlabelled": "without a risk tier",
}
"""By the reason of a shortfall, without the counter behind its colon."""

_MAX_REASONS: Final = 4


def _short_pages(report: Report) -> list[str]:
    """Why pages are empty, and for how many people that is because nobody knows their age."""
    fill_rate = report.values["fill_rate"]["engine"].mean
    if fill_rate is None or not report.n_short_pages:
        return []
    most = [(reason, n) for reason, n in report.kept_back.items() if n >= 0.5][:_MAX_REASONS]
    reasons = ", ".join(f"{n:,.0f} {_REASONS.get(reason.partition(':')[0], reason)}" for reason, n in most)
    sentences = [
        f"{fill_rate:.1%} of the slots are filled: {report.n_short_pages:,} of {report.n_people:,} pages are short. "
        f"Left out of such a page, on average: {reasons}."
    ]
    if report.n_empty_pages and (filled := report.filled.get("ndcg")):
        sentences.append(
            f"{report.n_empty_pages:,} pages of the engine are empty and count as 0 in its accuracy. Over the "
            f"{report.n_people - report.n_empty_pages:,} other people its NDCG@{report.k} is "
            f"{number(filled['engine'].mean)}, popularity's {number(filled['popularity'].mean)}."
        )
    if report.n_minors and not report.assume_adults:
        sentences.append(
            f"{report.n_minors:,} of {report.n_people:,} people got the page of a minor, as all do whose age nobody "
            "verified. For a set without ages see --assume-adults."
        )
    return sentences
