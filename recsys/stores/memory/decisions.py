"""Records of pages in memory."""

from collections.abc import Iterator
from itertools import islice

from recsys.clock import Millis
from recsys.stores.memory.tables import Tables
from recsys.stores.protocols import StoredAnswer


class MemoryDecisions:
    """`DecisionLog` in memory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def of_request(self, request_id: str) -> StoredAnswer | None:
        """See `DecisionLog.of_request`."""
        with self._tables.lock:
            newest_first = reversed(self._tables.decisions.values())
            return next((answer for answer in newest_first if answer.request_id == request_id), None)

    def of_user(self, user_id: str) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.of_user`."""
        with self._tables.lock:
            return tuple(answer for (owner, _), answer in self._tables.decisions.items() if owner == user_id)

    def newest(self, n: int) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.newest`."""
        with self._tables.lock:
            return tuple(islice(reversed(self._tables.decisions.values()), n))

    def since(self, at: Millis) -> Iterator[StoredAnswer]:
        """See `DecisionLog.since`."""
        with self._tables.lock:
            return iter([answer for answer in self._tables.decisions.values() if answer.at >= at])


def add_decision(tables: Tables, user_id: str, answer: StoredAnswer) -> None:
    """The record of a page, in place of an earlier one under the same request id."""
    key = (user_id, answer.request_id)
    tables.decisions.pop(key, None)  # so that the dictionary stays in commit order
    tables.decisions[key] = answer


def prune_decisions(tables: Tables, oldest: Millis) -> int:
    """Delete records from before an instant; rows deleted."""
    old = [key for key, answer in tables.decisions.items() if answer.at < oldest]
    for key in old:
        del tables.decisions[key]
    return len(old)
