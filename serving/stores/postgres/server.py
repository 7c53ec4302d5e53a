"""
Connections to a PostgreSQL server: lent to one thread at a time, and never waited for longer than a page has time.

Every call has a time limit on this side, because a server that stands still says nothing; the server gives up on its
own side by `lock_timeout` and `statement_timeout`, and when it sees that its client is gone. A connection on which a
limit passed is closed: what it was doing may be written, or not.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, Final, TypeVar

import psycopg
from psycopg import conninfo, errors
from psycopg.abc import RV, PQGen

from recsys.errors import ConfigError, StoreError
from serving.deadline import store_wait_s

T = TypeVar("T")
Rows = list[tuple[Any, ...]]
Connection = psycopg.Connection[tuple[Any, ...]]
Work = Callable[[Connection], T]
Values = Sequence[object] | Mapping[str, object]

WAIT_S: Final = 5.0  # of a call that no page waits for
BULK_WAIT_S: Final = 600.0  # of a load of many items, or a clean-up
MAX_CONNECTIONS: Final = 16  # of one process
CONNECT_S: Final = 3  # of each server of an address; libpq waits for 2 s at least
_BRIEF_MS: Final = 200  # how long a clean-up waits for a table, and others behind it
_DOWN_S: Final = 0.5
"""For so long after a failed connection a page does not try again: it has better to do than to wait."""
MAX_RETRIES: Final = 5  # after deadlocks
OLDEST: Final = 14  # the first version with `client_connection_check_interval`
_OPTIONS: Final = (
    "-c lock_timeout=4s -c statement_timeout=5s -c idle_in_transaction_session_timeout=20s "
    "-c client_connection_check_interval=1s -c default_transaction_isolation=read\\ committed "
    "-c plan_cache_mode=force_generic_plan -c jit=off"
)
_BULK: Final = b"""
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = '60s';
    SET LOCAL idle_in_transaction_session_timeout = '60s';
"""
_ADVICE: Final = (
    ("password authentication failed", "the name or the password is wrong; correct the address, or ~/.pgpass"),
    ("no password supplied", "it wants a password; write it into the address, or into ~/.pgpass"),
    ("no pg_hba.conf entry", "it lets nobody in from here; add this machine to its pg_hba.conf"),
    ("too many connections", "it has no connection left; raise the limit, or run fewer processes"),
    ("too many clients", "it has no connection left; raise its max_connections, or run fewer processes"),
    ("remaining connection slots", "it has no connection left; raise its max_connections, or run fewer processes"),
    ("read-only", "it is a standby; name the primary, or all servers in one address (HOST1,HOST2)"),
    ("does not exist", "make the database first, as docs/running.md says"),
    ("out of shared memory", "it has no room for locks; raise its max_locks_per_transaction"),
    ("starting up", "it is starting; ask again"),
    ("shutting down", "it is stopping; ask again when it is up"),
)
_CODES: Final = {
    "53100": "its disk is full; make room, nothing was written",
    "53200": "it has no memory left; give it more, or run fewer processes",
    "53300": "it has no connection left; raise its max_connections, or run fewer processes",
    "25006": "it is a standby; name the primary, or all servers in one address (HOST1,HOST2)",
    "42501": "this role may not do that; let it own the database, as docs/running.md says",
    "57014": "it took too long; the server is busy, ask again",
    "55P03": "another transaction holds it; wait and ask again",
    "57P01": "the server is stopping; ask again when it is up",
    "58030": "its disk failed; look at its log",
}


class _Timed(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose calls end by `until`, on the clock `time.monotonic`."""

    until: float | None = None
    warned: str | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """See `psycopg.Connection.wait`."""
        if timeout is None and self.until is not None:
            timeout = max(0.001, self.until - time.monotonic())
        return super().wait(gen, interval, timeout)


