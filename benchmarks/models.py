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
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.metrics import recall
from recsys.models import ials, neighbours
from recsys.models import spectral as lowpass
from recsys.models.base import Part
from recsys.models.blend import Blend, masked
from recsys.models.interactions import Tastes, of_matrix
from recsys.models.reranker import SecondLook, use_of
from recsys.topk import top_k
from recsys.types import History
from training.models.reranker import learn_look, look
from training.models.search import hits
from training.models.splits import Split, read_split

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
        parts: dict[str, Part] = {
            "filter": _timed("graph filter, 200 neighbours", lambda: neighbours.fit_filter(split.train, _FILTER)),
            "lowpass": _timed("low-pass filter, 256 waves", lambda: lowpass.fit(split.train, _WAVES, _rng())),
            "ials": factors,
        }
        _recommend("one space", factors, split)
        blend = Blend(parts, {"ials": 1.0, "lowpass": 0.4, "filter": 0.4})
        _recommend("the sum of three", blend, split)
        _recommend("the sum of three and a second look", replace(blend, second=_second(blend, split)), split)
        _fold_in(factors)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


_FILTER = neighbours.FilterParams()
_WAVES = lowpass.LowPassParams(embedding_size=SIZE)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _timed(name: str, fit: Callable[[], Any]) -> Any:
    before = process_time()
    made = fit()
    print(f"{name:50} {process_time() - before:8.1f} s")
    return made


def _factors(split: Split) -> Part:
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
    own = process_time() - before
    print(f"{f'ours, {SIZE} numbers, 2 exact epochs':50} {own:8.1f} s, {own / direct:.2f} of it")
    people = _rng().permutation(split.train.shape[0])[:PEOPLE]
    print(f"  implicit: Recall@20 {_recall(lambda rows, _: theirs[0][rows] @ theirs[1].T, split, people):.4f}")
    print(f"  ours: Recall@20 {_recall(lambda _, tastes: ours.scores(tastes), split, people):.4f}")
    return ours


def _recall(scores: Callable[[Any, Tastes], Any], split: Split, people: Any) -> float:
    found = []
    for start in range(0, len(people), BLOCK):
        rows = people[start : start + BLOCK]
        tastes, wanted = of_matrix(split.train[rows]), split.test[rows]
        shown = hits(masked(scores(rows, tastes), tastes), wanted, 20)
        found.append(recall(shown, np.diff(wanted.indptr), 20))
    return float(np.nanmean(np.concatenate(found)))


def _recommend(name: str, part: Part | Blend, split: Split) -> None:
    tastes: Tastes = of_matrix(split.train)[:PEOPLE]
    before = process_time()
    for start in range(0, PEOPLE, BLOCK):
        some = tastes[start : start + BLOCK]
        top_k(masked(part.scores(some), some), 20)
    print(f"{f'20 of 40,981 items, {name}':50} {PEOPLE / (process_time() - before):8,.0f} people a second")


def _second(blend: Blend, split: Split) -> SecondLook:
    """Learned from the test part: what it costs is measured here, not what it is worth."""
    use, people = use_of(split.train), np.arange(PEOPLE)
    seen = look(blend, use, of_matrix(split.train)[people], people, split.test[people])
    second = learn_look(seen, 20, _rng()).over(tuple(blend.parts), use)
    assert second is not None
    return second


def _fold_in(factors: Any) -> None:
    items = _rng().choice(len(factors.item_vectors), 100, replace=False).astype(np.int32)
    history = History(items, np.ones(100, np.float32), np.arange(100))
    taken = []
    for _ in range(200):
        before = process_time()
        factors.fold_in(history)
        taken.append(process_time() - before)
    print(f"{'placing a person with 100 reactions':50} {np.median(taken) * 1e3:8.2f} ms at the median")


if __name__ == "__main__":
    main()
