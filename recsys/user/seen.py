"""
What a person has seen lately: delivered here, or by the word of events and of the training log (policy-spec 0, Seen).

Pure. It stands outside the ledger: it decides what does not come again, and counts against no cap.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress

from recsys.clock import DAY, Millis
from recsys.user.state import MAX_SEEN, Seen

Pairs = list[tuple[int, Millis]]


def add_delivered(seen: Seen, item_nos: Sequence[int], at: Millis, days: int) -> Seen:
    """Items delivered now; what is older than `days` is dropped. Of an item the latest delivery is remembered."""
    now, since = set(item_nos), at - days * DAY
    n_all = len(seen.item_nos) + len(seen.reported) + len(item_nos)
    if n_all <= MAX_SEEN and now.isdisjoint(seen.item_nos) and min((*seen.at, *seen.reported_at, at)) >= since:
        return Seen(  # nothing is forgotten, which is how it nearly always is
            item_nos=(*seen.item_nos, *item_nos),
            at=(*seen.at, *[at] * len(item_nos)),
            reported=seen.reported,
            reported_at=seen.reported_at,
            log_version=seen.log_version,
        )
    before = [pair for pair in _delivered(seen) if pair[0] not in now]
    return _seen([*before, *((item_no, at) for item_no in item_nos)], _reported(seen), seen, at, days)


def add_reported(seen: Seen, item_nos: Iterable[int], reported_at: Millis, at: Millis, days: int) -> Seen:
    """Items that were seen at `reported_at`; an item that is known already only grows younger."""
    times = dict(_reported(seen))
    for item_no in item_nos:
        times[item_no] = max(reported_at, times.get(item_no, 0))
    return _seen(_delivered(seen), sorted(times.items(), key=lambda pair: pair[1]), seen, at, days)


def seen_since(seen: Seen, since: Millis) -> list[int]:
    """Every item seen at `since` or later, whoever delivered it."""
    times = chain(seen.at, seen.reported_at)
    return list(compress(chain(seen.item_nos, seen.reported), map(since.__le__, times)))


class SeenFold:
    """
    What a person has seen, while the items of many events are added to it one by one: the same as by `add_reported`,
    which builds both lists anew for each.
    """

    def __init__(self, seen: Seen) -> None:
        self._before = seen
        self._is_changed = False
        self._time_of = dict(_reported(seen))  # by reported item
        self._items = sorted(self._time_of, key=self._time_of.__getitem__)
        self._times = [self._time_of[item_no] for item_no in self._items]  # ascending, as `_items`
        self._set_delivered(_delivered(seen))

    def delivered_at(self, item_no: int) -> Millis:
        """When an item was last delivered here; 0 = not in the last 30 days."""
        return self._delivered_at.get(item_no, 0)

    def add_reported(self, item_no: int, reported_at: Millis, at: Millis, days: int) -> None:
        """See `add_reported`."""
        self._is_changed = True
        known, reported_at = self._time_of.get(item_no), max(reported_at, 0)
        if known is None:
            self._n_items += item_no not in self._delivered_at
            self._insert(bisect_right(self._times, reported_at), item_no, reported_at)
        elif reported_at > known:  # it stood before everything of that instant, and still does
            self._remove(self._place(item_no))
            self._insert(bisect_left(self._times, reported_at), item_no, reported_at)
        self._drop_old(at - days * DAY)
        while self._n_items > MAX_SEEN:
            self._forget(self._oldest())

    def result(self) -> Seen:
        """What the person has seen with all that was added."""
        if not self._is_changed:
            return self._before
        delivered = [pair for pair in self._delivered if pair[0] in self._delivered_at]
        return Seen(
            item_nos=tuple(item_no for item_no, _ in delivered),
            at=tuple(time for _, time in delivered),
            reported=tuple(self._items),
            reported_at=tuple(self._times),
            log_version=self._before.log_version,
        )

    def _set_delivered(self, delivered: Pairs) -> None:
        self._delivered = delivered
        self._delivered_at = dict(delivered)  # what is forgotten goes from here alone
        self._by_age = sorted(self._delivered_at, key=self._delivered_at.__getitem__)
        self._n_items = len(self._delivered_at.keys() | self._time_of.keys())

    def _place(self, item_no: int) -> int:
        """Where a reported item stands."""
        return self._items.index(item_no, bisect_left(self._times, self._time_of[item_no]))

    def _insert(self, place: int, item_no: int, time: Millis) -> None:
        self._items.insert(place, item_no)
        self._times.insert(place, time)
        self._time_of[item_no] = time

    def _remove(self, place: int) -> None:
        del self._time_of[self._items.pop(place)], self._times[place]

    def _drop_old(self, since: Millis) -> None:
        while self._times and self._times[0] < since:
            self._n_items -= self._items[0] not in self._delivered_at
            self._remove(0)
        oldest = self._oldest_delivered()
        if oldest is not None and self._delivered_at[oldest] < since:
            left = self._delivered_at
            self._set_delivered([pair for pair in self._delivered if pair[0] in left and pair[1] >= since])

    def _oldest_delivered(self) -> int | None:
        while self._by_age and self._by_age[0] not in self._delivered_at:
            self._by_age.pop(0)
        return self._by_age[0] if self._by_age else None

    def _oldest(self) -> int:
        """The item that goes first; see `_beyond_the_newest`. Its time is that of its delivery, if there was one."""
        oldest, at = self._oldest_delivered(), self._delivered_at
        n_older = len(self._items) if oldest is None else bisect_right(self._times, at[oldest])
        alone = next((item_no for item_no in self._items[:n_older] if item_no not in at), None)
        if oldest is None or (alone is not None and self._time_of[alone] < at[oldest]):
            return self._items[0] if alone is None else alone
        n_tied = bisect_right(self._by_age, at[oldest], key=lambda item_no: at.get(item_no, at[oldest]))
        tied = [item_no for item_no in self._by_age[:n_tied] if item_no in at]
        reported = [item_no for item_no in tied if item_no in self._time_of] + ([] if alone is None else [alone])
        return min(reported, key=self._place) if reported else tied[0]

    def _forget(self, item_no: int) -> None:
        self._delivered_at.pop(item_no, None)
        if item_no in self._time_of:
            self._remove(self._place(item_no))
        self._n_items -= 1


def of_clusters(seen: Seen, members: Mapping[int, Sequence[int]]) -> Seen:
    """
    What versions before wrote as numbers of clusters, as items: the number's, and all `members` of its cluster. Which
    of them was seen, nobody knows any more; none comes again before its 30 days are over.
    """

    def items_of(pairs: Pairs) -> Pairs:
        return [(item_no, at) for number, at in pairs for item_no in sorted({number, *members.get(number, ())})]

    return _seen(items_of(_delivered(seen)), items_of(_reported(seen)), seen, at=0, days=0)


def _delivered(seen: Seen) -> Pairs:
    return list(zip(seen.item_nos, seen.at, strict=True))


def _reported(seen: Seen) -> Pairs:
    return list(zip(seen.reported, seen.reported_at, strict=True))


def _seen(delivered: Pairs, reported: Pairs, before: Seen, at: Millis, days: int) -> Seen:
    """Both lists without what is too old, of at most the newest `MAX_SEEN` items together."""
    since = at - days * DAY
    delivered = [pair for pair in delivered if pair[1] >= since]
    reported = [pair for pair in reported if pair[1] >= since]
    forgotten = _beyond_the_newest(delivered, reported)
    if forgotten:
        delivered = [pair for pair in delivered if pair[0] not in forgotten]
        reported = [pair for pair in reported if pair[0] not in forgotten]
    return Seen(
        item_nos=tuple(item_no for item_no, _ in delivered),
        at=tuple(time for _, time in delivered),
        reported=tuple(item_no for item_no, _ in reported),
        reported_at=tuple(time for _, time in reported),
        log_version=before.log_version,
    )


def _beyond_the_newest(delivered: Pairs, reported: Pairs) -> set[int]:
    """
    The items that are not among the newest `MAX_SEEN`. An item counts once, though most that were delivered are
    reported as well: by its delivery, so that late reports of older deliveries push out none of the last `MAX_SEEN`.
    Of items of one instant those stay that were delivered, and of these the last.
    """
    if len(delivered) + len(reported) <= MAX_SEEN:
        return set()
    times = dict(reported) | dict(delivered)
    n_beyond = len(times) - MAX_SEEN
    return set() if n_beyond <= 0 else set(sorted(times, key=times.__getitem__)[:n_beyond])
