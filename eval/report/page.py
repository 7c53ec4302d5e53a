"""
A report as one HTML file: no script, no font, no address, so that it opens anywhere and can be sent around.

Plots are HTML too: marks are placed in per cent on a track, and all text stays text, so a telephone shows the same
page as a wide screen, and right-to-left names keep to their cell.
"""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from eval.offline.compare import Estimate
from eval.offline.measure import FEWEST, Fairness, Report
from eval.offline.replay import RANKINGS as ORDER
from eval.report.page_locality import (
    DEFINITION_HEAD,
    PRICE_HEAD,
    SPREAD_HEAD,
    definition_rows,
    price_plot,
    price_rows,
    sentences,
    spread_rows,
)
from eval.report.page_reliability import plots
from eval.report.words import (
    MEANING,
    METRICS,
    RANKINGS,
    cautions,
    headline,
    metric_name,
    number,
    price,
    signed,
    verdict,
    with_interval,
)
from recsys.policy.schema import Market
from recsys.vocabulary import TIERS

_STYLE: Final = Path(__file__).with_name("page.css")
_BAND: Final = (1.0, 1.5)
"""The exposure ratio that local places should lie in (policy: attention from proportion to half as much again)."""


def render(report: Report, market: Market) -> str:
    """The whole page."""
    accuracy = f"Dots are means, bars 95 % intervals over people. {headline(report)}"
    sections = (
        _section("Accuracy, beside popularity", _accuracy(report), accuracy),
        _section("Tiers on the pages", _tiers(report), "Share of filled slots by the label's tier."),
        _section("Local share by the person's region", _regions(report, market), f"{price(report)} {_FEW}"),
        _section("Attention against supply", _places(report, market), _PLACES),
        _section("What a local floor costs", price_plot(report.locality, report.k) + _price_table(report), _PRICE),
        _section("Three definitions of local", _definitions(report), sentences(report.locality)),
        _section("Differences, person by person", _differences(report), "First less second, over the same people."),
        _section("All numbers", _table(report), ""),
        _section("What the ranker expects, and what happened", plots(report.reliability), _BELIEVED),
        _section("By how much people liked before", _warmth(report), _FEW),
    )
    return (
        '<!doctype html><html lang="en" dir="ltr"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sanad: evaluation of {escape(report.model_version)}</title>"
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head><body><main>{_head(report)}{''.join(sections)}</main></body></html>"
    )


_FEW: Final = f"Groups of fewer than {FEWEST} people are left out."
_BELIEVED: Final = (
    "Each dot is a tenth of the held-out impressions, by the chance that the ranker gave them. On the line, what was "
    "said is what happened; a dot above it happened more often than was said."
)
_PLACES: Final = (
    "Position-weighted attention divided by the part of the catalogue on offer from a place; 1 is proportion. The "
    "band from 1 to 1.5 is the target for places of the market. Unknown places are neither."
)


_PRICE: Final = (
    "Pages under the whole policy with another local floor, without exploration. The floor shrinks with supply, so a "
    "higher one may ask for no more. A loss below zero is a gain. The axis does not begin at zero."
)


def _head(report: Report) -> str:
    until = f" to {_day(report.until)}" if report.until else ""
    facts = (
        f"Model {report.model_version}",
        f"policy {report.market} {report.policy_version}",
        f"held out from {_day(report.cutoff)}{until}",
        f"{report.n_people:,} people",
        f"{report.n_items:,} videos on offer",
    )
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in cautions(report))
    return (
        f'<header><h1>Offline evaluation</h1><p class="facts">{escape(" · ".join(facts))}</p>'
        f'<ul class="cautions">{said}</ul>{_legend()}</header>'
    )


def _legend() -> str:
    names = "".join(f'<span class="key r-{name}"><i></i>{escape(RANKINGS[name])}</span>' for name in ORDER)
    return f'<p class="legend">{names}</p>'


def _section(title: str, body: str, note: str) -> str:
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{said}{body}</section>"


# --- plots ---


def _accuracy(report: Report) -> str:
    plots = []
    for metric in ("recall", "ndcg", "order"):
        estimates = {name: e for name, e in report.values[metric].items() if e.mean is not None}
        least, most = (
            (0.0, _most(estimates.values())) if metric != "order" else (0.4, max(0.7, _most(estimates.values())))
        )
        rows = [(escape(RANKINGS[name]), [(name, e)], number(e.mean)) for name, e in estimates.items()]
        title = f"{metric_name(metric, report.k)}: {MEANING[metric]}"
        plots.append(_dots(title, rows, least, most))
    return "".join(plots)


def _dots(
    title: str,
    rows: Sequence[tuple[str, Sequence[tuple[str, Estimate]], str]],
    least: float,
    most: float,
    band: tuple[float, float] | None = None,
) -> str:
    """Rows of marks on one scale: (label as HTML, (class, estimate) marks, value on the right as HTML)."""
    shaded = "" if band is None else _span("band", band[0], band[1], least, most)
    lines = []
    for label, marks, value in rows:
        drawn = "".join(_mark(name, mark, least, most) for name, mark in marks)
        said = "; ".join(f"{RANKINGS.get(name, name)} {with_interval(mark)}" for name, mark in marks)
        lines.append(
            f'<div class="row"><span class="label">{label}</span>'
            f'<span class="track" dir="ltr" role="img" aria-label="{escape(said)}">{shaded}{drawn}</span>'
            f'<span class="value">{value}</span></div>'
        )
    ends = f'<span class="ends" dir="ltr"><b>{least:g}</b><b>{most:.2g}</b></span>'
    scale = f'<div class="row scale"><span></span>{ends}<span></span></div>'
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    return f'<figure class="dots">{heading}{"".join(lines)}{scale}</figure>'


