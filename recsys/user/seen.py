"""
What a person has seen lately: delivered here, or by the word of events and of the training log (policy-spec 0, Seen).

Pure. It stands outside the ledger: it decides what does not come again, and counts against no cap.
"""

from collections.abc import Iterable, Mapping, Sequence

from recsys.clock import DAY, Millis
from recsys.user.state import MAX_SEEN, Seen

Pairs = list[tuple[int, Millis]]


def add_delivered(seen: Seen, item_nos: Sequence[int], at: Millis, days: int) -> Seen:
    """Items delivered now; what is older than `days` is dropped. Of an item the latest delivery is remembered."""
    now = set(item_nos)
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
    return [item_no for item_no, at in (*_delivered(seen), *_reported(seen)) if at >= since]


def delivered_at(seen: Seen, item_no: int) -> Millis:
    """When an item was last delivered here; 0 = not in the last 30 days."""
    return max((at for known, at in _delivered(seen) if known == item_no), default=0)


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
