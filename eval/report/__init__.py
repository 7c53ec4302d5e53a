"""A report as tables on the terminal, as `metrics.json`, and as one HTML page."""

from eval.report.html_page import render
from eval.report.write import show, write

__all__ = ["render", "show", "write"]
