"""
A report as one HTML file: no script, no font, no address, so that it opens offline and can be sent around.

Plots are HTML too: marks are placed in per cent on a track, and all text stays text. A telephone then shows the same
page as a wide screen, and right-to-left names stay in their cell.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from eval.offline.intervals import Estimate
from eval.offline.measure import PlaceExposure, Report
from eval.offline.replay import RANKINGS
from eval.offline.slices import MIN_GROUP_SIZE
from eval.report.html_locality import (
    CONCENTRATION_HEAD,
    DEFINITION_HEAD,
    FLOOR_COST_HEAD,
    audit_sentences,
    concentration_rows,
    definition_rows,
    floor_cost_plot,
    floor_cost_rows,
)
from eval.report.html_quality import (
    ACCURACY_NOTE,
    CREATORS_HEAD,
    CREATORS_NOTE,
    DIFFERENCE_HEAD,
    MODELS_NOTE,
    SEGMENTS_HEAD,
    SEGMENTS_NOTE,
    VARIETY_NOTE,
    cell,
    creator_rows,
    difference_rows,
    metric_rows,
    model_head,
    model_rows,
    segment_rows,
)
from eval.report.html_reliability import reliability_plots
from eval.report.wording import (
    METRIC_MEANINGS,
    METRIC_NAMES,
    RANKING_NAMES,
    accuracy_cost_sentence,
    against_sentence,
    cautions,
    headline,
    metric_name,
    number,
    with_interval,
)
from recsys.policy.schema import Market
from recsys.vocabulary import TIERS

_STYLE: Final = Path(__file__).with_name("html_page.css")
_EXPOSURE_BAND: Final = (1.0, 1.5)
"""The target of attention over supply for places of the market: from proportion to half as much again."""
_SMALL_GROUPS_NOTE: Final = f"Groups of fewer than {MIN_GROUP_SIZE} people are left out."
_RELIABILITY_NOTE: Final = (
    "Each dot is a tenth of the held-out impressions, by the probability that the ranker predicted. On the line, the "
    "observed share equals the predicted one; above it, the action was more frequent than predicted."
)
_PLACES_NOTE: Final = (
    "Position-weighted attention divided by the place's share of what could be shown; 1 is proportion. The band from 1 "
    "to 1.5 is the target for places of the market. Unknown places are neither."
)
_FLOOR_COST_NOTE: Final = (
    "Pages under the whole policy with another local floor, without exploration. The floor shrinks with supply, so a "
    "higher one may require no more. A cost below zero is a gain. The axis does not begin at zero."
)


def render(report: Report, market: Market) -> str:
    """The whole page."""
    accuracy = f"Dots are means, bars 95 % intervals over people. {headline(report)}"
    regions = f"{accuracy_cost_sentence(report)} {_SMALL_GROUPS_NOTE}"
    sections = (
        _section("Accuracy, beside popularity", _accuracy(report), accuracy),
        _section("Tiers on the pages", _tiers(report), "Share of filled slots by the label's tier."),
        _section("Local share by the person's region", _regions(report, market), regions),
        _section("Attention against supply", _places(report, market), _PLACES_NOTE),
        _section("Accuracy cost of a local floor", _floor_costs(report), _FLOOR_COST_NOTE),
        _section("Three definitions of local", _definitions(report), audit_sentences(report.locality)),
        _section("Differences, person by person", _differences(report), "First less second, over the same people."),
        _against(report),
        _section("Accuracy at several cut-offs", _metrics(report, report.accuracy), ACCURACY_NOTE),
        _section("New, varied, personal, in proportion", _metrics(report, report.variety), VARIETY_NOTE),
        _section("Base models", _html_table(model_head(report.k), model_rows(report)), MODELS_NOTE),
        _section("Parts of the people", _html_table(SEGMENTS_HEAD, segment_rows(report)), SEGMENTS_NOTE),
        _section("Creators by size", _html_table(CREATORS_HEAD, creator_rows(report)), CREATORS_NOTE),
        _section("All numbers", _table(report), ""),
        _section("Predicted and observed actions", reliability_plots(report.reliability), _RELIABILITY_NOTE),
        _section("By activity segment", _activity_segments(report), _SMALL_GROUPS_NOTE),
    )
    return (
        '<!doctype html><html lang="en" dir="ltr"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sanad: evaluation of {escape(report.model_version)}</title>"
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head><body><main>{_head(report)}{''.join(sections)}</main></body></html>"
    )


def _head(report: Report) -> str:
    until = f" to {_minute(report.until)}" if report.until else ""
    facts = (
        f"Model {report.model_version}",
        f"policy {report.market} {report.policy_version}",
        f"held out from {_minute(report.cutoff)}{until}",
        f"{report.n_people:,} people",
        f"{report.n_items:,} videos that could be shown",
    )
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in cautions(report))
    return (
        f'<header><h1>Offline evaluation</h1><p class="facts">{escape(" · ".join(facts))}</p>'
        f'<ul class="cautions">{items}</ul>{_legend()}</header>'
    )


def _legend() -> str:
    keys = "".join(f'<span class="key r-{name}"><i></i>{escape(RANKING_NAMES[name])}</span>' for name in RANKINGS)
    return f'<p class="legend">{keys}</p>'


def _section(title: str, body: str, note: str) -> str:
    paragraph = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{paragraph}{body}</section>"


# --- plots ---


def _accuracy(report: Report) -> str:
    plots = []
    for metric in ("watch", "recall", "ndcg", "impression_auc"):
        estimates = {name: e for name, e in report.values[metric].items() if e.mean is not None}
        top = _axis_end(estimates.values())
        low, high = (0.4, max(0.7, top)) if metric == "impression_auc" else (0.0, top)
        rows = [(escape(RANKING_NAMES[name]), [(name, e)], number(e.mean)) for name, e in estimates.items()]
        title = f"{metric_name(metric, report.k)}: {METRIC_MEANINGS[metric]}"
        plots.append(_dots(title, rows, low, high))
    return "".join(plots)


def _dots(
    title: str,
    rows: Sequence[tuple[str, Sequence[tuple[str, Estimate]], str]],
    low: float,
    high: float,
    band: tuple[float, float] | None = None,
) -> str:
    """Rows of marks on one scale: (label as HTML, (class, estimate) marks, value on the right as HTML)."""
    shaded = "" if band is None else _span("band", band[0], band[1], (low, high))
    lines = []
    for label, marks, value in rows:
        drawn = "".join(_mark(name, mark, (low, high)) for name, mark in marks)
        description = "; ".join(f"{RANKING_NAMES.get(name, name)} {with_interval(mark)}" for name, mark in marks)
        lines.append(
            f'<div class="row"><span class="label">{label}</span>'
            f'<span class="track" dir="ltr" role="img" aria-label="{escape(description)}">{shaded}{drawn}</span>'
            f'<span class="value">{value}</span></div>'
        )
    ends = f'<span class="ends" dir="ltr"><b>{low:g}</b><b>{high:.2g}</b></span>'
    scale = f'<div class="row scale"><span></span>{ends}<span></span></div>'
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    return f'<figure class="dots">{heading}{"".join(lines)}{scale}</figure>'


def _mark(name: str, mark: Estimate, axis: tuple[float, float]) -> str:
    if mark.mean is None:
        return ""
    bar = "" if mark.low is None or mark.high is None else _span(f"bar r-{name}", mark.low, mark.high, axis)
    return f'{bar}<i class="dot r-{name}" style="left:{_per_cent(mark.mean, axis):.2f}%"></i>'


def _span(kind: str, low: float, high: float, axis: tuple[float, float]) -> str:
    start, end = _per_cent(low, axis), _per_cent(high, axis)
    return f'<i class="{kind}" style="left:{start:.2f}%;width:{max(end - start, 0.4):.2f}%"></i>'


def _per_cent(value: float, axis: tuple[float, float]) -> float:
    return 100 * min(max((value - axis[0]) / (axis[1] - axis[0]), 0.0), 1.0)


def _axis_end(estimates: Iterable[Estimate]) -> float:
    highest = max((e.high if e.high is not None else e.mean or 0.0 for e in estimates), default=1.0)
    return max(highest * 1.08, 1e-6)


def _tiers(report: Report) -> str:
    rows = []
    for name in RANKINGS:
        shares = {tier: report.values[tier][name].mean or 0.0 for tier in TIERS}
        parts = "".join(
            f'<i class="part t-{tier}" style="width:{100 * share:.2f}%">{_tier_text(tier, share)}</i>'
            for tier, share in shares.items()
            if share > 0
        )
        description = ", ".join(f"{tier} {share:.1%}" for tier, share in shares.items())
        rows.append(
            f'<div class="row"><span class="label">{escape(RANKING_NAMES[name])}</span>'
            f'<span class="stack" dir="ltr" role="img" aria-label="{description}">{parts}</span>'
            f'<span class="value">{shares["R0"]:.1%} R0</span></div>'
        )
    return f'<figure class="stacks">{"".join(rows)}</figure>'


def _tier_text(tier: str, share: float) -> str:
    return f"{tier} {share:.0%}" if share >= 0.12 else ""


def _regions(report: Report, market: Market) -> str:
    if not report.regions:
        return "<p>No region has enough people.</p>"
    rows = []
    for group in sorted(report.regions, key=lambda group: -group.n_people):
        local, history = group.values["local_share"], group.values["local_share_history"]["history"]
        marks = [("history", history), ("popularity", local["popularity"]), ("engine", local["engine"])]
        label = f"{_place_name(group.name, market)} <small>{group.n_people:,}</small>"
        rows.append((label, [(name, _without_interval(mark)) for name, mark in marks], number(local["engine"].mean)))
    names = {"engine": "engine", "popularity": "popularity", "history": "what people there liked before"}
    keys = "".join(f'<span class="key r-{name}"><i></i>{label}</span>' for name, label in names.items())
    return f'<p class="legend">{keys}</p>' + _dots("", rows, 0.0, 1.0)


def _without_interval(estimate: Estimate) -> Estimate:
    return Estimate(mean=estimate.mean, low=None, high=None, n=estimate.n)


def _places(report: Report, market: Market) -> str:
    rows = []
    for place in sorted(report.places, key=lambda place: (not place.is_home, -place.eligible_share)):
        marks = [(name, _ratio(place, name)) for name in ("popularity", "engine")]
        ratio = marks[1][1].mean
        label = f"{_place_name(place.place, market)} <small>{place.eligible_share:.0%} of supply</small>"
        rows.append((label, marks, "–" if ratio is None else f"{ratio:.2f}"))
    high = min(4.0, max([2.0, *(mark.mean or 0.0 for _, marks, _ in rows for _, mark in marks)]))
    return _dots("", rows, 0.0, high, _EXPOSURE_BAND)


def _ratio(place: PlaceExposure, ranking: str) -> Estimate:
    value = place.exposure[ranking] / place.eligible_share if place.eligible_share > 0 else None
    return Estimate(mean=value, low=None, high=None, n=0)


def _place_name(code: str, market: Market) -> str:
    """A region with its names, each isolated so that Arabic keeps to its own direction."""
    region = market.regions.get(code)
    if region is None:
        return f"<bdi>{escape(code)}</bdi>"
    names = [region.name[language] for language in ("en", "ar") if language in region.name]
    return " ".join(f'<bdi class="{"name" if n == 0 else "also"}">{escape(name)}</bdi>' for n, name in enumerate(names))


# --- tables ---


def _table(report: Report) -> str:
    body = [
        [f"{escape(metric_name(metric, report.k))}<small>{escape(METRIC_MEANINGS[metric])}</small>"]
        + [cell(report.values[metric][name]) for name in RANKINGS]
        for metric in METRIC_NAMES
    ]
    return _html_table(["", *(escape(RANKING_NAMES[name]) for name in RANKINGS)], body)


def _floor_costs(report: Report) -> str:
    table = _html_table(FLOOR_COST_HEAD, floor_cost_rows(report.locality))
    return floor_cost_plot(report.locality, report.k) + table


def _definitions(report: Report) -> str:
    shares = _html_table(DEFINITION_HEAD, definition_rows(report.locality))
    return shares + _html_table(CONCENTRATION_HEAD, concentration_rows(report.locality))


def _differences(report: Report) -> str:
    return _html_table(DIFFERENCE_HEAD, difference_rows(report.differences, report.k))


def _metrics(report: Report, values: Mapping[str, Mapping[str, Estimate]]) -> str:
    return _html_table(["", *(escape(RANKING_NAMES[name]) for name in RANKINGS)], metric_rows(values, report.k))


def _against(report: Report) -> str:
    """The section on the other artifact, where there is one."""
    if report.against is None:
        return ""
    table = _html_table(DIFFERENCE_HEAD, difference_rows(report.against.differences, report.k))
    return _section("Beside the other artifact", table, against_sentence(report.against))


def _activity_segments(report: Report) -> str:
    if not report.activity_segments:
        return "<p>No group has enough people.</p>"
    body = []
    for group in report.activity_segments:
        ndcg = group.values["ndcg"]
        body.append(
            [f"{escape(group.name)}<small>{group.n_people:,} people</small>", *(cell(ndcg[name]) for name in RANKINGS)]
        )
    return _html_table([f"NDCG@{report.k}", *(escape(RANKING_NAMES[name]) for name in RANKINGS)], body)


def _html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{name}</th>" for name in head)
    rows = "".join(f"<tr><th>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in body)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ") + " UTC"
