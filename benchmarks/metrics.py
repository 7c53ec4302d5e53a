"""
How long the metrics of accuracy take, beside ranx on the same lists.

    python benchmarks/metrics.py [--lists 1000000] [--ranx PYTHON] [--folder DIR]

Makes random lists of 20 of 100,000 items with 5 relevant ones each, finds the hits, and works out precision, recall,
hit rate, MAP, MRR and NDCG at 20, a value for each person. `--ranx` names the Python of an environment that has ranx
(tests/recsys/metrics/oracles/requirements.txt); it runs on the same file, after a small run that compiles its loops.
Prints seconds and the means, which must agree to 9 digits.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

N_ITEMS, LENGTH, N_RELEVANT = 100_000, 20, 5
NAMES = ("precision", "recall", "hit_rate", "map", "mrr", "ndcg")

RANX = """
import json, sys, time
import numpy as np, pandas as pd
from ranx import Qrels, Run, evaluate

def frames(n):
    tables = np.load(sys.argv[1])
    lists, relevant = tables["lists"][:n], tables["relevant"][:n]
    def frame(items, name, values):
        people = np.repeat(np.arange(len(items)), items.shape[1]).astype(str)
        return pd.DataFrame({"q_id": people, "doc_id": items.ravel().astype(str), name: values})
    scores = np.tile(np.arange(lists.shape[1], 0, -1, dtype=np.float64), len(lists))
    return frame(relevant, "score", np.ones(relevant.size, np.int64)), frame(lists, "score", scores)

def read(n):
    relevant, lists = frames(n)
    started = time.perf_counter()
    qrels, run = Qrels.from_df(relevant), Run.from_df(lists)
    return qrels, run, time.perf_counter() - started

names = [f"{name}@20" for name in json.loads(sys.argv[3])]
evaluate(*read(100)[:2], names)
qrels, run, building = read(int(sys.argv[2]))
started, used = time.perf_counter(), time.process_time()
means = evaluate(qrels, run, names)
seconds, used = time.perf_counter() - started, time.process_time() - used
means = {name: float(means[name]) for name in names}
print(json.dumps({"building": building, "seconds": seconds, "processor": used, "means": means}))
"""


def make_lists(n_lists: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 20) lists and (n, 5) relevant items, about one of them on each list, each item once in a row."""
    rng = np.random.default_rng(0)
    steps = rng.integers(1, N_ITEMS // LENGTH, (n_lists, LENGTH), dtype=np.int32)
    lists = rng.permuted(np.cumsum(steps, axis=1, dtype=np.int32), axis=1)
    steps = rng.integers(1, N_ITEMS // N_RELEVANT, (n_lists, N_RELEVANT), dtype=np.int32)
    relevant = np.cumsum(steps, axis=1, dtype=np.int32)
    is_found = rng.random(n_lists) < 0.7
    place = rng.integers(0, LENGTH, n_lists)
    wanted = lists[np.arange(n_lists), place]
    is_new = ~(relevant == wanted[:, None]).any(axis=1)
    relevant[is_found & is_new, 0] = wanted[is_found & is_new]
    return lists, relevant


def of_sanad(lists: np.ndarray, relevant: np.ndarray) -> dict[str, object]:
    """Seconds of finding hits and of the metrics, and the means."""
    from recsys import metrics

    n_relevant = np.full(len(lists), N_RELEVANT)
    started, used = perf_counter(), process_time()
    hits = metrics.find_hits(lists, relevant.ravel(), n_relevant)
    building, again = perf_counter() - started, perf_counter()
    values = metrics.score_lists(hits, n_relevant, (20,), NAMES)
    means = {name: metrics.mean(column) for name, column in values.items()}
    return {
        "building": building,
        "seconds": perf_counter() - again,
        "processor": process_time() - used,
        "means": means,
    }


def of_ranx(python: str, path: Path, n_lists: int) -> dict[str, object]:
    """The same from ranx, in its own process."""
    command = [python, "-W", "ignore", "-c", RANX, str(path), str(n_lists), json.dumps(NAMES)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Both, in one run."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--lists", type=int, default=1_000_000)
    parser.add_argument("--ranx", metavar="PYTHON")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    lists, relevant = make_lists(options.lists)
    results = {"sanad": of_sanad(lists, relevant)}
    if options.ranx:
        path = options.folder / "metric-lists.npz"
        np.savez(path, lists=lists, relevant=relevant)
        results["ranx"] = of_ranx(options.ranx, path, options.lists)
        path.unlink()
        for name, value in results["sanad"]["means"].items():
            if abs(value - results["ranx"]["means"][name]) > 1e-9:
                sys.exit(f"found {name} {value}, ranx has {results['ranx']['means'][name]}")
    print(json.dumps({"lists": options.lists, **results}, indent=1))


if __name__ == "__main__":
    main()
