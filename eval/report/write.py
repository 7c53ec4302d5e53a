"""A report as tables on the terminal, as `metrics.json` and as a page for a browser."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from eval.offline.intervals import Difference, Estimate
from eval.offline.measure import Report
from eval.offline.replay import RANKINGS
from eval.report.html_page import render
from eval.report.wording import (
    METRIC_NAMES,
    accuracy_cost_sentence,
    against_sentence,
    cautions,
    headline,
    metric_name,
    number,
    p_value,
    reliability_sentence,
    short_interval,
    signed,
    verdict_among,
)
from recsys.policy.schema import Market

_MODEL_COLUMNS = ("ndcg", "recall", "coverage", "overlap")


def write(report: Report, market: Market, folder: Path) -> None:
    """
    Writes `metrics.json` and `report.html`: both under temporary names first, then renamed. An interrupted run leaves
    what was there before, or one file of each run, and no half of a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "metrics.json": msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n",
        "report.html": render(report, market).encode(),
    }
    temporary = {name: folder / f".{name}.{os.getpid()}" for name in files}
    try:
        for name, content in files.items():
            temporary[name].write_bytes(content)
        for name, path in temporary.items():
            path.replace(folder / name)
    finally:  # also on Ctrl-C
        for path in temporary.values():
            path.unlink(missing_ok=True)


def show(report: Report, out: Console) -> None:
    """The tables and sentences of a report."""
    out.print(_values(report))
    out.print()
    out.print(_differences(report.differences, report.k))
    out.print()
    if report.base_models:
        out.print(_models(report))
        out.print()
    if report.against is not None:
        out.print(against_sentence(report.against))
        out.print(_differences(report.against.differences, report.k))
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


def _short_signed(estimate: Estimate) -> str:
    """`+.087 [+.072, +.102]`, so that a row fits 80 columns."""
    return signed(estimate, 3).replace("+0.", "+.").replace("-0.", "-.")


def _models(report: Report) -> Table:
    """The score and each base model alone, on the same items for the same people."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model alone", no_wrap=True)
    for name in _MODEL_COLUMNS:
        table.add_column(metric_name(name, report.k).removesuffix(" as exposed"), justify="right", no_wrap=True)
    table.add_column("p, Holm", justify="right", no_wrap=True)
    for row in report.base_models:
        values = (number(row.values[name].mean) for name in _MODEL_COLUMNS)
        table.add_row(row.name, *values, "" if row.difference is None else p_value(row.difference.p_holm))
    return table


def _differences(differences: Sequence[Difference], k: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("person by person", "", "mean difference, 95 %", "", "p Holm"):
        table.add_column(heading, no_wrap=True)
    for d in differences:
        pair, name = f"{d.first} - {d.second}", metric_name(d.metric, k).removesuffix(" as exposed")
        table.add_row(pair, name, _short_signed(d.estimate), verdict_among(d), p_value(d.p_holm))
    return table
