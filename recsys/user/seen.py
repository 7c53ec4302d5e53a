"""
What a person has seen lately: delivered here, or by the word of events and of the training log (policy-spec 0, Seen).

Pure. It stands outside the ledger: it decides what does not come again, and counts against no cap.
"""

from collections.abc import Iterable, Sequence

from recsys.clock import DAY, Millis
from recsys.user.state import MAX_SEEN, Seen

Pairs = list[tuple[int, Millis]]


def add_delivered(seen: Seen, clusters: Sequence[int], at: Millis, days: int) -> Seen:
    """Clusters delivered now; what is older than `days` is dropped."""
    return _seen([*_delivered(seen), *((cluster, at) for cluster in clusters)], _reported(seen), seen, at, days)


def add_reported(seen: Seen, clusters: Iterable[int], reported_at: Millis, at: Millis, days: int) -> Seen:
    """Clusters that were seen at `reported_at`; a cluster that is known already only grows younger."""
    times = dict(_reported(seen))
    for cluster in clusters:
        times[cluster] = max(reported_at, times.get(cluster, 0))
    return _seen(_delivered(seen), sorted(times.items(), key=lambda pair: pair[1]), seen, at, days)


def seen_since(seen: Seen, since: Millis) -> list[int]:
    """Every cluster seen at `since` or later, whoever delivered it."""
    return [cluster for cluster, at in (*_delivered(seen), *_reported(seen)) if at >= since]


def delivered_at(seen: Seen, cluster: int) -> Millis:
    """When a cluster was last delivered here; 0 = not in the last 30 days."""
    return max((at for known, at in _delivered(seen) if known == cluster), default=0)


def _delivered(seen: Seen) -> Pairs:
    return list(zip(seen.clusters, seen.at, strict=True))


def _reported(seen: Seen) -> Pairs:
    return list(zip(seen.reported, seen.reported_at, strict=True))


def _seen(delivered: Pairs, reported: Pairs, before: Seen, at: Millis, days: int) -> Seen:
    """Both lists without what is too old, at most the newest `MAX_SEEN` of them together."""
    since = at - days * DAY
    newest = sorted((time for _, time in (*delivered, *reported) if time >= since), reverse=True)
    since = max(since, newest[MAX_SEEN - 1]) if len(newest) > MAX_SEEN else since
    delivered = [pair for pair in delivered if pair[1] >= since][-MAX_SEEN:]
    reported = [pair for pair in reported if pair[1] >= since]
    reported = reported[max(0, len(reported) + len(delivered) - MAX_SEEN) :]
    return Seen(
        clusters=tuple(cluster for cluster, _ in delivered),
        at=tuple(time for _, time in delivered),
        reported=tuple(cluster for cluster, _ in reported),
        reported_at=tuple(time for _, time in reported),
        log_version=before.log_version,
    )
