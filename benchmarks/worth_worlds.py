"""Worlds whose truth is known, and what was trained on them: made once, and kept in a folder."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from eval.simulation.world.truth import Truth
from eval.simulation.worth import is_counted
from recsys.clock import HOUR, Millis, from_text
from recsys.data.tables import read_dataset, write_dataset
from recsys.errors import ArtifactError
from recsys.models.artifact import Artifact, load_artifact
from recsys.policy.schema import Market
from recsys.types import Longs, Mask
from training.params import TrainParams
from training.text.encoder import EncoderParams
from training.train import run

ROOT: Final = Path(__file__).resolve().parents[1]
REQUESTED_AFTER: Final[Millis] = 18 * HOUR + HOUR // 2
"""Pages are asked for this long after the log of a world ends: an evening in Morocco."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedWorld:
    """
    A world, the data that it logged, and an artifact trained on them.

    `items` and `users` are its tables, whose rows number everything here. `seen` holds the ids of the videos that each
    person was shown in the log. `impressions` are its columns `person`, `row` (of the table of items), `at`,
    `propensity`, `watch_fraction` (0 where a video was left at once) and `is_complete`.
    """

    params: WorldParams
    truth: Truth
    items: pl.DataFrame
    users: pl.DataFrame
    data: Path
    artifact: Artifact
    seen: Sequence[tuple[str, ...]]
    impressions: pl.DataFrame

    @property
    def at(self) -> Millis:
        """When pages are asked for."""
        return self.params.ends_at + REQUESTED_AFTER

    @cached_property
    def counted(self) -> Mask:
        """(n_items,) videos that are labelled R0 or R1."""
        return is_counted(self.items)

    @cached_property
    def user_ids(self) -> list[str]:
        """In the order of the table."""
        return list(self.users["user_id"])

    @cached_property
    def languages(self) -> list[tuple[str, ...]]:
        """Of each person, the first language first."""
        return [tuple(languages or ()) for languages in self.users["languages"].to_list()]

    @cached_property
    def kinds(self) -> list[tuple[str, str]]:
        """The first language and the age band of each person: strangers are of the same kind."""
        firsts = [languages[0] if languages else "" for languages in self.languages]
        return list(zip(firsts, self.users["age_band"].fill_null(""), strict=True))

    @cached_property
    def cutoff(self) -> Millis:
        """From when on the artifact did not learn."""
        held_out = self.artifact.manifest.cutoff
        return self.params.ends_at if held_out is None else from_text(held_out)

    @cached_property
    def artifact_rows(self) -> Longs:
        """(n_items,) the row of each video in the artifact."""
        rows = {item_id: row for row, item_id in enumerate(self.artifact.items["item_id"])}
        return np.array([rows[item_id] for item_id in self.items["item_id"]], np.int64)


def world_of(params: WorldParams, folder: Path, encoder: str, *, is_fresh: bool) -> JudgedWorld:
    """
    A world of `folder`, made and trained on when it is not there. `is_fresh` trains again.

    An artifact is kept until then, also while the code changes: the commit that trained it is printed.
    """
    place = folder / (
        f"seed-{params.seed}-items-{params.n_items}-people-{params.n_users}-events-{params.n_events}"
        f"-affinity-{params.local_affinity:g}"
    )
    data, artifact = place / "data", place / f"artifact-{encoder}"
    if not data.is_dir():
        world = generate(params)
        tables = {name: getattr(world, name) for name in ("creators", "items", "users", "events")}
        write_dataset(data, **tables)
    if is_fresh or not _is_readable(artifact):
        chosen = None if encoder == "none" else EncoderParams()
        run(data, artifact, TrainParams(encoder=chosen), params.ends_at + REQUESTED_AFTER)
        artifact.with_suffix(".commit").write_text(commit(), "utf-8")
    note = artifact.with_suffix(".commit")
    print(f"\n{place.name}, {encoder}: trained by {note.read_text('utf-8') if note.is_file() else 'an unknown commit'}")
    return open_world(params, data, artifact)


def _is_readable(artifact: Path) -> bool:
    """False for an artifact that is not there, or of another format."""
    try:
        load_artifact(artifact)
    except ArtifactError:
        return False
    return True


