"""
What the models cost on Gowalla, against `implicit` called directly in the same run.

    python benchmarks/models.py [--data ../shared/data/gowalla]

Seconds of processor, one thread. Factors are fitted to the same size; `implicit` gets 10 epochs, ours the 2 that it
needs from its start. Beside the seconds stands what the fit is worth (Recall@20 on the test part, 3,000 people).
Nothing is asserted: machines differ.
"""

import argparse
import os
import platform
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.metrics import recall
from recsys.models import graph_filter, ials, spectral
from recsys.models.base import ItemItemModel, LinearSpace, PreferenceModel
from recsys.models.blend import Blend, mask_excluded
from recsys.models.ials import FactorSpace
from recsys.models.interactions import UserInteractions, interactions_from_matrix
from recsys.models.reranker import Reranker, compute_item_use
from recsys.topk import top_k
from recsys.types import Floats, History, Rows
from training.models.reranker import build_reranker_table, fit_reranker
from training.models.splits import Split, read_split
from training.models.yardstick import mark_hits

ROOT = Path(__file__).resolve().parents[1]
SIZE, PEOPLE, BLOCK = 256, 3_000, 64


def main() -> None:
    """Prints one line for each measurement."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "gowalla")
    folder = options.parse_args().data
    split = read_split("npz", folder / "train.npz", folder / "test.npz")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with threadpool_limits(1):
        factors = _factors(split)
        models: dict[str, PreferenceModel] = {
            "graph_filter": _timed("graph filter, 200 neighbours", lambda: graph_filter.fit(split.train, _FILTER)),
            "spectral": _timed("spectral, 256 vectors", lambda: spectral.fit(split.train, _SPECTRAL, _rng())),
            "ials": factors,
        }
        _recommend("one space", factors, split)
        blend = Blend(models, {"ials": 1.0, "spectral": 0.4, "graph_filter": 0.4})
        _recommend("the weighted sum of three", blend, split)
        _recommend("the re-ranked sum of three", replace(blend, reranker=_fit_reranker(blend, split)), split)
        _fold_in(factors)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


_FILTER = graph_filter.GraphFilterParams()
_SPECTRAL = spectral.SpectralParams(embedding_size=SIZE)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _timed(name: str, fit: Callable[[], LinearSpace | ItemItemModel]) -> PreferenceModel:
    before = process_time()
    made = fit()
    print(f"{name:50} {process_time() - before:8.1f} s")
    return made


def _factors(split: Split) -> FactorSpace:
    """Ours, after `implicit` itself."""
    from implicit.cpu.als import AlternatingLeastSquares

    before = process_time()
    model = AlternatingLeastSquares(SIZE, regularization=30.0, alpha=40.0, iterations=10, num_threads=1, random_state=0)
    model.fit(split.train, show_progress=False)
    direct = process_time() - before
    print(f"{f'implicit ALS called directly, {SIZE} numbers, 10 epochs':50} {direct:8.1f} s")
    theirs = (np.asarray(model.user_factors), np.asarray(model.item_factors))
    before = process_time()
    ours = ials.fit(split.train, ials.IALSParams(embedding_size=SIZE), _rng())
    ours_s = process_time() - before
    print(f"{f'ours, {SIZE} numbers, 2 exact epochs':50} {ours_s:8.1f} s, {ours_s / direct:.2f} of it")
    people = _rng().permutation(split.train.shape[0])[:PEOPLE]
    print(f"  implicit: Recall@20 {_recall(lambda rows, _: theirs[0][rows] @ theirs[1].T, split, people):.4f}")
    print(f"  ours: Recall@20 {_recall(lambda _, users: ours.scores(users), split, people):.4f}")
    return ours


def _recall(scores: Callable[[Rows, UserInteractions], Floats], split: Split, people: Rows) -> float:
    recalls = []
    for start in range(0, len(people), BLOCK):
        rows = people[start : start + BLOCK]
        users, wanted = interactions_from_matrix(split.train[rows]), split.test[rows]
        shown = mark_hits(mask_excluded(scores(rows, users), users), wanted, 20)
        recalls.append(recall(shown, np.diff(wanted.indptr), 20))
    return float(np.nanmean(np.concatenate(recalls)))


def _recommend(name: str, part: PreferenceModel | Blend, split: Split) -> None:
    users: UserInteractions = interactions_from_matrix(split.train)[:PEOPLE]
    before = process_time()
    for start in range(0, PEOPLE, BLOCK):
        some = users[start : start + BLOCK]
        top_k(mask_excluded(part.scores(some), some), 20)
    label, speed = f"20 of {split.train.shape[1]:,} items, {name}", PEOPLE / (process_time() - before)
    print(f"{label:50} {speed:8,.0f} people a second")


def _fit_reranker(blend: Blend, split: Split) -> Reranker:
    """Fitted to the test part: what it costs is measured here, not what it is worth."""
    use, people = compute_item_use(split.train), np.arange(PEOPLE)
    table = build_reranker_table(blend, use, interactions_from_matrix(split.train)[people], people, split.test[people])
    reranker = fit_reranker(table, 20, _rng()).build(tuple(blend.base_models), use)
    assert reranker is not None
    return reranker


def _fold_in(factors: FactorSpace) -> None:
    items = _rng().choice(len(factors.item_vectors), 100, replace=False).astype(np.int32)
    history = History(items, np.ones(100, np.float32), np.arange(100))
    taken = []
    for _ in range(200):
        before = process_time()
        factors.fold_in(history)
        taken.append(process_time() - before)
    print(f"{'the vector of a user with 100 interactions':50} {np.median(taken) * 1e3:8.2f} ms at the median")


if __name__ == "__main__":
    main()
