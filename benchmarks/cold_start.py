"""
What is found for people and among videos that no model has met: items and users held out entirely.

    python benchmarks/cold_start.py ARTIFACT DATA [--share 0.2] [--least 2]

*New videos*: a fifth of the videos lose all their events before anything is fitted; people are then asked to choose
among these videos alone. *New people*: a fifth of the people lose all their events; they are asked after their first
0, 1, 3 and 10 reactions, and judged by the later ones, over all videos. Wanted = positive reactions to R0 and R1. The
text vectors are those of the artifact. Recall@20 and NDCG@20, means over people with their standard error.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.tables import Dataset, read_dataset
from recsys.metrics import ndcg, recall
from recsys.models import popularity
from recsys.models.artifact import Artifact, load_artifact
from recsys.models.popularity import PopularityParams
from recsys.models.standardised_space import standardise_space
from recsys.types import Floats, History, Ids, rank_order
from recsys.user.feedback import is_r2_plus
from training.interactions import Interactions, build_interactions
from training.models.blend import fit_factors
from training.models.cold_start import WarmItems, fit, map_cold_vectors
from training.models.settings import BlendParams
from training.validate import assume

K = 20


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--share", type=float, default=0.2, help="the part of videos, and of people, held out")
    parser.add_argument("--least", type=int, default=2, help="the fewest later reactions of a person to judge by")
    parser.add_argument("--reg", type=float, default=BlendParams().ials.reg)
    chosen = parser.parse_args()
    artifact, data = load_artifact(chosen.artifact), read_dataset(chosen.data)
    if tier := artifact.manifest.config["assume_tier"]:
        data = assume(data, tier)
    params = BlendParams(ials=replace(BlendParams().ials, reg=chosen.reg))
    print(f"{len(artifact.items):,} videos; text vectors of {artifact.spaces['text'].item_vectors.shape[1]} numbers")
    new_videos(artifact, data, chosen.share, chosen.least, params)
    new_people(artifact, data, chosen.share, chosen.least, params)


def new_videos(artifact: Artifact, data: Dataset, share: float, least: int, params: BlendParams) -> None:
    """People choose among videos without an event."""
    rng = np.random.default_rng(0)
    whole = build_interactions(data)
    liked = whole.positives.tocsc()
    is_liked = np.diff(liked.indptr) > 0
    is_new = is_liked & (rng.random(len(is_liked)) < share)
    old_ids = data.items.collect().filter(~pl.Series(is_new))["item_id"]
    seen = build_interactions(_without(data, pl.col("item_id").is_in(old_ids.implode())))
    space = fit_factors(seen, params, 0)
    text = artifact.spaces["text"]
    texts = np.asarray(text.item_vectors)
    is_mappable = ~pl.Series(map(is_r2_plus, artifact.items["risk_tier"]), dtype=pl.Boolean).to_numpy()
    creator_codes = artifact.items["creator_id"].rank("dense").to_numpy().astype(np.int32) - 1
    warm = np.flatnonzero(np.any(space.item_vectors, axis=1) & np.any(texts, axis=1) & is_mappable)
    warm_items = WarmItems(texts=texts[warm], creators=creator_codes[warm], vectors=space.item_vectors[warm])
    mapping = fit(warm_items, int(creator_codes.max()) + 1, np.random.default_rng(1))
    vectors = np.asarray(space.item_vectors)
    mapped, _ = map_cold_vectors(vectors, texts, creator_codes, is_mappable, np.random.default_rng(1))
    by_text, _ = map_cold_vectors(vectors, texts, np.zeros_like(creator_codes), is_mappable, np.random.default_rng(1))
    cold = np.flatnonzero(is_new).astype(np.int32)
    creators = _creator_popularity(artifact, seen)
    values_by_name: dict[str, list[tuple[float, float]]] = {}
    for person in range(len(whole.user_ids)):
        wanted = np.intersect1d(whole.positives[[person]].indices, cold)
        history = seen.histories.of(person)
        if len(wanted) < least or not np.any(history.weights > 0):
            continue
        scores = {
            "mapping": mapped[cold] @ space.fold_in(history),
            "mapping, text alone": by_text[cold] @ space.fold_in(history),
            "content alone": texts[cold] @ text.fold_in(history),
            "popularity of the creator": creators[cold],
            "random": rng.random(len(cold)).astype(np.float32),
        }
        spread = {name: (s - s.mean()) / max(float(s.std()), 1e-9) for name, s in scores.items()}
        scores["mapping and content, 1 : 0.6"] = spread["mapping"] + 0.6 * spread["content alone"]
        for name, values in scores.items():
            values_by_name.setdefault(name, []).append(_judged(values, cold, wanted))
    summary = "no mapping"
    if mapping is not None:
        summary = f"neighbours count {mapping.neighbour_share:.0%}, {mapping.explained:.1%} explained"
    print(f"\nnew videos: {len(cold):,} of {is_liked.sum():,} with a like held out; {summary}")
    _print(values_by_name)


def new_people(artifact: Artifact, data: Dataset, share: float, least: int, params: BlendParams) -> None:
    """People without an event, after their first few reactions."""
    rng = np.random.default_rng(0)
    whole = build_interactions(data)
    users = np.array(whole.user_ids)
    is_new = rng.random(len(users)) < share
    seen = build_interactions(_without(data, ~pl.col("user_id").is_in(users[is_new].tolist())))
    space = standardise_space(fit_factors(seen, params, 0))
    text = standardise_space(artifact.spaces["text"])
    popular = popularity.fit(seen.market_positives, list(seen.markets), PopularityParams())
    country = dict(artifact.users.select("user_id", "country").iter_rows())
    everything = np.arange(len(artifact.items), dtype=np.int32)
    for n_known in (0, 1, 3, 10):
        values_by_name: dict[str, list[tuple[float, float]]] = {}
        for person in np.flatnonzero(is_new).tolist():
            history = _positive(whole.histories.of(person))
            first, later = (
                History(history.items[:n_known], history.weights[:n_known], history.at[:n_known]),
                history.items[n_known:],
            )
            wanted = np.setdiff1d(later, first.items)
            if len(wanted) < least:
                continue
            market = popular.of(country.get(str(users[person])))
            spread = (market - market.mean()) / max(float(market.std()), 1e-9)
            scores = {"popularity of the market": market, "popularity of the world": popular.scores[-1]}
            scores["random"] = rng.random(len(everything)).astype(np.float32)
            if n_known:
                cf, content = (
                    np.nan_to_num(one.scores(one.space.fold_in(first), everything), nan=-3.0) for one in (space, text)
                )
                scores |= {
                    "cf": cf,
                    "content alone": content,
                    "cf, content, popular": cf + 0.6 * content + 0.3 * spread,
                }
            for name, values in scores.items():
                values = np.array(values)
                values[first.items] = -np.inf
                values_by_name.setdefault(name, []).append(_judged(values, everything, wanted))
        print(f"\nnew people after {n_known} reactions; {is_new.sum():,} held out")
        _print(values_by_name)


def _without(data: Dataset, keep: pl.Expr) -> Dataset:
    return replace(data, events=data.events.filter(keep.fill_null(True)))


def _positive(history: History) -> History:
    """First positive reactions to each item, oldest first."""
    _, first = np.unique(history.items, return_index=True)
    rows = np.sort(first[history.weights[first] > 0])
    return History(history.items[rows], history.weights[rows], history.at[rows])


def _creator_popularity(artifact: Artifact, seen: Interactions) -> Floats:
    """(n,) what an item's creator was liked for by everybody, per item of theirs."""
    creator = artifact.items["creator_id"].rank("dense").to_numpy().astype(np.int64) - 1
    liked = np.asarray(seen.positives.sum(axis=0)).ravel()
    return (np.bincount(creator, liked) / np.bincount(creator))[creator].astype(np.float32)


def _judged(scores: Floats, rows: Ids, wanted: Ids) -> tuple[float, float]:
    hits = np.isin(rows[rank_order(scores, rows)][:K], wanted)[None]
    n_wanted = np.array([len(wanted)])
    return float(recall(hits, n_wanted, K)[0]), float(ndcg(hits, n_wanted, K)[0])


def _print(values_by_name: dict[str, list[tuple[float, float]]]) -> None:
    for name, values in values_by_name.items():
        table = np.array(values)
        mean, error = table.mean(axis=0), table.std(axis=0) / len(table) ** 0.5
        print(
            f"  {name:>28}: Recall@{K} {mean[0]:.4f} ± {error[0]:.4f}, NDCG@{K} {mean[1]:.4f} ± {error[1]:.4f}"
            f" ({len(table):,} people)"
        )


if __name__ == "__main__":
    main()