def _mark(name: str, mark: Estimate, least: float, most: float) -> str:
    if mark.mean is None:
        return ""
    bar = "" if mark.low is None or mark.high is None else _span(f"bar r-{name}", mark.low, mark.high, least, most)
    return f'{bar}<i class="dot r-{name}" style="left:{_at(mark.mean, least, most):.2f}%"></i>'


def _span(kind: str, low: float, high: float, least: float, most: float) -> str:
    start, end = _at(low, least, most), _at(high, least, most)
    return f'<i class="{kind}" style="left:{start:.2f}%;width:{max(end - start, 0.4):.2f}%"></i>'


def _at(value: float, least: float, most: float) -> float:
    return 100 * min(max((value - least) / (most - least), 0.0), 1.0)


def _most(estimates: Iterable[Estimate]) -> float:
    highest = max((e.high if e.high is not None else e.mean or 0.0 for e in estimates), default=1.0)
    return max(highest * 1.08, 1e-6)


def _tiers(report: Report) -> str:
    rows = []
    for name in ORDER:
        shares = {tier: report.values[tier][name].mean or 0.0 for tier in TIERS}
        parts = "".join(
            f'<i class="part t-{tier}" style="width:{100 * share:.2f}%">{_inside(tier, share)}</i>'
            for tier, share in shares.items()
            if share > 0
        )
        said = ", ".join(f"{tier} {share:.1%}" for tier, share in shares.items())
        rows.append(
            f'<div class="row"><span class="label">{escape(RANKINGS[name])}</span>'
            f'<span class="stack" dir="ltr" role="img" aria-label="{said}">{parts}</span>'
            f'<span class="value">{shares["R0"]:.1%} R0</span></div>'
        )
    return f'<figure class="stacks">{"".join(rows)}</figure>'


def _inside(tier: str, share: float) -> str:
    return f"{tier} {share:.0%}" if share >= 0.12 else ""


def _regions(report: Report, market: Market) -> str:
    if not report.regions:
        return "<p>No region has enough people.</p>"
    rows = []
    for group in sorted(report.regions, key=lambda group: -group.n_people):
        local, liked = group.values["local"], group.values["liked_local"]["history"]
        marks = [("history", liked), ("popularity", local["popularity"]), ("engine", local["engine"])]
        label = f"{_place_name(group.name, market)} <small>{group.n_people:,}</small>"
        rows.append((label, [(name, _bare(mark)) for name, mark in marks], number(local["engine"].mean)))
    names = {"engine": "engine", "popularity": "popularity", "history": "what people there liked before"}
    keys = "".join(f'<span class="key r-{name}"><i></i>{said}</span>' for name, said in names.items())
    key = f'<p class="legend">{keys}</p>'
    return key + _dots("", rows, 0.0, 1.0)


def _bare(estimate: Estimate) -> Estimate:
    return Estimate(mean=estimate.mean, low=None, high=None, n=estimate.n)


def _places(report: Report, market: Market) -> str:
    rows = []
    for place in sorted(report.places, key=lambda place: (not place.is_home, -place.offered)):
        marks = [(name, _ratio(place, name)) for name in ("popularity", "engine")]
        ratio = marks[1][1].mean
        label = f"{_place_name(place.place, market)} <small>{place.offered:.0%} of offer</small>"
        rows.append((label, marks, "–" if ratio is None else f"{ratio:.2f}"))
    most = min(4.0, max([2.0, *(mark.mean or 0.0 for _, marks, _ in rows for _, mark in marks)]))
    return _dots("", rows, 0.0, most, _BAND)


def _ratio(place: Fairness, ranking: str) -> Estimate:
    value = place.exposure[ranking] / place.offered if place.offered > 0 else None
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
        [f"{escape(metric_name(metric, report.k))}<small>{escape(MEANING[metric])}</small>"]
        + [_cell(report.values[metric][name]) for name in ORDER]
        for metric in METRICS
    ]
    return _html_table(["", *(escape(RANKINGS[name]) for name in ORDER)], body)


def _price_table(report: Report) -> str:
    return _html_table(PRICE_HEAD, price_rows(report.locality))


def _definitions(report: Report) -> str:
    shares = _html_table(DEFINITION_HEAD, definition_rows(report.locality))
    return shares + _html_table(SPREAD_HEAD, spread_rows(report.locality))


def _cell(estimate: Estimate) -> str:
    said = with_interval(estimate)
    mean, _, interval = said.partition(" ")
    return f"{mean}<small>{interval}</small>" if interval else mean


def _differences(report: Report) -> str:
    body = []
    for d in report.differences:
        mean, _, interval = signed(d.estimate).partition(" ")
        name = f"{escape(metric_name(d.metric, report.k))}<small>{d.first} less {d.second}</small>"
        people = f"{d.wins:,} / {d.ties:,} / {d.losses:,}"
        body.append([name, f"{mean}<small>{interval}</small>", verdict(d), people])
    return _html_table(["", "mean, 95 %", "", "better / equal / worse"], body)


def _warmth(report: Report) -> str:
    if not report.warmth:
        return "<p>No group has enough people.</p>"
    body = []
    for group in report.warmth:
        ndcg = group.values["ndcg"]
        body.append(
            [f"{escape(group.name)}<small>{group.n_people:,} people</small>", *(_cell(ndcg[name]) for name in ORDER)]
        )
    return _html_table([f"NDCG@{report.k}", *(escape(RANKINGS[name]) for name in ORDER)], body)


def _html_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{name}</th>" for name in head)
    rows = "".join(f"<tr><th>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in body)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'


def _day(instant: str) -> str:
    return instant[:16].replace("T", " ") + " UTC"
