"""How a report names things, on the terminal and on the page."""

from typing import Final

from eval.offline.compare import Difference, Estimate
from eval.offline.measure import Report
from eval.offline.reliability import Reliability

RANKINGS: Final = {
    "engine": "engine (under the policy)",
    "score": "score only",
    "no_local": "score, locality off",
    "popularity": "popularity of the market",
}
HEADS: Final = {
    "complete": "watched to the end",
    "like": "liked",
    "helped": "helped",
    "share": "shared",
    "not_interested": "refused",
}
METRICS: Final = {
    "recall": "Recall@{k}",
    "ndcg": "NDCG@{k}",
    "order": "AUC among shown",
    "local": "local share",
    "supportive": "supportive share",
    "R0": "R0 share",
    "R1": "R1 share",
    "R2": "R2 share",
    "filled": "slots filled",
    "coverage": "catalogue shown",
    "gini_items": "Gini, items",
    "gini_creators": "Gini, creators",
}
MEANING: Final = {
    "recall": "of what a person went on to want, the part on the page",
    "ndcg": "the same, early places counting more",
    "order": "chance that a wanted video scores above one shown and left",
    "local": "slots with videos near the person",
    "supportive": "slots with labelled R0 videos on supportive topics",
    "R0": "slots, by the label's tier",
    "R1": "slots, by the label's tier",
    "R2": "slots, by the label's tier; unlabelled counts here",
    "filled": "of the slots asked for",
    "coverage": "part of what could be shown that anyone gets; grows with the number of people",
    "gini_items": "attention over videos: 0 even, 1 one takes all",
    "gini_creators": "attention over creators",
}


def metric_name(metric: str, k: int) -> str:
    """The name of a metric with its cut-off."""
    return METRICS[metric].format(k=k)


def number(value: float | None) -> str:
    """Three decimals for a person's metric in [0, 1]; a dash for unknown."""
    return "–" if value is None else f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def with_interval(estimate: Estimate) -> str:
    """`0.0543 [0.0401, 0.0690]`, or the number alone where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return number(estimate.mean)
    return f"{number(estimate.mean)} [{number(estimate.low)}, {number(estimate.high)}]"


def short_interval(estimate: Estimate) -> str:
    """`.037–.073`; nothing where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:.3f}–{estimate.high:.3f}".replace("0.", ".")


def signed(estimate: Estimate) -> str:
    """A difference with its sign and interval."""
    if estimate.mean is None or estimate.low is None or estimate.high is None:
        return "–"
    return f"{estimate.mean:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def verdict(difference: Difference) -> str:
    """What an interval allows to be said."""
    if difference.estimate.mean is None:
        return "nothing to compare"
    if not difference.is_clear:
        return "not clear"
    return "higher" if difference.estimate.mean > 0 else "lower"


def headline(report: Report) -> str:
    """The comparison people ask for first, in a sentence that says no more than the interval does."""
    found = next(d for d in report.differences if (d.metric, d.first, d.second) == ("ndcg", "engine", "popularity"))
    said = {"higher": "above", "lower": "below", "not clear": "not clearly different from"}
    name = metric_name("ndcg", report.k)
    of = report.values["ndcg"]
    return (
        f"{name} of the engine is {number(of['engine'].mean)}, {said.get(verdict(found), 'not comparable with')} "
        f"popularity's {number(of['popularity'].mean)} ({signed(found.estimate)}; better for {found.wins:,} people, "
        f"worse for {found.losses:,}, equal for {found.ties:,})."
    )


def price(report: Report) -> str:
    """What favouring local items costs, in a sentence."""
    if report.price_of_locality is None:
        return "The weight for local items does not make pages more local here, so it has no price."
    paid = report.price_of_locality
    verb = "costs" if paid > 0 else "gains"
    return (
        f"Favouring local items in the score {verb} {abs(paid):.2f} % of NDCG for each percentage point of the page "
        "that it makes local (against the same score without it)."
    )


def believable(head: Reliability) -> str:
    """How far the chances of one head can be believed, in a sentence."""
    return (
        f"{HEADS[head.head]}: {head.said:.1%} said, {head.happened:.1%} happened; {head.error:.1%} apart over chances "
        f"({head.n:,} impressions)."
    )


def cautions(report: Report) -> list[str]:
    """What a reader must know before the numbers are believed."""
    said = [
        f"{report.n_people:,} of the {report.n_active:,} people who came back are judged by: those who wanted "
        f"something new ({report.n_judgeable:,}), as sampled. They wanted {report.wanted_per_person:.1f} videos each.",
        "People can only want what the old feed showed them, so rankings like the old feed's look better than they "
        "are. The order among shown videos is less open to this.",
    ]
    if report.risk_source == "assumed":
        said.insert(0, "Tiers are made up (--assume-tier): nothing here says anything about risk or support.")
    return [*said, *(f"The engine said: {notice}" for notice in report.notices)]
