"""
Values of ranx and RecTools on random runs, frozen for `test_oracles.py`. Their pins clash with ours, so they live in an
environment of their own:

    python -m venv ORACLES && ORACLES/bin/pip install -r tests/recsys/metrics/oracles/requirements.txt
    ORACLES/bin/python tests/recsys/metrics/oracles/freeze.py

writes `values.json` beside this file: the runs and, by library and metric, a value for each person.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import ranx
from rectools.metrics import (
    MAP,
    MRR,
    NDCG,
    AvgRecPopularity,
    CatalogCoverage,
    HitRate,
    MeanInvUserFreq,
    Precision,
    Recall,
    Serendipity,
)

N_PEOPLE, N_ITEMS, KS = 40, 50, (1, 5, 10)


def runs(rng):
    """Lists of 4 to 12 items, 1 to 15 relevant ones, and whom each item was known to before."""
    lists = [rng.permutation(N_ITEMS)[: rng.integers(4, 13)].tolist() for _ in range(N_PEOPLE)]
    relevant = [sorted(rng.permutation(N_ITEMS)[: rng.integers(1, 16)].tolist()) for _ in range(N_PEOPLE)]
    chance = 1 / (1 + np.arange(N_ITEMS))
    known = [np.flatnonzero(rng.random(N_ITEMS) < chance).tolist() for _ in range(N_PEOPLE)]
    return lists, relevant, known


def of_ranx(lists, relevant):
    qrels = ranx.Qrels({f"{u:03}": {str(i): 1 for i in items} for u, items in enumerate(relevant)})
    run = ranx.Run({f"{u:03}": {str(i): 99.0 - r for r, i in enumerate(items)} for u, items in enumerate(lists)})
    names = [f"{name}@{k}" for name in ("precision", "recall", "hit_rate", "map", "mrr", "ndcg") for k in KS]
    found = ranx.evaluate(qrels, run, names, return_mean=False)
    return {name: np.asarray(found[name]).tolist() for name in names}


def frame(lists):
    rows = [(u, i, r) for u, items in enumerate(lists) for r, i in enumerate(items, 1)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rank"])


def of_rectools(lists, relevant, known):
    shown, wanted, before = frame(lists), frame(relevant)[["user_id", "item_id"]], frame(known)[["user_id", "item_id"]]
    catalogue = np.arange(N_ITEMS)
    # no two items alike: of ties RecTools ranks the next item right behind, we behind all of them
    unequal = frame([list(range(n, N_ITEMS)) for n in range(N_ITEMS)])[["user_id", "item_id"]]
    values = {}
    for k in KS:
        accuracy = {
            "precision": Precision(k), "recall": Recall(k), "hit_rate": HitRate(k), "map": MAP(k), "mrr": MRR(k),
            "ndcg": NDCG(k, divide_by_achievable=True), "ndcg_full_page": NDCG(k),
        }  # fmt: skip
        for name, metric in accuracy.items():
            values[f"{name}@{k}"] = metric.calc_per_user(shown, wanted).sort_index().tolist()
        values[f"novelty@{k}"] = MeanInvUserFreq(k).calc_per_user(shown, before).sort_index().tolist()
        values[f"popularity@{k}"] = AvgRecPopularity(k).calc_per_user(shown, before).sort_index().tolist()
        serendipity = Serendipity(k).calc_per_user(shown, wanted, unequal, catalogue)
        values[f"serendipity@{k}"] = serendipity.sort_index().tolist()
        values[f"coverage@{k}"] = CatalogCoverage(k, normalize=True).calc(shown, catalogue)
    return values


def main():
    lists, relevant, known = runs(np.random.default_rng(18))
    tables = {"n_items": N_ITEMS, "lists": lists, "relevant": relevant, "known": known}
    values = {"ranx": of_ranx(lists, relevant), "rectools": of_rectools(lists, relevant, known)}
    path = Path(__file__).with_name("values.json")
    path.write_text(json.dumps(tables | values, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