def open_world(params: WorldParams, data: Path, artifact: Path) -> JudgedWorld:
    """
    The world behind a folder of data. Raises SystemExit when the parameters do not give the tables of that folder.
    """
    dataset = read_dataset(data)
    items, users = dataset.items.collect(), dataset.users.collect()
    sizes = replace(params, n_items=len(items), n_users=len(users), n_events=0)  # the truth does not need the log
    world = generate(sizes)
    for made, read, columns in (
        (world.items, items, ("item_id", "title", "creator_id")),
        (world.users, users, ("user_id", "region", "languages")),
    ):
        if not made.select(columns).equals(read.select(columns)):
            raise SystemExit(
                f"found tables in {data} that the world of seed {params.seed} does not have, expected the seed that "
                "made them; name it with --seeds"
            )
    events = dataset.events.collect()
    return JudgedWorld(
        params=replace(sizes, n_events=params.n_events), truth=world.truth, items=items, users=users, data=data,
        artifact=load_artifact(artifact), seen=_seen(events, users),
        impressions=_impressions(events, items, users),
    )  # fmt: skip


def _seen(events: pl.DataFrame, users: pl.DataFrame) -> list[tuple[str, ...]]:
    shown = events.filter(pl.col("item_id").is_not_null()).group_by("user_id").agg(pl.col("item_id").unique().sort())
    by_user = dict(shown.iter_rows())
    return [tuple(by_user.get(user_id, ())) for user_id in users["user_id"]]


def _impressions(events: pl.DataFrame, items: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    kind = pl.col("kind")
    return (
        events.join(users.select("user_id").with_row_index("person"), on="user_id")
        .join(items.select("item_id").with_row_index("row"), on="item_id")
        .group_by("person", "row")
        .agg(
            pl.col("at", "propensity").filter(kind == "impression").first(),
            pl.col("watch_fraction").filter(kind == "view").max().fill_null(0.0),
            is_complete=(kind == "complete").any(),
        )
        .sort("at", "person", "row")
    )


def weighted(market: Market, weights: str) -> Market:
    """
    The market with other weights, such as `complete=8,cf=0`. `all=0` sets every weight before the others are set.
    """
    if not weights:
        return market
    given = {name: float(value) for name, _, value in (pair.partition("=") for pair in weights.split(","))}
    unknown = sorted(given.keys() - market.weights.keys() - {"all"})
    if unknown:
        raise SystemExit(f"found weights of {', '.join(unknown)}, expected {', '.join(market.weights)} or all")
    start = dict.fromkeys(market.weights, given.pop("all")) if "all" in given else market.weights
    return replace(market, weights={**start, **given})


def _everywhere(market: Market, change: Callable[[Any], Any]) -> Market:
    """The market with the rules of every age band and loop level changed."""
    ages = {
        name: replace(change(rules), levels={level: change(at_level) for level, at_level in rules.levels.items()})
        for name, rules in market.ages.items()
    }
    return replace(market, ages=ages)


def _without_local_floor(market: Market) -> Market:
    return replace(market, locality=replace(market.locality, floor=0.0))


def _without_locality(market: Market) -> Market:
    rules = replace(market.locality, floor=0.0, target=0.0)
    return replace(market, locality=rules, weights={**market.weights, "local": 0.0})


def _without_supportive_floor(market: Market) -> Market:
    return _everywhere(market, lambda rules: replace(rules, supportive_floor=0.0))


def _without_caps(market: Market) -> Market:
    def uncapped(rules: Any) -> Any:
        return replace(rules, windows={name: type(caps)() for name, caps in rules.windows.items()}, gaps={})

    market = _everywhere(market, uncapped)
    return replace(market, locality=replace(market.locality, creator_last_20=20))


def _without_exploration(market: Market) -> Market:
    return replace(market, exploration=replace(market.exploration, slots=0))


RULES: Final[dict[str, Callable[[Market], Market]]] = {
    "supportive floor": _without_supportive_floor,
    "local floor": _without_local_floor,
    "both floors": lambda market: _without_local_floor(_without_supportive_floor(market)),
    "locality (floor and weight)": _without_locality,
    "caps and gaps": _without_caps,
    "exploration": _without_exploration,
    "all of these": lambda market: _without_exploration(
        _without_caps(_without_locality(_without_supportive_floor(market)))
    ),
}
"""The market without one of its rules. For measuring what a rule costs alone: nothing serves by these."""


def commit() -> str:
    """The commit of the working tree, in short."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "no commit"