class Database:
    """One database of a server, by its `url`; `where` is how messages name it. Raises StoreError, with what to do."""

    def __init__(self, url: str, where: str, application: str = "sanad") -> None:
        self.where: Final = where
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            said = _one_line(error)  # which may quote a password, but not here
            why = f" ({said})" if "query parameter" in said and "@" not in said else ""
            raise ConfigError(
                f"{where}: found an address that cannot be read{why}, expected postgresql://USER:PASSWORD@HOST/DATABASE"
            ) from None
        ports = str(given.get("port") or "").split(",")
        if "@" in str(given.get("host")) or not all(port.isdigit() or not port for port in ports):
            raise ConfigError(
                f"{where}: found an address whose host or port cannot be; write %40, %3A, %2F, %3F and %23 for "
                "@ : / ? and # in a name or password"
            )
        usual = {
            "target_session_attrs": "read-write", "application_name": application, "connect_timeout": str(CONNECT_S),
        }  # fmt: skip
        options = {"options": f"{_OPTIONS} {given.get('options', '')}".strip()}
        self._conninfo: Final = conninfo.make_conninfo("", **(usual | given | options))
        self._room: Final = BoundedSemaphore(MAX_CONNECTIONS)
        self._idle: Final[list[_Timed]] = []
        self._lock: Final = Lock()
        self._down_at: float | None = None
        self._is_closed = False

    def read(self, statement: str, values: Values = ()) -> Rows:
        """The rows of one statement that writes nothing; asked again where the server had closed the connection."""
        try:
            return self._one(statement, values)
        except _Lost:
            return self._one(statement, values)

    def write(self, statement: str, values: Values = ()) -> Rows:
        """Run one statement as a transaction of its own, durable before this returns; its rows."""
        return self._retried(lambda: self._one(statement, values))

    def transact(self, work: Work[T], wait_s: float = WAIT_S, *, is_brief: bool = False) -> T:
        """
        Run `work` inside a transaction, durable before this returns. It may run twice, so it keeps no notes outside.
        With `is_brief` it gives way at once to whoever holds a table.
        """

        def attempt() -> T:
            with self._lent(wait_s) as connection:
                with connection.transaction():
                    if wait_s > WAIT_S:
                        connection.execute(_BULK, prepare=False)
                    if is_brief:
                        connection.execute(f"SET LOCAL lock_timeout = {_BRIEF_MS}".encode())
                    result = work(connection)
                return self._durable(connection, result)

        return self._retried(attempt)

    def alone(self, statement: str) -> None:
        """Run VACUUM or the like, which no transaction may hold. It gives way at once to whoever holds the table."""
        with self._lent(BULK_WAIT_S) as connection:
            connection.execute("SET statement_timeout = 0")
            connection.execute(f"SET lock_timeout = {_BRIEF_MS}".encode())
            try:
                self._durable(connection, connection.execute(statement.encode()))
            finally:
                connection.execute("RESET statement_timeout")
                connection.execute("RESET lock_timeout")

    def close(self) -> None:
        """Close every connection; later calls raise StoreError."""
        self._is_closed = True
        self._close_idle()

    def _one(self, statement: str, values: Values) -> Rows:
        with self._lent(WAIT_S) as connection:
            cursor = connection.execute(statement.encode(), values, prepare=True, binary=True)
            return self._durable(connection, cursor.fetchall() if cursor.description else [])

    def _durable(self, connection: _Timed, result: T) -> T:
        """The result, unless the server warned that it did not keep its promise, such as to wait for a standby."""
        warned, connection.warned = connection.warned, None
        if warned is not None:
            raise StoreError(f"{self.where}: it warns: {warned}; what was written may be lost with the primary.")
        return result

    def _retried(self, attempt: Callable[[], T]) -> T:
        for _ in range(MAX_RETRIES):
            with suppress(_Collided):
                return attempt()
        raise StoreError(f"{self.where}: other transactions came first {MAX_RETRIES} times; ask again.")

    # Connections

    @contextmanager
    def _lent(self, wait_s: float) -> Iterator[_Timed]:
        """A connection for one piece of work, bounded by what the page that waits has left."""
        page_s = store_wait_s()
        until = time.monotonic() + (wait_s if page_s is None else min(wait_s, page_s))
        self._refuse(is_page=page_s is not None)
        if not self._room.acquire(timeout=max(0.0, until - time.monotonic())):
            raise StoreError(f"{self.where}: all {MAX_CONNECTIONS} connections are in use; ask again.")
        connection: _Timed | None = None
        try:
            connection = self._taken(until)
            yield connection
        except psycopg.Error as error:
            raise self._said(error, connection) from error
        finally:
            self._put_back(connection)
            self._room.release()

    def _taken(self, until: float) -> _Timed:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connected(until)
        connection.until, connection.warned = until, None
        return connection

    def _connected(self, until: float) -> _Timed:
        """A new connection. One that comes too late for whoever asked is left for the next: the driver hurries not."""
        made: Future[_Timed] = Future()
        Thread(target=self._connect, args=(made,), daemon=True).start()
        try:
            return made.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            made.add_done_callback(self._keep_late)
            raise errors.ConnectionTimeout("no connection in time") from None

    def _connect(self, made: "Future[_Timed]") -> None:
        try:
            connection = _Timed.connect(self._conninfo, autocommit=True, prepare_threshold=0)
        except BaseException as error:
            made.set_exception(error)
            return
        connection.prepared_max = 500
        connection.add_notice_handler(lambda notice: _note(connection, notice))
        self._down_at = None
        made.set_result(connection)

    def _keep_late(self, made: "Future[_Timed]") -> None:
        if made.exception() is None:
            connection = made.result()
            with self._lock:
                is_wanted = not self._idle and not self._is_closed
                if is_wanted:
                    self._idle.append(connection)
            if not is_wanted:
                connection.close()

    def _put_back(self, connection: _Timed | None) -> None:
        if connection is None:
            return
        is_whole = not connection.closed and connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if is_whole and not self._is_closed:
            connection.until = None
            with self._lock:
                self._idle.append(connection)
        else:
            connection.close()

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle[:] = list(self._idle), []
        for connection in idle:
            connection.close()

    def _refuse(self, *, is_page: bool) -> None:
        if self._is_closed:
            raise StoreError(f"{self.where} is closed; the service is stopping. Ask again when it is up.")
        if is_page and self._down_at is not None and time.monotonic() - self._down_at < _DOWN_S:
            raise StoreError(f"{self.where}: the server could not be reached a moment ago; ask again.")

    def _said(self, error: psycopg.Error, connection: _Timed | None) -> StoreError:
        """What the server says, and what to do."""
        text, code = _one_line(error), error.sqlstate or ""
        if isinstance(error, errors.DeadlockDetected | errors.SerializationFailure):
            return _Collided(f"{self.where}: {text}")
        if isinstance(error, errors.CheckViolation) and error.diag.constraint_name is None:
            return NoDay(f"{self.where}: {text}.")  # in any language of the server
        advice = next((say for part, say in _ADVICE if part in text), _CODES.get(code, "see whether the server is up"))
        said = f"{self.where}: {text}: {advice}."
        if connection is None or connection.closed or connection.broken or code.startswith("57P"):
            self._close_idle()  # they are of the same server
            self._down_at = time.monotonic() if connection is None else None
            return StoreError(said) if connection is None else _Lost(said)
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:  # a time limit passed
            self._close_idle()
            self._down_at = time.monotonic()
            return StoreError(f"{self.where}: no answer in time; it is busy, paused or out of reach. Ask again.")
        return StoreError(said)


class NoDay(StoreError):
    """A table has no partition for the day of a row."""


class _Lost(StoreError):
    """The server closed a connection."""


class _Collided(StoreError):
    """A transaction gave way to another; it may be tried again."""


def _note(connection: _Timed, notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        connection.warned = notice.message_primary


def _one_line(error: psycopg.Error) -> str:
    """The first line of what went wrong, without the address, which may hold a password."""
    text = error.diag.message_primary or str(error)
    for part in ("FATAL: ", "ERROR: "):
        text = text.rpartition(part)[2]
    return " ".join(text.split("\n", 1)[0].split())
