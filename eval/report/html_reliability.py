"""The ranker's reliability as small square plots for the report's page, as inline SVG."""

from collections.abc import Sequence
from html import escape

from eval.offline.reliability import Reliability
from eval.report.wording import HEAD_NAMES, reliability_sentence


def reliability_plots(heads: Sequence[Reliability]) -> str:
    """One plot for each head: predicted on the horizontal axis, observed on the vertical."""
    if not heads:
        return "<p>This model has no ranker, so it predicts no actions.</p>"
    return f'<div class="squares">{"".join(_plot(head) for head in heads)}</div>'


def _plot(head: Reliability) -> str:
    top = max([*(b.predicted for b in head.bins), *(b.observed for b in head.bins), 1e-6]) * 1.08
    dots = "".join(
        f'<circle cx="{100 * b.predicted / top:.2f}" cy="{100 - 100 * b.observed / top:.2f}" r="2.4">'
        f"<title>predicted {b.predicted:.1%}, observed {b.observed:.1%}, {b.n:,} impressions</title></circle>"
        for b in head.bins
    )
    sentence = escape(reliability_sentence(head))
    return (
        f'<figure class="square"><h3>{escape(HEAD_NAMES[head.head])}</h3>'
        f'<svg viewBox="-3 -3 106 106" role="img" aria-label="{sentence}">'
        f'<path d="M0 0V100H100M0 100L100 0"/>{dots}</svg>'
        f'<p class="ends" dir="ltr"><b>0</b><b>predicted, up to {top:.1%}</b></p>'
        f"<figcaption><small>{sentence}</small></figcaption></figure>"
    )
