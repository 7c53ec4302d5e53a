"""The ranker's reliability as small square plots, inline SVG, for the report's page."""

from collections.abc import Sequence
from html import escape

from eval.offline.reliability import Reliability
from eval.report.words import HEADS, believable


def plots(found: Sequence[Reliability]) -> str:
    """One plot for each head: said on the horizontal axis, happened on the vertical."""
    if not found:
        return "<p>This model has no ranker: nothing to believe.</p>"
    return f'<div class="squares">{"".join(_plot(head) for head in found)}</div>'


def _plot(head: Reliability) -> str:
    most = max([*(b.said for b in head.bins), *(b.happened for b in head.bins), 1e-6]) * 1.08
    dots = "".join(
        f'<circle cx="{100 * b.said / most:.2f}" cy="{100 - 100 * b.happened / most:.2f}" r="2.4">'
        f"<title>{b.said:.1%} said, {b.happened:.1%} happened, {b.n:,} impressions</title></circle>"
        for b in head.bins
    )
    return (
        f'<figure class="square"><h3>{escape(HEADS[head.head])}</h3>'
        f'<svg viewBox="-3 -3 106 106" role="img" aria-label="{escape(believable(head))}">'
        f'<path d="M0 0V100H100M0 100L100 0"/>{dots}</svg>'
        f'<p class="ends" dir="ltr"><b>0</b><b>said, up to {most:.1%}</b></p>'
        f"<figcaption><small>{escape(believable(head))}</small></figcaption></figure>"
    )
