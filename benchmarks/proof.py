"""
The whole engine on real data: import, train, evaluate, serve over HTTP, ask for the feeds of 100 real people.

    python benchmarks/proof.py [--source ../shared/data] [--people 2000]

Two public sets that stand beside the repository, never in it: a short-video log with its published split
(`kuairand-signed`), and listeners and artists with their countries (`lastfm-countries`). They have no labels and no
ages, so this run treats every item as R0 and every person for a verified adult: it shows that the parts work together
on real people's choices, and what locality costs; it shows nothing about safety. Nothing is asserted about speed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
import polars as pl

from eval.offline.holdout import HeldOutUser, hold_out, sample
from eval.offline.intervals import estimate, resample
from eval.offline.measure import per_person
from eval.offline.replay import RANKINGS, ReplayResult, replay
from eval.report.wording import METRIC_NAMES, with_interval
from recsys import metrics
from recsys.clock import DAY, Millis, now
from recsys.data.tables import read_dataset, write_dataset
from recsys.models.artifact import load_artifact
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from recsys.resources import DEFAULT_POLICY
from recsys.types import Fields
from serving.run import run_in_thread
from serving.settings import Settings
from training.importers import FORMATS
from training.importers.common import CUTOFFS, DAY_ZERO
from training.params import TrainParams
from training.train import run

SOURCE: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
K: Final = 20
ASKED: Final = 100
LARGE: Final = ("US", "GB")
"""Most artists are from there, so that for its people nearly any list is local; the others are looked at separately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One set: its format, what is held out and from when, and until when (None: the end of the data)."""

    form: str
    held_out: str
    cutoff: Millis
    until: Millis | None
    has_countries: bool


PROOFS: Final = (
    Proof(
        form="kuairand-signed",
        held_out="the published validation part",
        cutoff=CUTOFFS["valid"],
        until=CUTOFFS["test"],
        has_countries=False,
    ),
    Proof(
        form="lastfm-countries",
        held_out="a fifth of the training part, at random (it has no times, and its test part is not used)",
        cutoff=DAY_ZERO + DAY * 4 // 5,  # the importer spreads that part over one day in a seeded order
        until=DAY_ZERO + DAY,
        has_countries=True,
    ),
)


def main() -> int:
    """Runs the proofs whose data is there; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=SOURCE)
    parser.add_argument("--people", type=int, default=2_000, help="evaluate at most this many")
    options = parser.parse_args()
    print(f"{_commit()}, {_machine()}")
    for proof in PROOFS:
        source = options.source / proof.form
        if not source.is_dir():
            print(f"\n{proof.form}: skipped, there is no {source}; put the published files there to run it")
            continue
        with tempfile.TemporaryDirectory(prefix="sanad-proof-") as folder:
            prove(proof, source, Path(folder), options.people)
    return 0


def prove(proof: Proof, source: Path, folder: Path, n_people: int) -> None:
    """One set, from the published files to 100 answers over HTTP."""
    started = perf_counter()
    data, artifact = folder / "data", folder / "artifact"
    FORMATS[proof.form](source, data)
    _call_everyone_an_adult(data)
    trained = run(data, artifact, TrainParams(holdout_from=proof.cutoff, assume_tier="R0", encoder=None), now())
    counts = trained.manifest.counts
    print(
        f"\n{proof.form}: {counts['people']:,} people, {counts['items']:,} items, "
        f"{counts['events_learned_from']:,} events learned from"
    )
    loaded, market = load_artifact(artifact), load_market(DEFAULT_POLICY)
    holdout = hold_out(loaded, data, until=proof.until)
    people = sample(holdout, n_people, np.random.default_rng(0))
    replayed = replay(loaded, market, people, k=K)
    # where people only ever listened, every impression is relevant, and there is no impression AUC
    shown = ("recall", "ndcg", "coverage", "local_share" if proof.has_countries else "impression_auc")
    everyone = np.ones(len(people), np.bool_)
    _print_table(f"held out: {proof.held_out}; {len(people):,} people", replayed, market, everyone, shown)
    if proof.has_countries:
        abroad = np.array([country not in LARGE for country in replayed.country])
        _print_table(f"of them outside US and GB: {abroad.sum():,}", replayed, market, abroad, shown)
        listened = metrics.mean(replayed.local_share_history[abroad])
        print(f"    local share of what they had listened to: {listened:.3f}")
    with run_in_thread(
        Settings(artifact=artifact, experiments=None, state=folder / "state.db", port=0, allow_assumed=True),
        clock=lambda: proof.cutoff,
    ) as url:
        _print_answers([_ask(url, person, loaded.items["item_id"].to_list()) for person in people[:ASKED]], url)
    print(f"  all of it took {perf_counter() - started:.0f} s")


