"""The command that evaluates an artifact: `eval`. Heavy imports wait until it runs."""

from pathlib import Path
from typing import Annotated, Final

import typer

from recsys.console import Json, Quiet, console, instant, print_json, progress, say
from recsys.resources import DEFAULT_POLICY, policy_file

app = typer.Typer()
_PANEL: Final = "Evaluation"


@app.command("eval", rich_help_panel=_PANEL, epilog="Example: sanad eval var/artifact --data var/data")
def evaluate(
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", help="A folder that 'sanad train' wrote.", envvar="SANAD_ARTIFACT")
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DATA", help="The dataset folder that it was trained from.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder for metrics.json and report.html. Default: ARTIFACT.eval."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=50, help="Items per page, and the cut-off of the metrics.")] = 20,
    users: Annotated[int, typer.Option(min=5, help="Evaluate at most this many people, drawn by the seed.")] = 2_000,
    until: Annotated[str | None, typer.Option(metavar="INSTANT", help="Ignore events from this instant on.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="ARTIFACT_B", help="Another artifact, compared person by person; of the same cutoff."),
    ] = None,
    also_k: Annotated[
        list[int] | None,
        typer.Option("--also-k", min=1, max=50, help="A further cut-off below --k. Default: 5 and 10."),
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Base models to report, with commas. Default: all.")
    ] = None,
    policy: Annotated[
        Path,
        typer.Option(metavar="FILE", parser=policy_file, show_default="morocco", help="The market's policy."),
    ] = DEFAULT_POLICY,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the sample; equal seeds give equal reports.")] = 0,
    assume_adults: Annotated[
        bool, typer.Option("--assume-adults", help="Count people of unknown age as adults. For sets without ages.")
    ] = False,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Evaluate an artifact on the events that it did not learn from.

    Requests a page for each person who came back after the cutoff. Compares it with the score alone, the score without
    locality, popularity, and every base model of the blend. docs/evaluation.md lists the metrics and what they cannot
    show.
    """
    from eval.offline.run import EvalParams
    from eval.offline.run import evaluate as run
    from eval.report.write import show, write

    end = None if until is None else instant(until, "--until")
    params = EvalParams(
        k=k,
        ks=(5, 10) if also_k is None else tuple(also_k),
        models=None if models is None else tuple(name.strip() for name in models.split(",") if name.strip()),
        n_people=users,
        seed=seed,
        until=end,
        assume_adults=assume_adults,
    )
    with progress(is_quiet=is_quiet) as on_progress:
        report, market = run(artifact, data, policy, params, against=against, on_progress=on_progress)
    folder = out or artifact.parent / f"{artifact.name}.eval"
    write(report, market, folder)
    if as_json:
        print_json(report)
    else:
        show(report, console())
    say(f"{folder / 'metrics.json'} and {folder / 'report.html'}", is_quiet=is_quiet)
