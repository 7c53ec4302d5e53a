"""The part of a report's page that is about locality: what a floor costs, as a plot, and three definitions of local."""

from collections.abc import Sequence
from html import escape
from typing import Final

from eval.offline.locality import PRICED, LocalityReport, PricePoint
from eval.report.words import RANKINGS, number
from recsys.services.floor_audit import as_sentence

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 16, 40
MEANING: Final = {
    "proven": "near, and vouched for or heard: what the floor counts",
    "near": "near by the policy's score, also on a creator's word",
    "place": "from the person's country, whoever says so",
}


def price_plot(report: LocalityReport, k: int) -> str:
    """NDCG against the local floor, with and without the weight for local items in the score."""
    points = [point for point in report.price if point.ndcg is not None]
    if not points:
        return "<p>Nobody wanted anything that could be shown, so a floor has no price.</p>"
    most = max(point.ndcg or 0.0 for point in points)
    least = min(point.ndcg or 0.0 for point in points)
    low, high = max(0.0, least - 0.15 * (most - least) - 1e-4), most + 0.15 * (most - least) + 1e-4
    marks = "".join(_line([p for p in points if p.ranking == name], name, low, high) for name in PRICED)
    said = "; ".join(f"{RANKINGS[p.ranking]} at floor {p.floor:.0%}: {number(p.ndcg)}" for p in points)
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said)}" class="curve">'
        f"{_axes(low, high, k)}{marks}</svg></figure>{_legend()}"
    )


def _line(points: Sequence[PricePoint], name: str, low: float, high: float) -> str:
    at = [(_x(p.floor), _y(p.ndcg or 0.0, low, high)) for p in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dots = "".join(f'<circle class="r-{name}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in at)
    return f'<polyline class="r-{name}" points="{path}"/>{dots}'


def _axes(low: float, high: float, k: int) -> str:
    left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    floors = "".join(
        f'<text x="{_x(n / 10):.1f}" y="{bottom + 18}" text-anchor="middle">{n * 10} %</text>' for n in range(6)
    )
    values = "".join(
        f'<line x1="{left}" x2="{right}" y1="{_y(v, low, high):.1f}" y2="{_y(v, low, high):.1f}" class="grid"/>'
        f'<text x="{left - 6}" y="{_y(v, low, high) + 4:.1f}" text-anchor="end">{v:.4f}</text>'
        for v in (low + (high - low) * part for part in (0.1, 0.5, 0.9))
    )
    title = f'<text x="{(left + right) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">local floor, of any 20</text>'
    return f'{values}{floors}{title}<text x="{left}" y="12">NDCG@{k}</text>'


def _x(floor: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * floor / 0.5


def _y(value: float, low: float, high: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - low) / (high - low)


def _legend() -> str:
    names = "".join(f'<span class="key r-{name}"><i></i>{escape(RANKINGS[name])}</span>' for name in PRICED)
    return f'<p class="legend">{names}</p>'


def price_rows(report: LocalityReport) -> list[list[str]]:
    """A row per floor: NDCG, loss and local share, with locality in the score and without."""
    rows = []
    for floor in sorted({point.floor for point in report.price}):
        cells = [f"{floor:.0%}"]
        for name in PRICED:
            point = next(p for p in report.price if (p.ranking, p.floor) == (name, floor))
            loss = "–" if point.loss is None else f"{point.loss:+.2%}"
            cells += [number(point.ndcg), loss, number(point.local_share)]
        rows.append(cells)
    return rows


PRICE_HEAD: Final = [
    "floor",
    *(f"{what}, {how}" for how in ("locality off", "locality on") for what in ("NDCG", "lost", "local")),
]


def definition_rows(report: LocalityReport) -> list[list[str]]:
    """A row per definition and ranking."""
    rows = []
    for definition in report.definitions:
        for name, local in definition.rankings.items():
            first = (
                f"{escape(definition.name)}: {escape(RANKINGS[name])}<small>{escape(MEANING[definition.name])}</small>"
            )
            numbers = (local.share, definition.liked, local.bias, definition.offered, local.exposure_ratio)
            more = (local.visibility, local.exposure)
            rows.append([first, *(number(value) for value in (*numbers, *more))])
    return rows


DEFINITION_HEAD: Final = [
    "", "share", "of what was liked", "bias", "of what there was", "attention ratio", "visibility", "exposure",
]  # fmt: skip


def spread_rows(report: LocalityReport) -> list[list[str]]:
    """A row per ranking: how attention is spread over local creators, what is unknown, how far countries are off."""
    return [
        [
            escape(RANKINGS[name]), number(spread.gini), number(spread.hhi), number(spread.top_10_share),
            number(report.unknown_share[name]), number(report.divergence[name]),
        ]
        for name, spread in report.creators.items()
    ]  # fmt: skip


SPREAD_HEAD: Final = ["", "Gini", "HHI", "first ten", "unknown place", "countries apart, bits"]


def sentences(report: LocalityReport) -> str:
    """The audit of the floor, and what waits for a label."""
    if report.n_unlabelled:
        waiting = (
            f" {report.n_unlabelled:,} items ({report.n_unlabelled_local:,} of them of a vouched-for place) wait for a "
            f"label, for {report.unlabelled_days:g} days in the median; until then they count as R2."
        )
    else:
        waiting = " No item waits for a label."
    return as_sentence(report.audit) + waiting