def _call_everyone_an_adult(data: Path) -> None:
    """People without an age get the feed of 13 to 15, which keeps to labels from partners: there are none here."""
    users = read_dataset(data).users.with_columns(age_band=pl.lit("18+"), age_source=pl.lit("verified"))
    write_dataset(data, users=users.collect())


# --- over HTTP ---


def _ask(url: str, person: HeldOutUser, item_ids: Sequence[str]) -> tuple[Fields, frozenset[str], float]:
    """The answer to one person's request, their relevant items, and the seconds it took."""
    body = {
        "user_id": person.user_id,
        "size": K,
        "exclude_ids": [item_ids[row] for row in person.seen][:1_000],  # over HTTP a list ends there
    }
    request = urllib.request.Request(
        f"{url}/v1/feed", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    started = perf_counter()
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.loads(response.read())
    return answer, frozenset(item_ids[row] for row in person.relevant), perf_counter() - started


def _print_answers(answers: Sequence[tuple[Fields, frozenset[str], float]], url: str) -> None:
    pages = [[item["item_id"] for item in answer["items"]] for answer, _, _ in answers]
    took = np.array([seconds for _, _, seconds in answers]) * 1_000
    n_full = sum(len(page) == K for page in pages)
    n_repeats = sum(len(page) != len(set(page)) for page in pages)
    n_degraded = sum(bool(answer["degraded"]) for answer, _, _ in answers)
    n_hits = sum(len(relevant.intersection(page)) for page, (_, relevant, _) in zip(pages, answers, strict=True))
    n_local = sum(item["locality"]["match"] == "country" for answer, _, _ in answers for item in answer["items"])
    print(
        f"  over HTTP: {len(answers)} people asked, {n_full} full pages, {n_repeats} with a repeat, {n_degraded} "
        f"degraded\n    {n_hits} relevant videos on the pages; {n_local} of "
        f"{sum(map(len, pages)):,} slots from their own country\n    {np.median(took):.1f} ms at the median, "
        f"{np.quantile(took, 0.99):.1f} ms at p99, the call included"
    )


# --- printing ---


def _print_table(title: str, replayed: ReplayResult, market: Market, mask: np.ndarray, shown: Sequence[str]) -> None:
    values = per_person(replayed, market, K)
    resamples = resample(int(mask.sum()), np.random.default_rng(0))
    is_eligible = replayed.n_eligible > 0
    print(f"  {title}\n    {'':24}" + "".join(f"{name:>26}" for name in RANKINGS))
    for metric in shown:
        if metric == "coverage":
            cells = [f"{metrics.coverage(replayed.pages[name][mask], is_eligible):.3f}" for name in RANKINGS]
        else:
            cells = [with_interval(estimate(values[metric][name][mask], resamples)) for name in RANKINGS]
        print(f"    {METRIC_NAMES[metric].format(k=K):24}" + "".join(f"{cell:>26}" for cell in cells))


def _commit() -> str:
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "commit unknown"
    return f"commit {commit.stdout.strip()}"


def _machine() -> str:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
