"""Records of pages in the database, sealed."""

from collections.abc import Iterator
from typing import Final

from recsys.clock import Millis
from recsys.stores.protocols import StoredAnswer
from serving.stores.postgres.sealed import SealedRows
from serving.stores.sealing import DECISIONS, read_answer

_AT_ONCE: Final = 100  # rows read at once
_KEPT: Final = "at >= (SELECT decisions_since FROM sanad.meta)"


class PostgresDecisions:
    """`DecisionLog` in PostgreSQL."""

    def __init__(self, rows: SealedRows) -> None:
        self._rows: Final = rows

    def of_request(self, request_id: str) -> StoredAnswer | None:
        """See `DecisionLog.of_request`."""
        return next(self._newest("request = %s", self._rows.vault.hide(request_id)), None)

    def of_user(self, user_id: str) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.of_user`."""
        return tuple(reversed([*self._newest("owner = %s", self._rows.vault.hide(user_id))]))

    def newest(self, n: int) -> tuple[StoredAnswer, ...]:
        """See `DecisionLog.newest`."""
        return tuple(record for _, record in zip(range(n), self._newest("%s::bytea IS NULL", None), strict=False))

    def since(self, at: Millis) -> Iterator[StoredAnswer]:
        """See `DecisionLog.since`."""
        last = 0
        while True:
            rows = self._rows.database.read(
                f"SELECT seq, owner, sealed FROM sanad.decisions WHERE seq > %s AND at >= %s AND {_KEPT} "
                f"ORDER BY seq LIMIT {_AT_ONCE}",
                (last, at),
            )
            yield from self._opened([row[1:] for row in rows])
            if len(rows) < _AT_ONCE:
                return
            last = rows[-1][0]

    def _newest(self, which: str, value: bytes | None) -> Iterator[StoredAnswer]:
        """The readable records, newest first, a few rows at a time."""
        before = 2**63 - 1
        while True:
            rows = self._rows.database.read(
                f"SELECT seq, owner, sealed FROM sanad.decisions WHERE {which} AND seq < %s AND {_KEPT} "
                f"ORDER BY seq DESC LIMIT {_AT_ONCE}",
                (value, before),
            )
            yield from self._opened([row[1:] for row in rows])
            if len(rows) < _AT_ONCE:
                return
            before = rows[-1][0]

    def _opened(self, rows: list[tuple[bytes, bytes]]) -> Iterator[StoredAnswer]:
        for owner, sealed in rows:
            [packed] = self._rows.open(owner, (sealed, DECISIONS))
            if packed is not None:
                yield read_answer(packed)
