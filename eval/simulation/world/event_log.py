"""
Four weeks of logged events from an earlier feed without caps, with the propensity of every impression.

The logging policy. At midnight UTC every video gets a weight from its creator's followers and from what people
completed and liked on the days before: `weight = 1 + sqrt(followers) / 10 + completes + likes`.
A person may be shown any video published before that midnight that is not hidden, is not truly R3 or R4, is in a
language they understand, has no age limit (adults: may have one), and was never shown to them before. Each slot
of a page is drawn, one after the other, with probability 0.8 in proportion to the weights and 0.2 uniformly.
So the propensity of a video at its position, given all that was shown to the person before, is exactly
`0.8 * weight / (sum of the weights left) + 0.2 / (number left)`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from eval.simulation.world.behaviour import Reactions, behave
from eval.simulation.world.event_rows import Deliveries, EventRows, event_frame, rows_of_day
from eval.simulation.world.params import WorldParams
from eval.simulation.world.truth import Truth
from recsys.clock import DAY, HOUR, MINUTE, SECOND
from recsys.progress import Progress, quiet
from recsys.types import Longs, Mask, Reals
from recsys.vocabulary import LANGUAGES

EXPLORATION: Final = 0.2
PAGE_SIZE: Final = 10
PAGE_COUNT_SHARES: Final = (0.35, 0.30, 0.20, 0.15)  # of visits with 1, 2, 3 or 4 pages
MAX_VISIT_MS: Final = 70 * MINUTE
UTC_OFFSET_MS: Final = 1 * HOUR  # Morocco keeps UTC+1 outside Ramadan
PRIOR_ROWS_PER_VISIT: Final = 46.0  # the first estimate; updated from day to day
_DAY_HOURS: Final = np.array([1, 1, 2, 2, 2, 2, 4, 4, 3, 3, 3, 4, 5, 6, 7, 7, 5], np.float64)  # 7 to 23 local


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Availability:
    """What each person may be shown: `group` (n_users,), `allowed` (n_groups, n_items), before publication counts."""

    group: Longs
    allowed: Mask
    published_at: Longs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visits:
    """The visits of one day: `person` (v,), each at most once; `starts_at` (v,) milliseconds; `pages` (v,)."""

    person: Longs
    starts_at: Longs
    pages: Longs


def weights_of(followers: NDArray[np.integer], reactions: NDArray[np.integer]) -> Reals:
    """(n_items,) the logging policy's weights, from the creators' followers and the completes and likes so far."""
    return np.asarray(1 + np.sqrt(followers) / 10 + reactions, np.float64)


def _availability(items: pl.DataFrame, truth: Truth) -> Availability:
    people = truth.people
    key = people.understands @ (1 << np.arange(len(LANGUAGES))) * 2 + people.is_adult
    _, examples, group = np.unique(key, return_index=True, return_inverse=True)
    is_served = ~items["is_hidden"].to_numpy() & (truth.items.tier <= 2)
    is_for_all = items["min_age"].is_null().to_numpy()
    fits_age = is_for_all | people.is_adult[examples][:, None]
    allowed = is_served & fits_age & people.understands[examples][:, truth.items.language]
    return Availability(group=group, allowed=allowed, published_at=items["published_at"].to_numpy())


def _plan_visits(
    params: WorldParams, day: int, n_visits: int, is_free: Mask, truth: Truth, rng: np.random.Generator
) -> Visits:
    """Who visits on a day and when: active people more often, some at night (00:00 to 06:00 local)."""
    people = truth.people
    keys = np.where(is_free, np.log(people.activity) + rng.gumbel(size=len(is_free)), -np.inf)
    person = np.argsort(-keys, kind="stable")[: min(n_visits, int(is_free.sum()))]
    hour = 7 + rng.choice(len(_DAY_HOURS), len(person), p=_DAY_HOURS / _DAY_HOURS.sum())
    at_night = rng.random(len(person)) < people.night[person]
    hour = np.where(at_night, rng.integers(0, 6, len(person)), hour)
    since = (hour * HOUR + rng.integers(0, HOUR, len(person)) - UTC_OFFSET_MS) % DAY
    # A visit that would run past midnight UTC starts earlier the same day, so that days can be made one by one.
    latest = DAY - MAX_VISIT_MS
    since = np.where(since > latest, since - latest, since)
    pages = 1 + rng.choice(len(PAGE_COUNT_SHARES), len(person), p=PAGE_COUNT_SHARES)
    return Visits(person=person, starts_at=params.starts_at + day * DAY + since, pages=pages)


@dataclass(slots=True, kw_only=True, eq=False)
class _Urn:
    """The videos left to draw for the visits of one day; `take` draws one video for each of the given visits."""

    group: Longs
    person: Longs
    open: Mask  # (n_groups, n_items)
    weights: Reals  # (n_groups, n_items), 0 where closed
    ladders: Reals  # flat (2 * n_groups * n_items,) rising from row number to row number + 1
    seen: Mask  # (n_users, n_items), shared with the caller and written
    weight_left: Reals
    number_left: Longs

    def take(self, visits: Longs, rng: np.random.Generator) -> tuple[Longs, Reals]:
        """Items (b,) and their propensities (b,); a video drawn is never drawn again for the same person."""
        group, person = self.group[visits], self.person[visits]
        n_groups, n_items = self.open.shape
        ladder = np.where(rng.random(len(visits)) < EXPLORATION, n_groups + group, group)
        item = np.full(len(visits), -1, np.int64)
        waiting = np.arange(len(visits))
        while len(waiting):
            spot = np.searchsorted(self.ladders, ladder[waiting] + rng.random(len(waiting)), side="right")
            drawn = np.minimum(spot - ladder[waiting] * n_items, n_items - 1)
            item[waiting] = drawn
            is_bad = self.seen[person[waiting], drawn] | ~self.open[group[waiting], drawn]
            waiting = waiting[is_bad]
        weight = self.weights[group, item]
        propensity = (1 - EXPLORATION) * weight / self.weight_left[visits] + EXPLORATION / self.number_left[visits]
        self.seen[person, item] = True
        self.weight_left[visits] -= weight
        self.number_left[visits] -= 1
        return item, propensity


def _urn(group: Longs, person: Longs, is_open: Mask, weights: Reals, seen: Mask) -> _Urn:
    masked = is_open * weights
    left = is_open[group] & ~seen[person]
    steps = np.concatenate((masked, is_open.astype(np.float64)))
    ladders = np.cumsum(steps, axis=1)
    ladders /= ladders[:, -1:]
    ladders += np.arange(len(ladders))[:, None]
    return _Urn(
        group=group,
        person=person,
        open=is_open,
        weights=masked,
        ladders=ladders.ravel(),
        seen=seen,
        weight_left=left @ weights,
        number_left=left.sum(axis=1),
    )


def _deliver(visits: Visits, urn: _Urn, first_page: int, rng: np.random.Generator) -> Deliveries:
    """Every slot of every page of the day, ordered by visit and slot."""
    page_before = np.cumsum(visits.pages) - visits.pages + first_page
    parts = []
    for slot in range(len(PAGE_COUNT_SHARES) * PAGE_SIZE):
        rows = np.flatnonzero(visits.pages * PAGE_SIZE > slot)
        item, propensity = urn.take(rows, rng)
        page = page_before[rows] + slot // PAGE_SIZE
        position = np.full(len(rows), slot % PAGE_SIZE + 1)
        parts.append((rows, np.full(len(rows), slot), item, propensity, page, position))
    visit, slots, item, propensity, page, position = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((slots, visit))
    return Deliveries(
        visit=visit[order],
        person=visits.person[visit[order]],
        item=item[order],
        propensity=propensity[order],
        page=page[order],
        position=position[order],
    )


def _shown_at(visits: Visits, shown: Deliveries, watch_ms: Longs) -> Longs:
    """(n,) the instant of each impression: the next video starts a second after the last one was left."""
    busy_ms = watch_ms + SECOND
    before = np.cumsum(busy_ms) - busy_ms
    is_first = np.diff(shown.visit, prepend=-1) > 0
    start_of_visit = before[is_first][np.cumsum(is_first) - 1]
    return np.asarray(visits.starts_at[shown.visit] + before - start_of_visit)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Day:
    """One day: its event rows, completes and likes by item, and how many visits and pages it had."""

    rows: EventRows
    reactions: Longs
    n_visits: int
    n_pages: int


def _day(visits: Visits, urn: _Urn, first_page: int, truth: Truth, rng: np.random.Generator) -> _Day:
    shown = _deliver(visits, urn, first_page, rng)
    done: Reactions = behave(truth, shown.person, shown.item, rng)
    duration_ms = truth.items.duration_s[shown.item] * SECOND
    watch_ms = np.round(done.watch_fraction * duration_ms).astype(np.int64)
    at = _shown_at(visits, shown, watch_ms)
    counts = np.bincount(shown.item, done.completed.astype(np.float64) + done.liked, len(truth.items.topic))
    return _Day(
        rows=rows_of_day(shown, done, at, watch_ms, (visits.person, visits.starts_at), rng),
        reactions=counts.astype(np.int64),
        n_visits=len(visits.person),
        n_pages=int(visits.pages.sum()),
    )


def make_events(
    params: WorldParams,
    tables: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
    truth: Truth,
    rng: np.random.Generator,
    on_progress: Progress = quiet,
) -> pl.DataFrame:
    """The events table for (creators, items, users): about `params.n_events` rows, ordered by time."""
    creators, items, users = tables
    availability = _availability(items, truth)
    followers = items.join(creators, on="creator_id", how="left", maintain_order="left")["followers"].to_numpy()
    reactions = np.zeros(params.n_items, np.int64)
    seen = np.zeros((params.n_users, params.n_items), np.bool_)
    days: list[EventRows] = []
    n_rows, n_visits, n_pages = 0, 0, 0
    for day in range(params.days):
        on_progress("events", n_rows, params.n_events)
        midnight = params.starts_at + day * DAY
        is_open = availability.allowed & (availability.published_at < midnight)
        left = is_open.sum(axis=1)[availability.group] - seen.sum(axis=1)
        per_visit = (n_rows + 10 * PRIOR_ROWS_PER_VISIT) / (n_visits + 10)
        n_planned = round(max(0, params.n_events * (day + 1) / params.days - n_rows) / per_visit)
        visits = _plan_visits(params, day, n_planned, left > 2 * len(PAGE_COUNT_SHARES) * PAGE_SIZE, truth, rng)
        if not len(visits.person):
            continue
        urn = _urn(availability.group[visits.person], visits.person, is_open, weights_of(followers, reactions), seen)
        day_log = _day(visits, urn, n_pages, truth, rng)
        days.append(day_log.rows)
        reactions += day_log.reactions
        n_rows += len(day_log.rows.at)
        n_visits += day_log.n_visits
        n_pages += day_log.n_pages
    on_progress("events", n_rows, n_rows)
    return event_frame(days, items, users, truth)
