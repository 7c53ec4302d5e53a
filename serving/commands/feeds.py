"""The commands that serve people: `serve`, `feed`, `recommend`. None of them imports torch or trains anything."""

import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from recsys.console import At, Json, Quiet, console, present, print_json, progress, say
from recsys.errors import ConfigError

if TYPE_CHECKING:
    from recsys.clock import Millis
    from recsys.feed.engine import Engine
    from recsys.messages import FeedResponse
    from recsys.models.artifact import Artifact
    from serving.settings import Settings

app = typer.Typer()
_PANEL: Final = "Feeds"

ArtifactFolder = Annotated[
    Path | None, typer.Argument(metavar="ARTIFACT", help="A folder from 'sanad train'.", envvar="SANAD_ARTIFACT")
]
Policy = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The market's policy. Default: policies/morocco.yaml.")
]
ExperimentFolder = Annotated[Path | None, typer.Option(metavar="DIR", help="Experiment files. Default: experiments/.")]


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad serve var/artifact --state var/state.db --port 8000")
def serve(
    artifact: ArtifactFolder = None,
    policy: Policy = None,
    experiments: ExperimentFolder = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="State of people. Default: ARTIFACT.state.db.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Default: 127.0.0.1. Others need SANAD_API_KEYS.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: 8000; 0 = any free one.")] = None,
    allow_assumed: Annotated[
        bool, typer.Option("--allow-assumed", help="Serve made-up tiers, on this machine only.")
    ] = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Answer feeds over HTTP until Ctrl-C.

    Prints one ready line with a curl to copy. Each option can also be set as SANAD_POLICY, SANAD_STATE and so on; keys
    only as SANAD_API_KEYS (SHA-256 digests, separated by commas).
    """
    from serving.run import serve as run
    from serving.settings import read_settings

    settings = read_settings(
        os.environ, artifact=_needed(artifact), policy=policy, experiments=experiments, state=state, host=host,
        port=port, allow_assumed=allow_assumed or None,
    )  # fmt: skip
    with ExitStack() as drawing:
        report = drawing.enter_context(progress(is_quiet=is_quiet))

        def ready(url: str) -> None:
            drawing.close()  # the bar goes, the ready line stays
            logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
            typer.echo(ready_lines(url, settings, _somebody(settings.artifact)))

        run(settings, on_ready=ready, on_progress=report)
    say("stopped; the state file is closed", is_quiet=is_quiet)


def ready_lines(url: str, settings: "Settings", user_id: str) -> str:
    """What is printed when requests are accepted: where, and two commands to paste."""
    key = ' -H "X-API-Key: $KEY"' if settings.keys else ""
    pretty = " | python3 -m json.tool --no-ensure-ascii"
    profile = '{"age_band": "18+", "age_source": "verified", "country": "MA", "region": "MA-06", "languages": ["ary"]}'
    feed_of = shlex.quote(f"{url}/v1/feed/{user_id}?size=5")
    somebody = (
        f"curl -sSf -o /dev/null -X PUT{key} -H 'Content-Type: application/json' -d '{profile}' {url}/v1/users/me"
    )
    return (
        f"Ready: {url} serves {settings.artifact}, state in {settings.state_file}. Ctrl-C stops it. Ask for a feed:\n\n"
        f"  curl -s{key} {feed_of}{pretty}\n\n"
        f"Or be somebody new, an adult in Casablanca (without a verified age a person counts as 13 to 15):\n\n"
        f"  {somebody} && curl -s{key} '{url}/v1/feed/me?size=5'{pretty}\n"
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad feed var/artifact --user casa-adult --size 10")
def feed(
    artifact: ArtifactFolder = None,
    user: Annotated[str, typer.Option(help="Whose feed; an id that nobody has is served too.")] = "",
    size: Annotated[int, typer.Option(min=1, max=50, help="Videos on the page.")] = 20,
    at: At = None,
    policy: Policy = None,
    experiments: ExperimentFolder = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The ledger to count in, as of 'serve'. Default: none.")
    ] = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Print one feed, without HTTP.

    With --state the page counts in that ledger, like one that was served. Without it nothing is remembered, so the
    caps see an empty past.
    """
    if not user:
        raise ConfigError("found no --user, expected the id of a person, such as --user casa-adult")
    when = present(at)
    with _engine(_needed(artifact), policy, experiments, state, when, is_quiet) as (engine, served):
        page = _page(engine, user, size, when)
        if as_json:
            print_json(page)
            return
        _show(engine, served, page)
    if state is None:
        say("note: counted in memory only, from an empty past; --state FILE counts in a ledger", is_quiet=is_quiet)


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad recommend var/artifact --users ids.txt --out pages.parquet")
def recommend(
    artifact: ArtifactFolder = None,
    users: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An id per line. Default: everybody in the artifact.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .jsonl or .parquet file. Default: JSON lines on the terminal."),
    ] = None,
    size: Annotated[int, typer.Option(min=1, max=50, help="Videos per person.")] = 20,
    at: At = None,
    policy: Policy = None,
    experiments: ExperimentFolder = None,
    is_quiet: Quiet = False,
) -> None:
    """
    Write a page for each of many people, under all rules, reserving nothing.

    One row per person and position, the same on every run with the same --at. These are no feeds to show: nothing is
    counted, so two of them in a row may hold more than the caps allow.
    """
    from serving.commands import batch

    folder, when = _needed(artifact), present(at)
    batch.check_name(out)
    with _engine(folder, policy, experiments, None, when, is_quiet) as (engine, served):
        ids = batch.read_ids(users) if users else batch.known_ids(served)
        with progress(is_quiet=is_quiet) as report:
            n_rows = batch.write(batch.rows(engine, ids, size, when, report), out)
    say(f"{len(ids):,} people, {n_rows:,} rows" + (f" in {out}" if out else ""), is_quiet=is_quiet)


