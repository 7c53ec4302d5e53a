"""The locality part of the report's page: the accuracy cost of a floor as a plot, and three definitions of local."""

from collections.abc import Sequence
from html import escape
from typing import Final

from eval.offline.locality import FLOOR_RANKINGS, FloorCost, LocalityReport
from eval.report.wording import RANKING_NAMES, number
from recsys.services.floor_audit import as_sentence

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 16, 40
_MAX_FLOOR: Final = 0.5  # the right end of the horizontal axis
DEFINITION_NAMES: Final = {"floor_eligible": "floor-eligible", "near": "near", "place": "place"}
DEFINITION_MEANINGS: Final = {
    "floor_eligible": "near, and its evidence is enough for a slot of the local floor",
    "near": "near by the policy's score, also on a creator's word",
    "place": "from the person's country, whatever the source",
}
FLOOR_COST_HEAD: Final = [
    "floor",
    *(f"{what}, {how}" for how in ("locality off", "locality on") for what in ("NDCG", "accuracy cost", "local share")),
]
DEFINITION_HEAD: Final = [
    "", "share", "share of history", "bias", "share of supply", "attention ratio", "visibility", "exposure",
]  # fmt: skip
CONCENTRATION_HEAD: Final = ["", "Gini", "HHI", "first ten", "unknown place", "divergence of countries, bits"]


def floor_cost_plot(report: LocalityReport, k: int) -> str:
    """NDCG against the local floor, with and without the weight for local items in the score."""
    points = [point for point in report.floor_costs if point.ndcg is not None]
    if not points:
        return "<p>No relevant video could be shown, so the accuracy cost of a floor is unknown.</p>"
    highest = max(point.ndcg or 0.0 for point in points)
    lowest = min(point.ndcg or 0.0 for point in points)
    margin = 0.15 * (highest - lowest) + 1e-4
    low, high = max(0.0, lowest - margin), highest + margin
    curves = "".join(_curve([p for p in points if p.ranking == name], name, low, high) for name in FLOOR_RANKINGS)
    label = "; ".join(f"{RANKING_NAMES[p.ranking]} at floor {p.floor:.0%}: {number(p.ndcg)}" for p in points)
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}" class="curve">'
        f"{_axes(low, high, k)}{curves}</svg></figure>{_legend()}"
    )


def _curve(points: Sequence[FloorCost], name: str, low: float, high: float) -> str:
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
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * floor / _MAX_FLOOR


def _y(value: float, low: float, high: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - low) / (high - low)


def _legend() -> str:
    keys = "".join(f'<span class="key r-{name}"><i></i>{escape(RANKING_NAMES[name])}</span>' for name in FLOOR_RANKINGS)
    return f'<p class="legend">{keys}</p>'


def floor_cost_rows(report: LocalityReport) -> list[list[str]]:
    """A row for each floor: NDCG, accuracy cost and local share, with locality in the score and without."""
    rows = []
    for floor in sorted({point.floor for point in report.floor_costs}):
        cells = [f"{floor:.0%}"]
        for name in FLOOR_RANKINGS:
            point = next(p for p in report.floor_costs if (p.ranking, p.floor) == (name, floor))
            cost = "–" if point.accuracy_cost is None else f"{point.accuracy_cost:+.2%}"
            cells += [number(point.ndcg), cost, number(point.local_share)]
        rows.append(cells)
    return rows


def definition_rows(report: LocalityReport) -> list[list[str]]:
    """A row for each definition and ranking."""
    rows = []
    for definition in report.definitions:
        name, meaning = DEFINITION_NAMES[definition.name], escape(DEFINITION_MEANINGS[definition.name])
        for ranking, local in definition.rankings.items():
            values = (
                local.share, definition.history_share, local.bias, definition.eligible_share, local.exposure_ratio,
                local.visibility, local.exposure,
            )  # fmt: skip
            heading = f"{escape(name)}: {escape(RANKING_NAMES[ranking])}<small>{meaning}</small>"
            rows.append([heading, *(number(value) for value in values)])
    return rows


def concentration_rows(report: LocalityReport) -> list[list[str]]:
    """A row for each ranking: concentration among local creators, unknown places, divergence of countries."""
    return [
        [
            escape(RANKING_NAMES[name]), number(c.gini), number(c.hhi), number(c.top_10_share),
            number(report.unknown_share[name]), number(report.divergence[name]),
        ]
        for name, c in report.creators.items()
    ]  # fmt: skip


def audit_sentences(report: LocalityReport) -> str:
    """The audit of the floor, and how many items wait for a label."""
    if report.n_unlabelled:
        waiting = (
            f" {report.n_unlabelled:,} items ({report.n_unlabelled_local:,} of them of a place that the platform or a "
            f"partner confirms) wait for a label, for {report.unlabelled_days:g} days in the median; until then they "
            "count as R2."
        )
    else:
        waiting = " No item waits for a label."
    return as_sentence(report.audit) + waiting
