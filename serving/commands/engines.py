"""The engine that a command asks: over a state file like the service's, or over memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from threadpoolctl import threadpool_limits

from recsys.clock import Millis, to_text
from recsys.console import progress, say
from recsys.errors import ConfigError
from recsys.experiments.files import load_experiments
from recsys.experiments.payload import Experiments
from recsys.feed.build import build_engine
from recsys.feed.engine import Engine
from recsys.models.artifact import Artifact, load_artifact
from recsys.policy.checks import load_market
from recsys.stores.memory import MemoryStore
from serving.clock_guard import GuardedClock
from serving.run import open_engine
from serving.settings import Settings, read_settings
from serving.stores.open import State


@contextmanager
def command_engine(
    folder: Path, at: Millis, *, policy: Path | None, experiments: Path | None, state: State | None, is_quiet: bool
) -> Iterator[tuple[Engine, Artifact]]:
    """
    The engine of the artifact in `folder`, and that artifact. Without `state` it counts in memory, from an empty past.

    Artifacts with assumed tiers are accepted: a command shows pages to an operator only.
    """
    settings = read_settings(
        {}, artifact=folder, policy=policy, experiments=experiments, state=state, allow_assumed=True
    )
    with progress(is_quiet=is_quiet) as report:
        report("artifact", 0, None)
        artifact = load_artifact(folder)
    _warn_of_missing_tiers(artifact, is_quiet=is_quiet)
    if state is not None:
        with open_engine(settings, clock=lambda: at) as engine:
            yield engine, artifact
        return
    with in_memory(artifact, settings, at) as engine:
        yield engine, artifact


@contextmanager
def in_memory(artifact: Artifact, settings: Settings, at: Millis) -> Iterator[Engine]:
    """An engine whose state is gone when the block ends."""
    market, store = load_market(settings.policy), MemoryStore()
    folder = settings.experiments
    with threadpool_limits(1):
        yield build_engine(
            artifact, market, Experiments() if folder is None else load_experiments(folder, market),
            stores=store.stores, key=os.urandom(32),
            new_id=lambda: uuid4().hex, at=at, alert=lambda sentence: say(f"alert: {sentence}"),
        )  # fmt: skip


def check_clock(engine: Engine, at: Millis) -> None:
    """Raise ConfigError when the clock is not believed: a page that counts would free windows of the ledger."""
    reading = GuardedClock(lambda: at, lambda: engine.stores.users, is_quiet=True).read()
    if not reading.is_believed:
        raise ConfigError(
            f"found the clock at {to_text(at)} and a state file last written at {to_text(reading.at)}, expected "
            "at most an hour between; correct the clock, confirm it to the running service, or give the instant (--at)"
        )


def _warn_of_missing_tiers(artifact: Artifact, *, is_quiet: bool) -> None:
    n_unlabelled = artifact.manifest.counts.get("unlabelled_items", 0)
    n_items = artifact.manifest.counts.get("items", 0)
    if artifact.manifest.risk_source == "assumed":
        say("note: this artifact has assumed tiers (--assume-tier). It is for trials only", is_quiet=is_quiet)
    elif n_unlabelled:
        say(
            f"note: {n_unlabelled:,} of {n_items:,} items have no risk_tier. Adults get them as R2, minors never get "
            "them",
            is_quiet=is_quiet,
        )
