"""A report as tables on the terminal, as `metrics.json` and as a page for a browser."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from eval.offline.measure import Report
from eval.offline.replay import RANKINGS
from eval.report.html_page import render
from eval.report.wording import (
    METRIC_NAMES,
    accuracy_cost_sentence,
    cautions,
    headline,
    metric_name,
    number,
    reliability_sentence,
    short_interval,
    signed,
    verdict,
)
from recsys.policy.schema import Market


def write(report: Report, market: Market, folder: Path) -> None:
    """Writes `metrics.json` and `report.html`, each under a temporary name first and then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "metrics.json": msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n",
        "report.html": render(report, market).encode(),
    }
    for name, content in files.items():
        temporary = folder / f".{name}.tmp"
        temporary.write_bytes(content)
        temporary.replace(folder / name)


def show(report: Report, out: Console) -> None:
    """The tables and sentences of a report."""
    out.print(_values(report))
    out.print()
    out.print(_differences(report))
    out.print()
    for sentence in (
        headline(report),
        accuracy_cost_sentence(report),
        *map(reliability_sentence, report.reliability),
        *cautions(report),
    ):
        out.print(sentence)


def _values(report: Report) -> Table:
    """A line of means and a line of intervals for each metric, which fits 80 columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("mean, 95 % interval", no_wrap=True)
    for name in RANKINGS:
        table.add_column(name, justify="right", no_wrap=True)
    for metric in METRIC_NAMES:
        estimates = report.values[metric]
        table.add_row(metric_name(metric, report.k), *(number(estimates[name].mean) for name in RANKINGS))
        if any(estimates[name].low is not None for name in RANKINGS):
            table.add_row("", *(short_interval(estimates[name]) for name in RANKINGS), style="dim")
    return table


def _differences(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("person by person", "", "mean difference, 95 %", ""):
        table.add_column(heading, no_wrap=True)
    for d in report.differences:
        table.add_row(f"{d.first} - {d.second}", metric_name(d.metric, report.k), signed(d.estimate), verdict(d))
    return table
