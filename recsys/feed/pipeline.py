"""
The pipeline: sources -> hydrate -> filter -> predict -> value -> order. It knows no policy and no store.

What is retrieved is ranked or removed, always: nothing disappears unaccounted for.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from recsys.errors import StageError, where_raised
from recsys.feed import filters, sources
from recsys.feed import scorers as score
from recsys.feed.compiled_order import unite_compiled
from recsys.feed.eligible import verdict
from recsys.feed.query import Query
from recsys.kernels import library
from recsys.sets import distinct
from recsys.types import Candidates, Floats, Ids

NO_TIME: Final = "no time was left for it"
RETRIEVE_UNTIL: Final = 0.6
"""The share of a request's time after which a source is no longer asked, unless it is one of the fallback."""


def in_time() -> float:
    """The share of its time that a request without a deadline has used."""
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The stages by name; the order of a mapping is the order of its stages."""

    sources: Mapping[str, sources.Source]
    filters: Mapping[str, filters.Filter]
    scorers: Mapping[str, score.Scorer]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranked:
    """
    Candidates best first with their columns and `score`; item numbers that a filter removed, by filter (the first
    that did); what went wrong in the sources that failed.
    """

    candidates: Candidates
    removed: Mapping[str, Ids]
    failed: Mapping[str, str]


def for_surface(surface: str) -> Pipeline:
    """The pipeline of a surface. All surfaces share filters, scorers and the ledger."""
    return Pipeline(sources=sources.BY_SURFACE[surface], filters=filters.FILTERS, scorers=score.SCORERS)


def reranking(caller_parts: Iterable[str] = ()) -> Pipeline:
    """The pipeline for a caller who brings the candidates, and maybe parts of their scores."""
    scorers = {**score.SCORERS, **{part: score.of_caller(part) for part in caller_parts}}
    return Pipeline(sources={"listed": sources.listed}, filters=filters.FILTERS, scorers=scorers)


def help_pages() -> Pipeline:
    """What answers a search for harm: what supports, whatever words it holds."""
    return Pipeline(sources={"resources": sources.resources}, filters=filters.FILTERS, scorers=score.SCORERS)


def fallback() -> Pipeline:
    """What is left when a stage failed: the same filters, and popularity for a score."""
    return Pipeline(
        sources={"resources": sources.resources, "local": sources.trending_local, "trending": sources.trending},
        filters=filters.FILTERS,
        scorers={"popular": score.popular, "supportive": score.supportive, "local": score.local},
    )


_CHEAP: Final = frozenset(fallback().sources)


def hurried(pipeline: Pipeline) -> Pipeline:
    """A pipeline for a request whose time is nearly gone: the fallback's scores, of what the surface is about."""
    cheap = {name: source for name, source in pipeline.sources.items() if name in _CHEAP}
    return replace(fallback(), sources=cheap or pipeline.sources)


def recommend(pipeline: Pipeline, query: Query, time_used: Callable[[], float] = in_time) -> Ranked:
    """Candidates for a query, best first. Raises StageError when a stage breaks its contract."""
    retrieved, failed = retrieve(pipeline, query, time_used)
    numbers, ranks = _union(retrieved)
    candidates = query.rules.take(numbers).with_columns(ranks)
    keep, removed = _filter(pipeline, query, candidates)
    candidates = candidates if keep.all() else candidates.take(keep)
    parts = {
        f"p_{name}": _checked(name, scorer(query, candidates), candidates) for name, scorer in pipeline.scorers.items()
    }
    missing = {
        f"p_{name}": np.zeros(len(candidates), np.float32) for name in score.SCORERS if name not in pipeline.scorers
    }
    candidates = candidates.with_columns({**parts, **missing})
    return Ranked(candidates=_ordered(query, candidates), removed=removed, failed=failed)


def _ordered(query: Query, candidates: Candidates) -> Candidates:
    """Best first, by the value of the parts; R2 where its constant puts it."""
    others = Candidates(
        candidates.item_nos, {name: column for name, column in candidates.columns.items() if name != "p_language"}
    )
    language, final, order = score.ordered(query, others)
    return others.with_columns({"p_language": language, "score": final}).take(order)


def retrieve(
    pipeline: Pipeline, query: Query, time_used: Callable[[], float] = in_time
) -> tuple[Mapping[str, Ids], Mapping[str, str]]:
    """What each source found, and what went wrong in those that failed. The first one is asked in any case."""
    retrieved: dict[str, Ids] = {}
    failed: dict[str, str] = {}
    for name, source in pipeline.sources.items():
        if retrieved and name not in _CHEAP and time_used() > RETRIEVE_UNTIL:
            failed[name] = NO_TIME
            continue
        try:
            retrieved[name] = source(query)
        except Exception as error:  # whatever a source raises, the page is served without it
            failed[name] = where_raised(error)
    return retrieved, failed


def removals(pipeline: Pipeline, query: Query) -> Mapping[str, int]:
    """How many items of the catalogue, or of the request's own list, each filter removes; each counts at the first."""
    asked = query.whole if query.only is None else query.rules.take(query.only)
    _, removed = _filter(pipeline, query, asked)
    real = query.items.exists
    return {name: int(real[numbers].sum()) for name, numbers in removed.items() if real[numbers].any()}


def _union(retrieved: Mapping[str, Ids]) -> tuple[Ids, dict[str, np.ndarray]]:
    """One row per item, ascending, with a 1-based `rank_<source>` each, NaN where the source did not return it."""
    native, lists = library(), list(retrieved.values())
    numbers, ranks = unite(lists) if native is None else unite_compiled(native, lists)
    return numbers, {f"rank_{name}": rank for name, rank in zip(retrieved, ranks, strict=True)}


def unite(lists: Sequence[Ids]) -> tuple[Ids, Floats]:
    """
    The numbers of several lists, each once, ascending, and where they stand in each list (n_lists, n), from 1 on. Where
    a list has one twice, the last place counts.
    """
    whole = np.concatenate([np.empty(0, np.int32), *lists]).astype(np.int32)
    numbers = distinct(whole)
    rows, start = np.searchsorted(numbers, whole), 0
    ranks = np.full((len(lists), len(numbers)), np.nan, np.float32)
    for rank, items in zip(ranks, lists, strict=True):
        rank[rows[start : start + len(items)]] = np.arange(1, len(items) + 1)
        start += len(items)
    return numbers, ranks


def _filter(pipeline: Pipeline, query: Query, candidates: Candidates) -> tuple[np.ndarray, Mapping[str, Ids]]:
    keep = np.ones(len(candidates), np.bool_)
    removed = {}
    for name, check in pipeline.filters.items():
        is_kept = verdict(name, check, query, candidates)
        removed[name] = candidates.item_nos[keep & ~is_kept]
        keep &= is_kept
    return keep, removed


def _checked(name: str, scores: np.ndarray, candidates: Candidates) -> np.ndarray:
    if scores.shape != (len(candidates),):
        raise StageError(f"scorer {name}: found shape {scores.shape}, expected ({len(candidates)},)")
    return scores


def refilter(pipeline: Pipeline, query: Query, ranked: Ranked) -> Ranked:
    """Scored candidates on a newer state: filters and order again, as a label may be new; the parts are kept."""
    candidates = ranked.candidates.with_columns(query.rules.take(ranked.candidates.item_nos).columns)
    keep, removed = _filter(pipeline, query, candidates)
    return replace(ranked, candidates=_ordered(query, candidates.take(keep)), removed=removed)
