"""The commands that serve people: `serve`, `feed`, `recommend`. None of them imports torch or anything that trains."""

import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import At, Json, Quiet, console, present, print_json, progress, say
from recsys.errors import ConfigError
from serving.commands.options import ArtifactFolder, ExperimentFolder, Policy, artifact_folder

if TYPE_CHECKING:
    from recsys.clock import Millis
    from recsys.feed.engine import Engine
    from recsys.messages import FeedResponse
    from serving.settings import Settings

app = typer.Typer()
_PANEL: Final = "Feeds"


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad serve var/artifact --state var/state.db --port 8000")
def serve(
    artifact: ArtifactFolder = None,
    policy: Policy = None,
    experiments: ExperimentFolder = None,
    has_shared_rules: Annotated[
        bool, typer.Option("--shared-rules", help="Serve by the rules that 'sanad policy publish' wrote to the state.")
    ] = False,
    models: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of artifacts that can be activated while it serves.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help="Users' state: a file, or a server's address. Default: ARTIFACT.state.db."),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file of service keys that 'sanad key new' writes.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Default: 127.0.0.1. Other hosts need service keys.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: 8000. 0 takes any free port.")] = None,
    allow_assumed: Annotated[
        bool, typer.Option("--allow-assumed", help="Serve assumed tiers, to this machine only.")
    ] = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Serve feeds over HTTP until Ctrl-C.

    Prints one line when the service is ready, with a curl command to copy.

    Each option has a variable: SANAD_POLICY, SANAD_STATE and so on. With service keys, callers need one.
    """
    from serving.logs import configure
    from serving.run import serve as run
    from serving.settings import read_settings
    from serving.stores.open import state_of

    settings = read_settings(
        os.environ, artifact=artifact_folder(artifact), policy=policy, experiments=experiments,
        has_shared_rules=has_shared_rules or None, models=models, state=None if state is None else state_of(state),
        key_file=key_file, host=host, port=port,
        allow_assumed=allow_assumed or None,
    )  # fmt: skip
    configure(settings.log_level)
    with ExitStack() as drawing:
        report = drawing.enter_context(progress(is_quiet=is_quiet))

        def ready(url: str) -> None:
            drawing.close()  # the bar goes, the ready line stays
            typer.echo(ready_lines(url, settings, _example_user(settings.artifact)))

        run(settings, on_ready=ready, on_progress=report)
    say("stopped; the state file is closed", is_quiet=is_quiet)


def ready_lines(url: str, settings: "Settings", user_id: str) -> str:
    """What is printed when the service accepts requests: its address, and two commands to copy."""
    key = ' -H "X-API-Key: $KEY"' if settings.has_keys else ""
    pretty = " | python3 -m json.tool --no-ensure-ascii"
    profile = '{"age_band": "18+", "age_source": "verified", "country": "MA", "region": "MA-06", "languages": ["ary"]}'
    feed_url = shlex.quote(f"{url}/v1/feed/{user_id}?size=5")
    put_profile = (
        f"curl -sSf -o /dev/null -X PUT{key} -H 'Content-Type: application/json' -d '{profile}' {url}/v1/users/me"
    )
    return (
        f"Ready: {url} serves {settings.artifact}, state in {settings.where}. Ctrl-C stops it. Ask for a feed:\n\n"
        f"  curl -s{key} {feed_url}{pretty}\n\n"
        f"Or be a new user, an adult in Casablanca (without a verified age a user counts as 13 to 15):\n\n"
        f"  {put_profile} && curl -s{key} '{url}/v1/feed/me?size=5'{pretty}\n"
    )


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad feed var/artifact --user casa-adult --size 10")
def feed(
    artifact: ArtifactFolder = None,
    user: Annotated[str, typer.Option(help="The id of the user. An unknown id gets a feed too.")] = "",
    size: Annotated[int, typer.Option(min=1, max=50, help="Items on the page.")] = 20,
    at: At = None,
    policy: Policy = None,
    experiments: ExperimentFolder = None,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help="Count the page in this state: a file or an address. Default: in memory."),
    ] = None,
    as_json: Json = False,
    is_quiet: Quiet = False,
) -> None:
    """
    Print one page of a feed, without a service.

    With --state the page counts in that file's ledger, like a page that was served.

    Without --state nothing is remembered, so the caps see an empty ledger.
    """
    if not user:
        raise ConfigError("found no --user, expected the id of a user, such as --user casa-adult")
    from serving.commands.engines import check_clock, command_engine
    from serving.stores.open import state_of

    folder, now, counted = artifact_folder(artifact), present(at), None if state is None else state_of(state)
    with command_engine(folder, now, policy=policy, experiments=experiments, state=counted, is_quiet=is_quiet) as (
        engine,
        _,
    ):
        if at is None:
            check_clock(engine, now)
        page = _page(engine, user, size, now)
        if as_json:
            print_json(page)
            return
        _show(engine, page)
    if state is None:
        say("note: counted in memory only, from an empty ledger; --state FILE counts in a file", is_quiet=is_quiet)


@app.command(rich_help_panel=_PANEL, epilog="Example: sanad recommend var/artifact --users ids.txt --out pages.parquet")
def recommend(
    artifact: ArtifactFolder = None,
    users: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="One user id per line, or a CSV with user_id. Default: all users."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .jsonl or .parquet file. Default: JSON lines on the terminal."),
    ] = None,
    size: Annotated[int, typer.Option(min=1, max=50, help="Items per page.")] = 20,
    at: At = None,
    policy: Policy = None,
    experiments: ExperimentFolder = None,
    is_quiet: Quiet = False,
) -> None:
    """
    Write one page for each of many users, as rows of a file.

    All rules apply, and nothing is reserved in a ledger. The same --at gives the same rows.

    Do not show two of these pages to one user: together they may hold more than the caps allow.
    """
    from recsys.data.id_files import read_ids, strangers_note
    from serving.commands import batch
    from serving.commands.engines import command_engine

    folder, now = artifact_folder(artifact), present(at)
    batch.check_name(out)
    with command_engine(folder, now, policy=policy, experiments=experiments, state=None, is_quiet=is_quiet) as (
        engine,
        loaded,
    ):
        known = batch.known_ids(loaded)
        ids = read_ids(users, "user_id") if users else known
        note = strangers_note(users, ids, known) if users else None
        if note:
            say(f"note: {note}", is_quiet=is_quiet)
        with progress(is_quiet=is_quiet) as report:
            n_rows = batch.write(batch.rows(engine, ids, size, now, report), out)
    say(f"{len(ids):,} people, {n_rows:,} rows" + (f" in {out}" if out else ""), is_quiet=is_quiet)


def _page(engine: "Engine", user_id: str, size: int, at: "Millis") -> "FeedResponse":
    import msgspec

    from recsys.feed.engine import feed as feed_page
    from recsys.messages import FeedRequest, FeedResponse

    answer = feed_page(engine, FeedRequest(user_id=user_id, size=size), at).answer
    return msgspec.json.decode(answer, type=FeedResponse)


def _show(engine: "Engine", page: "FeedResponse") -> None:
    from serving.commands.page_table import page_table, remaining_line, shortfall_lines, summary_line, unknown_line

    cache, out = engine.resources.catalogue_cache, console()
    rows = {item.item_id: cache.catalogue.get(item.item_id) for item in page.items}
    fields = {item_id: row.fields for item_id, row in rows.items() if row is not None}
    out.print(page_table(page, fields, cache.market, out))
    night = ", at night" if page.safety.is_night else ""
    who = f"{page.user_id} counts as {page.safety.age_band}{night}, loop level {page.safety.loop_level}."
    experiments = [f"Experiments: {page.experiments}"] if page.experiments else []
    unknown = [line] if (line := unknown_line(page)) else []
    for line in (summary_line(page), *shortfall_lines(page), who, remaining_line(page, "R2"), *unknown, *experiments):
        out.print(line)


def _example_user(artifact: Path) -> str:
    """
    The first user with a history, for the curl command of the ready line. Plain ids only: a shell reads it. Where it
    goes to no terminal it is kept, as a log is, and names nobody.
    """
    import polars as pl

    if not sys.stdout.isatty():
        return "somebody"
    path = artifact / "users.parquet"
    ids = pl.scan_parquet(path).select("user_id").head(100).collect()["user_id"].to_list() if path.is_file() else []
    return next((user_id for user_id in ids if user_id.replace("-", "").replace("_", "").isalnum()), "somebody")