def _needed(artifact: Path | None) -> Path:
    if artifact is None:
        raise ConfigError("found no ARTIFACT, expected the folder that 'sanad train DATA --out ARTIFACT' wrote")
    return artifact


@contextmanager
def _engine(
    folder: Path, policy: Path | None, experiments: Path | None, state: Path | None, at: "Millis", is_quiet: bool
) -> "Iterator[tuple[Engine, Artifact]]":
    """The engine of an artifact over a state file, or over memory; and what it was built from."""
    from recsys.models.artifact import load_artifact
    from serving.run import opened
    from serving.settings import read_settings

    settings = read_settings(
        {}, artifact=folder, policy=policy, experiments=experiments, state=state, allow_assumed=True
    )
    with progress(is_quiet=is_quiet) as report:
        report("artifact", 0, None)
        artifact = load_artifact(folder)
    _say_what_is_assumed(artifact, is_quiet)
    if state is not None:
        with opened(settings, clock=lambda: at, prunes=False) as engine:
            yield engine, artifact
        return
    with in_memory(artifact, settings, at) as engine:
        yield engine, artifact


@contextmanager
def in_memory(artifact: "Artifact", settings: "Settings", at: "Millis") -> "Iterator[Engine]":
    """An engine that forgets everything at the end."""
    from uuid import uuid4

    from threadpoolctl import threadpool_limits

    from recsys.experiments.files import load_experiments
    from recsys.experiments.payload import Experiments
    from recsys.feed.build import build_engine
    from recsys.policy.checks import load_market
    from recsys.stores.memory import MemoryStore

    market, store = load_market(settings.policy), MemoryStore()
    folder = settings.experiments
    with threadpool_limits(1):
        yield build_engine(
            artifact, market, Experiments() if folder is None else load_experiments(folder, market),
            users=store.users, log=store.events, catalogue=store.catalogue, key=os.urandom(32),
            new_id=lambda: uuid4().hex, at=at, alert=lambda sentence: say(f"alert: {sentence}"),
        )  # fmt: skip


def _page(engine: "Engine", user_id: str, size: int, at: "Millis") -> "FeedResponse":
    import msgspec

    from recsys.feed.engine import feed as one_feed
    from recsys.messages import FeedRequest, FeedResponse

    answer = one_feed(engine, FeedRequest(user_id=user_id, size=size), at).answer
    return msgspec.json.decode(answer, type=FeedResponse)


def _show(engine: "Engine", artifact: "Artifact", page: "FeedResponse") -> None:
    from serving.commands.page_table import in_short, page_table, remaining_in_words, shortfall_in_words

    view, out = engine.resources.catalogue_cache, console()
    rows = {item.item_id: view.catalogue.get(item.item_id) for item in page.items}
    fields: dict[str, Any] = {item_id: row.fields for item_id, row in rows.items() if row is not None}
    out.print(page_table(page, fields, view.market, out.width))
    night = ", at night" if page.safety.is_night else ""
    who = f"{page.user_id} counts as {page.safety.age_band}{night}, loop level {page.safety.loop_level}."
    tried = [f"Experiments: {page.experiments}"] if page.experiments else []
    for line in (in_short(page), *shortfall_in_words(page), who, remaining_in_words(page, "R2"), *tried):
        out.print(line)


def _say_what_is_assumed(artifact: "Artifact", is_quiet: bool) -> None:
    n_unlabelled = artifact.manifest.counts.get("unlabelled_items", 0)
    n_items = artifact.manifest.counts.get("items", 0)
    if artifact.manifest.risk_source == "assumed":
        say("note: the tiers of this artifact are made up (--assume-tier); it is for trials", is_quiet=is_quiet)
    elif n_unlabelled:
        say(
            f"note: {n_unlabelled:,} of {n_items:,} items have no risk_tier: each counts as R2 for adults, and minors "
            "never get it",
            is_quiet=is_quiet,
        )


def _somebody(artifact: Path) -> str:
    """The first person with a history, for the curl of the ready line; plain ids only, for it is pasted."""
    import polars as pl

    path = artifact / "users.parquet"
    ids = pl.scan_parquet(path).select("user_id").head(100).collect()["user_id"].to_list() if path.is_file() else []
    return next((user_id for user_id in ids if user_id.replace("-", "").replace("_", "").isalnum()), "somebody")
