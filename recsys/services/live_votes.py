"""
What people act on now: their votes of the last days, read from the log of events.

A vote is a positive reaction to an item from which something may be learned. Of one person it counts once for an item
and day, by the server's time, and half after two days; not when it was taken back, as in training. The log says it all:
a restart reads it again, and whoever was erased or reset is no longer counted from the next count on. Memory is
bounded: of a flood the newest votes count.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, TypeVar

import numpy as np

from recsys.catalogue.items import Items, is_unlearnable
from recsys.catalogue.live_popularity import LiveVotes
from recsys.clock import DAY, MINUTE, Millis
from recsys.data.forgotten import training_cutoffs
from recsys.feed.engine import Engine
from recsys.feed.viewer import profile_of
from recsys.stores.protocols import Logged
from recsys.types import Reals, Rows
from recsys.user.feedback import MIN_POSITIVE_CONFIDENCE, confidence, decays

Key = TypeVar("Key")
Told = TypeVar("Told")
HALF_LIFE: Final[Millis] = 2 * DAY
WINDOW: Final[Millis] = 7 * DAY
"""How long a vote counts: no longer than the log is kept."""

REFRESH_MS: Final[Millis] = 5 * MINUTE
MAX_READ: Final = 20_000  # events at one reading
MAX_BEHIND: Final = 100_000  # events; older ones that were not read yet are passed over
MAX_VOTES: Final = 100_000  # and events that were taken back
MAX_REACTIONS: Final = 4  # of a vote, whose ids are kept: a vote of which all are taken back counts no longer


@dataclass(frozen=True, slots=True)
class _Vote:
    """One person's vote for an item on a day, by the events that say so."""

    user_id: str
    item_no: int
    at: Millis
    country: str
    event_ids: tuple[str, ...]


@dataclass(slots=True)
class VoteCount:
    """The votes that count, oldest first, and how far the log was read. One thread at a time."""

    _votes: dict[tuple[str, int, int], _Vote] = field(default_factory=dict)
    _undone: dict[tuple[str, str], Millis] = field(default_factory=dict)  # when, by person and event
    _seq: int = 0
    _version: int = 0
    _counted_at: Millis | None = None

    def refresh(self, engine: Engine, at: Millis) -> None:
        """
        Read what came in, and every five minutes let rankings count it; an engine that is new, at once. Raises
        StoreError; then those of before stay.
        """
        self._read(engine, at)
        cache = engine.resources.catalogue_cache
        is_new = self._counted_at is None or cache.votes.version != self._version
        if is_new or abs(at - (self._counted_at or 0)) >= REFRESH_MS:
            self._forget(engine, at)
            self._counted_at = at
            if self._votes or cache.votes.version:
                self._version += 1
                cache.count_votes(
                    count_votes(self._votes.values(), cache.items, at, self._version), engine.resources.model
                )
            else:
                self._version = 0

    def _read(self, engine: Engine, at: Millis) -> None:
        log, cache = engine.stores.events, engine.resources.catalogue_cache
        self._seq = max(self._seq, log.last_seq(MAX_BEHIND))
        items = cache.at_least(engine.stores.users.read("").revision)  # another process may have put what is voted for
        country_of = _countries(engine)
        for entry in islice(log.received_since(at - WINDOW, self._seq), MAX_READ):
            self._seq = entry.seq
            user_id, event_id = entry.event.user_id, entry.event.event_id
            if entry.event.kind == "undo":
                self._undone[user_id, entry.event.value or ""] = entry.received_at
            item_no = items.index.get(entry.event.item_id or "")
            if item_no is not None and _is_vote(entry):
                place = (user_id, item_no, entry.received_at // DAY)
                before = self._votes.get(place)
                if before is None:
                    self._votes[place] = _Vote(user_id, item_no, entry.received_at, country_of(user_id), (event_id,))
                elif len(before.event_ids) < MAX_REACTIONS:
                    self._votes[place] = replace(before, event_ids=(*before.event_ids, event_id))

    def _forget(self, engine: Engine, at: Millis) -> None:
        """Drop what is too old or too much, what was taken back, and all of whoever was erased or reset."""
        people = {vote.user_id for vote in self._votes.values()} | {user_id for user_id, _ in self._undone}
        forgotten = training_cutoffs(engine.stores.cutoffs.forgotten(), people)
        before: Mapping[str, Millis] = {user_id: until for user_id, (until, _) in forgotten.items()}

        def counts(user_id: str, then: Millis) -> bool:
            return then >= at - WINDOW and then > before.get(user_id, -1)

        undone = {key: then for key, then in self._undone.items() if counts(key[0], then)}
        kept = {
            key: vote
            for key, vote in self._votes.items()
            if counts(vote.user_id, vote.at) and not all((vote.user_id, event) in undone for event in vote.event_ids)
        }
        self._undone, self._votes = _newest(undone), _newest(kept)


def count_votes(votes: Iterable[_Vote], items: Items, at: Millis, version: int) -> LiveVotes:
    """The votes by country and for everybody, decayed; none for items from which nothing may be learned by now."""
    listed = list(votes)
    numbers = np.array([vote.item_no for vote in listed], np.int32)
    weights = decays(at - np.array([vote.at for vote in listed], np.int64), HALF_LIFE).astype(np.float64)
    weights[is_unlearnable(items)[numbers]] = 0.0
    item_nos, place = np.unique(numbers, return_inverse=True)
    countries = np.array([vote.country for vote in listed], np.object_)
    by_country: dict[str | None, Reals] = {None: _sums(place, weights, len(item_nos))}
    for country in sorted({*countries.tolist()}):
        by_country[country] = _sums(place, weights * (countries == country), len(item_nos))
    return LiveVotes(version=version, item_nos=item_nos, by_country=by_country)


def _newest(told: dict[Key, Told]) -> dict[Key, Told]:
    return dict(islice(told.items(), max(0, len(told) - MAX_VOTES), None))


def _sums(place: Rows, weights: Reals, n: int) -> Reals:
    return np.bincount(place, weights, n).astype(np.float64)


def _is_vote(entry: Logged) -> bool:
    event = entry.event
    return not event.is_history and confidence(event.kind, event.watch_fraction) >= MIN_POSITIVE_CONFIDENCE


def _countries(engine: Engine) -> Callable[[str], str]:
    """The country of a person, looked up once at each reading: the market's where nobody stated one, as for a page."""
    known: dict[str, str] = {}

    def country_of(user_id: str) -> str:
        if user_id not in known:
            profile = profile_of(engine.stores.users.read(user_id).state, engine.resources.model, user_id)
            known[user_id] = profile.country or engine.resources.policy.market.market
        return known[user_id]

    return country_of
