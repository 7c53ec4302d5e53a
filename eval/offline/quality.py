"""Accuracy at several cut-offs, and variety, of every ranking for each person."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from eval.offline.holdout import HeldOutUser
from eval.offline.replay import ReplayResult
from recsys import metrics
from recsys.metrics import EMPTY
from recsys.models.artifact import Artifact
from recsys.types import Csr, Ids, Longs, Mask, Pages, Reals
from recsys.vocabulary import TOPICS

PerRanking = dict[str, dict[str, Reals]]
"""Metric -> ranking -> (q,) a value for each person."""


def accuracy_values(
    replayed: ReplayResult, pages: Mapping[str, Pages], n_relevant: Longs, ks: Sequence[int]
) -> PerRanking:
    """`name@k` of every ranking for all metrics of accuracy, plain and weighted by inverse propensity; and the AUC."""
    weights = _relevant_weights(replayed)
    longest = max((len(of_person) for of_person in weights), default=0)
    all_weights = np.zeros((len(weights), longest))
    for row, of_person in enumerate(weights):
        all_weights[row, : len(of_person)] = of_person
    n_items, values = int(replayed.items.exists.sum()), dict[str, dict[str, Reals]]()
    for name, table in pages.items():
        hits, of_slots = _hits(replayed.relevant, weights, table)
        columns = metrics.score_lists(hits, n_relevant, ks)
        for k in ks:
            columns[f"weighted_recall@{k}"] = metrics.weighted_recall(of_slots, all_weights, k)
            columns[f"weighted_ndcg@{k}"] = metrics.weighted_ndcg(of_slots, all_weights, k)
        columns["auc"] = metrics.ranked_auc(hits, n_relevant, (table != EMPTY).sum(axis=1), n_items)
        for metric, column in columns.items():
            values.setdefault(metric, {})[name] = column
    return values


def variety_values(replayed: ReplayResult, artifact: Artifact, pages: Mapping[str, Pages]) -> PerRanking:
    """How new, surprising, varied, personal, popular and in proportion the pages of every ranking are."""
    items, counts = replayed.items, item_counts(replayed, artifact)
    vectors, row_of = _vectors(replayed, artifact)
    groups = {"topics": _topics(replayed), "languages": _languages(replayed)}
    liked = {name: _liked_amounts(replayed, membership) for name, membership in groups.items()}
    is_tail, values = metrics.tail_items(counts), dict[str, dict[str, Reals]]()
    for name, table in pages.items():
        hits = _hits(replayed.relevant, None, table)[0]
        columns = {
            "novelty": metrics.novelty(counts, max(len(artifact.histories), 1), table),
            "serendipity": metrics.serendipity(hits, counts, table, int(items.exists.sum())),
            "diversity": metrics.intra_list_diversity(vectors, _rows(table, row_of)),
            "overlap": metrics.overlap(table, len(items)),
            "popularity": metrics.average_popularity(counts, table),
            "tail_share": metrics.share(is_tail, table),
        }
        for group, membership in groups.items():
            shown = metrics.group_amounts(membership, table)
            columns[f"miscalibration_{group}"] = metrics.miscalibration(shown, liked[group])
        for metric, column in columns.items():
            values.setdefault(metric, {})[name] = column
    return values


def item_counts(replayed: ReplayResult, artifact: Artifact) -> Longs:
    """(n_items,) interactions with a weight above 0 that the artifact remembers from before the cutoff."""
    history = artifact.histories.flat
    rows = np.asarray(history.items)[np.asarray(history.weights) > 0]
    return np.bincount(replayed.item_nos[rows], minlength=len(replayed.items)).astype(np.int64)


def _hits(relevant: Sequence[Ids], weights: Sequence[Reals] | None, pages: Pages) -> tuple[Mask, Reals]:
    """(q, k) which slots hold a relevant item, and its weight there."""
    hits, of_slots = np.zeros(pages.shape, np.bool_), np.zeros(pages.shape)
    for row, (wanted, page) in enumerate(zip(relevant, pages, strict=True)):
        hits[row] = np.isin(page, wanted)
        if weights is not None and hits[row].any():
            order = np.argsort(wanted)
            of_slots[row, hits[row]] = weights[row][order[np.searchsorted(wanted[order], page[hits[row]])]]
    return hits, of_slots


def _relevant_weights(replayed: ReplayResult) -> list[Reals]:
    """
    Of each person the inverse propensity of every relevant item; 0 where none is known. Where the log does not tell how
    the old feed chose, the propensity is the item's share of all impressions.
    """
    impressions = [person.impressions for person in replayed.people]
    rows = np.concatenate([shown.rows for shown in impressions])
    if metrics.tells_exposure(np.concatenate([shown.propensity for shown in impressions])):
        propensity = [_logged(person) for person in replayed.people]
    elif len(rows):
        estimated = metrics.estimated_propensity(np.bincount(rows, minlength=len(replayed.item_nos)))
        propensity = [estimated[person.relevant] for person in replayed.people]
    else:
        propensity = [np.full(len(person.relevant), np.nan) for person in replayed.people]
    return [metrics.inverse_propensity(of_person) for of_person in propensity]


def _logged(person: HeldOutUser) -> Reals:
    """The logged propensity of each relevant item, NaN for one that was reacted to without an impression."""
    shown, known = person.impressions, np.full(len(person.relevant), np.nan)
    _, ours, theirs = np.intersect1d(person.relevant, shown.rows, assume_unique=True, return_indices=True)
    known[ours] = shown.propensity[theirs]
    return known


def _vectors(replayed: ReplayResult, artifact: Artifact) -> tuple[Reals, Ids]:
    """
    Vectors of what items say where the artifact has them, else their topics; and (n_items,) the row of each item in
    them, `EMPTY` for none.
    """
    text = artifact.spaces.get("text")
    if text is not None and hasattr(text, "item_vectors"):
        return np.asarray(text.item_vectors, np.float64), replayed.items.row
    return _topics(replayed).toarray().astype(np.float64), np.arange(len(replayed.items), dtype=np.int32)


def _rows(pages: Pages, row_of: Ids) -> Pages:
    return np.asarray(np.where(pages == EMPTY, EMPTY, row_of[pages]), np.int32)


def _topics(replayed: ReplayResult) -> Csr:
    """(n_items, n_topics) in equal parts."""
    bits = (replayed.items.topics[:, None] >> np.arange(len(TOPICS))) & 1
    return sparse.csr_matrix(bits / np.maximum(bits.sum(axis=1, keepdims=True), 1), dtype=np.float32)


def _languages(replayed: ReplayResult) -> Csr:
    """(n_items, n_languages); an item of unknown language is of none."""
    language = replayed.items.language
    rows = np.flatnonzero(language > 0)
    shape = (len(language), 1 + int(language.max(initial=0)))
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, language[rows])), shape)


def _liked_amounts(replayed: ReplayResult, membership: Csr) -> Reals:
    """(q, g) how much each person liked of each group before the cutoff."""
    liked = [replayed.item_nos[person.liked] for person in replayed.people]
    rows = np.repeat(np.arange(len(liked)), [len(of_person) for of_person in liked])
    shape = (len(liked), membership.shape[0])
    table = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, np.concatenate(liked))), shape)
    return np.asarray((table @ membership).toarray(), np.float64)
