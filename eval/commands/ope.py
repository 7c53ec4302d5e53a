"""The command that evaluates a policy from the log of another one: `ope`. Heavy imports wait until it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import Json, Quiet, console, print_json, progress
from recsys.errors import ConfigError
from recsys.resources import DEFAULT_POLICY, policy_file

if TYPE_CHECKING:
    from eval.ope.report import OpeReport, Value

app = typer.Typer()
_PANEL: Final = "Evaluation"


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad ope var/data-new --policy var/artifact")
def ope(
    log: Annotated[
        Path, typer.Argument(metavar="LOG", help="A dataset of 'sanad export dataset', or a table of choices.")
    ],
    policy: Annotated[
        str,
        typer.Option(
            metavar="ARTIFACT",
            help="The policy to judge. For a table: a file of probabilities, 'uniform', or a column of the log.",
        ),
    ],
    reward: Annotated[
        str, typer.Option(help="Of a dataset: watch, complete, like, helped, share or not_interested.")
    ] = "watch",
    column: Annotated[
        list[str] | None, typer.Option(metavar="NAME=COLUMN", help="What a column of a table is called. Repeatable.")
    ] = None,
    clip: Annotated[float, typer.Option(min=1.0, help="The largest weight in 'clipped' and 'switch'.")] = 10.0,
    resamples: Annotated[int, typer.Option(min=100, help="Resamples of people, for the intervals.")] = 1_000,
    pages: Annotated[int, typer.Option(min=1, help="Plan at most this many pages, drawn by the seed.")] = 2_000,
    market: Annotated[
        Path,
        typer.Option(metavar="FILE", parser=policy_file, show_default="morocco", help="The market's policy."),
    ] = DEFAULT_POLICY,
    seed: Annotated[int, typer.Option(min=0, help="The seed; equal seeds give equal results.")] = 0,
    assume_adults: Annotated[
        bool, typer.Option("--assume-adults", help="Count people of unknown age as adults. For sets without ages.")
    ] = False,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Estimate what a policy would have gained, from the log of another policy that recorded its propensities.

    On pages of this service it is the value of the explored slots: the other places were certain, and a log says
    nothing about what it could not show. docs/evaluation.md explains the estimators.

    Exit code 1: the log cannot tell, and every estimate is refused.
    """
    from eval.ope.run import OpeParams, evaluate_policy

    params = OpeParams(
        reward=reward, columns=_columns(column or []), clip=clip, seed=seed, n_resamples=resamples, max_pages=pages,
        assume_adults=assume_adults,
    )  # fmt: skip
    with progress(is_quiet=is_quiet) as on_progress:
        report = evaluate_policy(log, policy, market, params, on_progress=on_progress)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if report.is_refused:
        raise typer.Exit(1)


def _columns(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, is_pair, column = pair.partition("=")
        if not (name and is_pair and column):
            raise ConfigError(f"--column: found {pair!r}, expected a pair such as reward=click")
        found[name] = column
    return found


def _show(report: "OpeReport") -> None:
    from rich.table import Table

    out, d = console(), report.diagnostics
    out.print(
        f"{report.log}: {d.n_rounds:,} choices, {d.n_pages:,} pages, {d.n_people:,} people; policy {report.policy}"
    )
    out.print(f"Estimated: {report.estimand}.")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("", "of a", "value", "95 % interval", "effective rows"):
        table.add_column(heading, justify="left" if heading in ("", "of a") else "right", no_wrap=True)
    for value in (report.logged, *report.values):
        table.add_row(*_cells(value))
    out.print(table)
    for value in report.values:
        if value.refused:
            out.print(f"{value.estimator} is refused: {value.refused}.")
    quantiles = ", ".join(f"{name} {value:.3g}" for name, value in d.propensity_quantiles.items())
    out.print(f"Propensities: {quantiles}; {d.certain_share:.1%} are 1, {d.rare_share:.1%} are below 0.001.")
    out.print(
        f"Weights: {d.effective_size:,.0f} effective choices ({d.effective_share:.1%}), mean {d.mean_weight:.3f}, most "
        f"{d.max_weight:.3g}; the heaviest 1 % of choices have {d.top_weight_share:.0%}."
    )
    out.print(f"Overlap: the policy could have made {d.matched_share:.1%} of the logged choices.")
    if report.caution:
        out.print(report.caution)
    for notice in report.notices:
        out.print(notice)
    if report.is_refused:
        out.print(
            "The log cannot tell what this policy is worth: log with more exploration, or try it in an experiment."
        )


def _cells(value: "Value") -> tuple[str, ...]:
    interval = "" if value.low is None or value.high is None else f"{value.low:.4f} to {value.high:.4f}"
    rows = "" if value.effective_size is None else f"{value.effective_size:,.0f}"
    return value.estimator, value.unit, "–" if value.value is None else f"{value.value:.4f}", interval, rows
