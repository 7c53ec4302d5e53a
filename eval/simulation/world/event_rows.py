"""Rows of the events table from deliveries and reactions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from eval.simulation.world.behaviour import Reactions
from eval.simulation.world.titles import QUERIES
from eval.simulation.world.truth import Truth, table_frame
from recsys.clock import SECOND
from recsys.columns import EVENTS
from recsys.types import Longs, Mask, Reals
from recsys.vocabulary import LANGUAGES

KINDS: Final = (
    "impression", "view", "complete", "rewatch", "like", "share", "comment", "save", "helped",
    "not_interested", "too_much", "report", "follow", "search",
)  # fmt: skip
"""The kinds that the log holds, in the order in which they follow one another within the same millisecond."""

VARIANT: Final = "earlier-feed"
SEARCH_CHANCE: Final = 0.06  # per visit
_MIN_VIEW_MS: Final = SECOND  # a video left sooner has an impression and no view
_WATCHED: Final = (KINDS.index("view"), KINDS.index("complete"))
_FOLLOW, _SEARCH = KINDS.index("follow"), KINDS.index("search")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deliveries:
    """
    The impressions, ordered by visit and slot; every array is (n,). `visit`, `person` and `item` are rows of their
    tables, `page` numbers the requests, `position` is 1-based within the page.
    """

    visit: Longs
    person: Longs
    item: Longs
    propensity: Reals
    page: Longs
    position: Longs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EventRows:
    """Event rows, every array (n,): `kind` an index of `KINDS`; `item` and `page` are -1 for a search."""

    kind: Longs
    at: Longs
    person: Longs
    item: Longs
    watch_ms: Longs
    watch_fraction: Reals
    page: Longs
    position: Longs
    propensity: Reals


def _who_and_when(done: Reactions, at: Longs, watch_ms: Longs, rng: np.random.Generator) -> list[tuple[Mask, Longs]]:
    """For each kind about a video, in the order of KINDS: which impressions led to it, and when."""
    left_at, soon = at + watch_ms, at + watch_ms + SECOND // 2
    during = at + (rng.random(len(at)) * watch_ms).astype(np.int64)
    return [
        (np.ones(len(at), np.bool_), at),
        (watch_ms >= _MIN_VIEW_MS, left_at),
        (done.completed, left_at),
        (done.rewatched, soon),
        (done.liked, during),
        (done.shared, soon),
        (done.commented, soon),
        (done.saved, soon),
        (done.helped, soon),
        (done.not_interested, soon),
        (done.too_much, soon),
        (done.reported, soon),
        (done.followed, soon),
    ]


def rows_of_day(
    shown: Deliveries,
    done: Reactions,
    at: Longs,
    watch_ms: Longs,
    visits: tuple[Longs, Longs],
    rng: np.random.Generator,
) -> EventRows:
    """The event rows of one day's deliveries, and a few searches at the start of `visits` (person, starts_at)."""
    moments = _who_and_when(done, at, watch_ms, rng)
    kind = np.concatenate([np.full(int(did.sum()), code) for code, (did, _) in enumerate(moments)])
    row = np.concatenate([np.flatnonzero(did) for did, _ in moments])
    when = np.concatenate([then[did] for did, then in moments])
    searcher = np.flatnonzero(rng.random(len(visits[0])) < SEARCH_CHANCE)
    n = len(searcher)
    none, unknown = np.full(n, -1, np.int64), np.full(n, np.nan)

    def append(values: Longs, tail: Longs) -> Longs:
        return np.concatenate((values, tail))

    return EventRows(
        kind=append(kind, np.full(n, _SEARCH)),
        at=append(when, visits[1][searcher]),
        person=append(shown.person[row], visits[0][searcher]),
        item=append(shown.item[row], none),
        watch_ms=append(watch_ms[row], none),
        watch_fraction=np.concatenate((done.watch_fraction[row], unknown)),
        page=append(shown.page[row], none),
        position=append(shown.position[row], none),
        propensity=np.concatenate((shown.propensity[row], unknown)),
    )


def _in_time_order(days: Sequence[EventRows]) -> EventRows:
    """All days in order of time; within one millisecond by person, page, position and kind."""
    columns = {name: np.concatenate([getattr(day, name) for day in days]) for name in EventRows.__slots__}
    keys = (columns["kind"], columns["position"], columns["page"], columns["person"], columns["at"])
    order = np.lexsort(keys)
    return EventRows(**{name: column[order] for name, column in columns.items()})


def _queries(rows: EventRows, truth: Truth) -> list[str | None]:
    """The query of each search: a neutral query in the person's first language, None for every other row."""
    queries: list[str | None] = [None] * len(rows.at)
    for row in np.flatnonzero(rows.kind == _SEARCH):
        person = int(rows.person[row])
        options = QUERIES[LANGUAGES[truth.people.first_language[person]]]
        queries[row] = options[int(rows.at[row]) // SECOND % len(options)]
    return queries


def _numbered(prefix: str, numbers: pl.Series, width: int) -> pl.Series:
    return prefix + numbers.cast(pl.String).str.zfill(width)


def event_frame(days: Sequence[EventRows], items: pl.DataFrame, users: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """The events table of all days together."""
    if not days:
        return table_frame(EVENTS, {"event_id": []})
    rows = _in_time_order(days)
    kind = pl.Series(rows.kind)
    is_search, is_follow = kind == _SEARCH, kind == _FOLLOW
    is_watched = kind.is_in(list(_WATCHED))
    item = pl.Series(np.maximum(rows.item, 0))
    surface = pl.Series(["for_you", "search"]).gather((rows.kind == _SEARCH).astype(np.uint32))
    columns = pl.DataFrame(
        {
            "event_id": _numbered("e", pl.int_range(1, len(rows.at) + 1, eager=True), 7),
            "user_id": users["user_id"].gather(rows.person),
            "kind": pl.Series(KINDS).gather(rows.kind),
            "at": rows.at,
            "item_id": _null_unless(items["item_id"].gather(item), ~(is_search | is_follow)),
            "creator_id": _null_unless(items["creator_id"].gather(item), is_follow),
            "query": pl.Series(_queries(rows, truth), dtype=pl.String),
            "watch_s": _null_unless(pl.Series(rows.watch_ms / SECOND), is_watched),
            "watch_fraction": _null_unless(pl.Series(rows.watch_fraction), is_watched),
            "request_id": _null_unless(_numbered("r", pl.Series(rows.page), 6), ~is_search),
            "position": _null_unless(pl.Series(rows.position), ~is_search),
            "surface": surface,
            "propensity": _null_unless(pl.Series(rows.propensity), ~is_search),
            "variant": pl.Series([VARIANT]).gather(np.zeros(len(rows.at), np.uint32)),
        }
    )
    return table_frame(EVENTS, columns.to_dict())


def _null_unless(values: pl.Series, mask: pl.Series) -> pl.Series:
    """The values where the mask holds, null elsewhere."""
    return pl.select(pl.when(mask).then(values)).to_series()
