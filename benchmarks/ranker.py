"""
How long the learned ranker takes for the candidates of one page, on one core.

    python benchmarks/ranker.py ARTIFACT [--candidates 500] [--people 200]

Asks for the artifact's own people: first their features, then the chances of all heads together, beside the scores of
one space over the same candidates. Times are of the processor. Nothing is asserted.
"""

import argparse
import os
import platform
from pathlib import Path
from time import process_time

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.clock import from_text
from recsys.models.artifact import load_artifact
from recsys.models.features import RankerQuery, ranker_features
from recsys.models.loaded import build_models
from recsys.types import Responses
from recsys.user.feedback import responses


def main() -> None:
    """Print the machine, the ensemble and one line per part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--people", type=int, default=200)
    chosen = parser.parse_args()
    artifact = load_artifact(chosen.artifact)
    model = build_models(artifact)
    if model.ranker is None:
        raise SystemExit(f"found no ranker in {chosen.artifact}; its manifest says why")
    heads = model.ranker.heads.heads
    sizes = ", ".join(f"{name} {head.booster.num_trees() if head.booster else 0}" for name, head in heads.items())
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; trees: {sizes}")
    rng, at = np.random.default_rng(0), from_text(artifact.manifest.created_at)
    times: dict[str, list[float]] = {"fold in": [], "features": [], "heads": [], "one space": []}
    with threadpool_limits(1):
        for user_id in rng.permutation(list(model.histories))[: chosen.people].tolist():
            rows = rng.choice(model.n_rows, min(chosen.candidates, model.n_rows), replace=False).astype(np.int32)
            history, started = model.histories[user_id], process_time()
            vectors = {name: space.space.fold_in(history) for name, space in model.spaces.items()}
            seen = np.unique(history.items)
            watched = Responses(seen, responses(history.items, history.weights, model.n_rows)[seen])
            who = RankerQuery(
                country="MA", region="MA-06", languages=("ary", "fr"), at=at, history=history, responses=watched,
                vectors=vectors,
            )  # fmt: skip
            times["fold in"].append(process_time() - started)
            started = process_time()
            table = ranker_features(who, model.ranker.inputs, rows)
            times["features"].append(process_time() - started)
            started = process_time()
            model.ranker.heads.predict(table)
            times["heads"].append(process_time() - started)
            started = process_time()
            space = min(model.spaces)
            model.spaces[space].scores(vectors[space], rows)
            times["one space"].append(process_time() - started)
    peer = np.median(times["one space"])
    for name, taken in times.items():
        p50, p99 = np.percentile(taken, [50, 99]) * 1_000
        print(f"{name:>10}: p50 {p50:6.3f} ms, p99 {p99:6.3f} ms, {np.median(taken) / peer:5.1f} times one space")


if __name__ == "__main__":
    main()
