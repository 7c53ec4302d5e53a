"""
One SQLite file, written by one thread and read by many.

Writes wait in a queue; the writer takes up to 64 of them into one transaction, so that they share one flush to disk,
and answers each after the commit is durable. Reads borrow a connection and see one snapshot. Other processes may use
the same file: they take turns at `BEGIN IMMEDIATE`. A third thread moves the write-ahead log into the file, so that no
commit pays for it.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Final, Protocol, TypeVar

from recsys.errors import StoreError
from serving.deadline import store_wait_s

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
_Job = tuple[Work[Any], "Future[Any]"]


class Group(Protocol):
    """What the writes of one commit add up, so that it is written once."""

    def flush(self, connection: sqlite3.Connection) -> None:
        """Write it, before the commit."""
        ...

    def clear(self) -> None:
        """Forget it: the transaction was undone."""
        ...


MAX_GROUP: Final = 64  # writes that share a commit
BUSY_WAIT_S: Final = 5.0  # how long to wait for another process
_BLOCKED_S: Final = 0.25
"""Once the writer has waited so long for another process, a page no longer waits with it."""
_RETRY_S: Final = 0.0002  # SQLite's own busy handler sleeps up to 100 ms, which starves a writer among busy ones
_CHECKPOINT_EVERY_S: Final = 0.2
_ATTEMPT_S: Final = 0.5
_MAX_LOG_BYTES: Final = 32 * 2**20  # bytes
_TRUNCATE: Final = "PRAGMA wal_checkpoint(TRUNCATE)"
_REWRITE: Final = ("VACUUM", _TRUNCATE)
_BUSY: Final = ("SQLITE_BUSY", "SQLITE_LOCKED")
_ADVICE: Final = {
    "SQLITE_BUSY": "another process holds it; stop that process, or wait and ask again",
    "SQLITE_LOCKED": "another connection holds it; wait and ask again",
    "SQLITE_CANTOPEN": "it cannot be opened; the folder must exist and be writable",
    "SQLITE_READONLY": "it cannot be written; give this user the right to write the file and its folder",
    "SQLITE_FULL": "the disk is full; make room, nothing was written",
    "SQLITE_NOTADB": "it is not a SQLite file; name another file, or move this one away",
    "SQLITE_CORRUPT": "it is damaged; stop the service and restore the last copy",
    "SQLITE_IOERR": "the disk failed; look at the system's log",
}


def _code(error: BaseException) -> str:
    """The plain SQLite code of an error: SQLITE_READONLY_DIRECTORY is SQLITE_READONLY."""
    return "_".join(str(getattr(error, "sqlite_errorname", "")).split("_")[:2])


class Database:
    """
    The file, its writer and its readers. `create` makes or checks the tables inside a transaction; `group` is what the
    writes of a commit add up, on the writer's thread.

    Raises StoreError, with what to do, whenever the file cannot be used.
    """

    def __init__(
        self, path: Path, create: Work[None], busy_wait_s: float = BUSY_WAIT_S, group: Group | None = None
    ) -> None:
        self.path: Final = path
        self._busy_wait_s: Final = busy_wait_s
        self._group: Final = group
        self._queue: Final[SimpleQueue[_Job | None]] = SimpleQueue()
        self._idle: Final[list[sqlite3.Connection]] = []
        self._queue_lock: Final = Lock()
        self._closed: Final = Event()
        self._n_commits = 0
        self._blocked_since: float | None = None  # since when the writer waits for another process
        self._wiping: Final = Lock()
        self._pending: tuple[str, ...] = ()  # statements that deleted content still waits for
        with self._with_advice():
            self._writer: Final = self._open_writer(create)
            self._file: Final = _identity(path)
            self._checkpointer: Final = self._connection()
        self._threads: Final = (
            Thread(target=self._write_all, name="sanad-writer", daemon=True),
            Thread(target=self._checkpoint_log, name="sanad-checkpoints", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    def write(self, work: Work[T]) -> T:
        """
        Run `work` inside a transaction of the writer; what it returned, once that is durable.

        `work` may run twice (its first transaction is undone then), so it keeps no notes outside the database. A page
        waits for no longer than its deadline leaves time; then `work` may be written all the same, or not.
        """
        wait_s = store_wait_s()
        if wait_s is not None and self._is_blocked():
            raise StoreError(f"{self.path}: {_ADVICE['SQLITE_BUSY']}.")
        future: Future[T] = Future()
        with self._queue_lock:
            self._refuse_when_closed()
            self._queue.put((work, future))
        with self._with_advice():
            try:
                return future.result(wait_s)
            except TimeoutError:
                if future.cancel() or not future.done():
                    raise StoreError(
                        f"{self.path}: found no commit in time; the disk is slow, or writers wait."
                    ) from None
                return future.result()

    def _is_blocked(self) -> bool:
        since = self._blocked_since
        return since is not None and time.monotonic() - since > _BLOCKED_S

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for one statement, or for several that need not see the same moment."""
        self._refuse_when_closed()
        with self._with_advice():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connection()
            try:
                yield connection
            finally:
                self._idle.append(connection)
                if self._closed.is_set():
                    self._close_idle()

    def forget_log(self) -> None:
        """Begin the write-ahead log anew, so that nothing deleted stands in it; soon again when somebody reads it."""
        with self._wiping, suppress(sqlite3.Error, OSError):
            self._pending = self._pending or (_TRUNCATE,)
            self._catch_up()

    def compact(self) -> None:
        """Rewrite the file whole, without deleted content. Writers wait meanwhile. Raises StoreError."""
        until = time.monotonic() + self._busy_wait_s
        with self._wiping, self._with_advice():
            self._pending = _REWRITE
            while not self._catch_up():
                if time.monotonic() > until:
                    raise StoreError(f"{self.path} is in use and was not rewritten whole; ask again in a quiet hour.")

    def close(self) -> None:
        """Finish what is queued, refuse what comes later, and close the file."""
        with self._queue_lock:
            if self._closed.is_set():
                return
            self._closed.set()
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._checkpointer.close()
        self._writer.close()
        self._close_idle()

    def _refuse_when_closed(self) -> None:
        if self._closed.is_set():
            raise StoreError(f"{self.path} is closed; the service is stopping. Ask again when it is up.")

    # Connections

    def _connection(self, mode: str = "rw") -> sqlite3.Connection:
        """
        Autocommit; `check_same_thread` is off because a pool lends it to one thread at a time. The first connection
        makes the file (`rwc`); a later one must not: in place of a file that is gone it would begin an empty past.
        """
        connection = sqlite3.connect(
            f"{self.path.resolve().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_wait_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            for setting in (
                "auto_vacuum=INCREMENTAL",
                "synchronous=FULL",
                "secure_delete=ON",
                "wal_autocheckpoint=0",
                "temp_store=MEMORY",
            ):
                connection.execute(f"PRAGMA {setting}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _open_writer(self, create: Work[None]) -> sqlite3.Connection:
        connection = self._connection("rwc")
        try:
            # A file that is somebody else's is refused before anything in it changes.
            self._retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"))
            create(connection)
            connection.execute("COMMIT")
            self._retry_while_busy(lambda: _run(connection, "PRAGMA journal_mode=WAL"))
            connection.execute("PRAGMA busy_timeout=0")  # the writer waits by itself, see `_retry_while_busy`
        except StoreError as error:
            connection.close()
            raise StoreError(f"{self.path}: {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _retry_while_busy(self, attempt: Callable[[], object]) -> None:
        """Try until the file is free, for a bounded time."""
        until = time.monotonic() + self._busy_wait_s
        while True:
            try:
                attempt()
                return
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() > until:
                    raise
            time.sleep(_RETRY_S)

    @contextmanager
    def _with_advice(self) -> Iterator[None]:
        """Turn what SQLite says into what to do."""
        try:
            yield
        except sqlite3.Error as error:
            advice = _ADVICE.get(_code(error), "look at the file with `PRAGMA integrity_check`")
            raise StoreError(f"{self.path}: {error}: {advice}.") from error
        except MemoryError as error:
            raise StoreError(f"{self.path}: no memory is left; give the service more, or fewer requests.") from error

    # The writer

    def _write_all(self) -> None:
        is_open = True
        while is_open:
            jobs: list[_Job | None] = [self._queue.get()]
            while jobs[-1] is not None and len(jobs) < MAX_GROUP:
                try:
                    jobs.append(self._queue.get_nowait())
                except Empty:
                    break
            is_open = jobs[-1] is not None
            self._commit([job for job in jobs if job is not None])

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for all. When one job fails, the others must not: each gets its own transaction."""
        if not jobs:
            return
        try:
            self._begin()
            jobs = _still_wanted(jobs)
            results = self._results(jobs)
            if results is not None:
                self._writer.execute("COMMIT")
        except Exception as error:
            self._undo()
            for _, future in _still_wanted(jobs):
                future.set_exception(error)
            return
        if results is None:
            for job in jobs:
                self._commit([job])
            return
        self._n_commits += 1
        for (_, future), result in zip(jobs, results, strict=True):
            future.set_result(result)

    def _begin(self) -> None:
        """Begin a transaction in the file that was opened. Raises StoreError when another stands there, or none."""
        if _identity(self.path) != self._file:
            raise StoreError(f"{self.path}: the file is gone or another one stands there; put it back, or restart.")
        self._blocked_since = time.monotonic()
        try:
            self._retry_while_busy(lambda: self._writer.execute("BEGIN IMMEDIATE"))
        finally:
            self._blocked_since = None

    def _results(self, jobs: list[_Job]) -> list[Any] | None:
        """What the jobs return; None, with the transaction undone, when one of several failed."""
        try:
            results = [_without_cursor(work(self._writer)) for work, _ in jobs]
            if self._group is not None:
                self._group.flush(self._writer)
            return results
        except Exception:
            if len(jobs) == 1:
                raise
            self._undo()
            return None

    def _undo(self) -> None:
        if self._group is not None:
            self._group.clear()
        with suppress(sqlite3.Error):  # the writer lives on; the next BEGIN meets the same trouble and says it
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    # The log

    def _checkpoint_log(self) -> None:
        """Move committed pages into the file, beside the writer; start the log anew when it grew long."""
        log = self.path.with_name(self.path.name + "-wal")
        seen = 0
        while not self._closed.wait(_CHECKPOINT_EVERY_S):
            try:
                if self._n_commits != seen:
                    seen = self._n_commits
                    _run(self._checkpointer, "PRAGMA wal_checkpoint(PASSIVE)")
                with self._wiping:
                    self._catch_up()
                if log.exists() and log.stat().st_size > _MAX_LOG_BYTES:
                    self._attempt(_TRUNCATE)
            except (sqlite3.Error, OSError):
                continue  # the next write or read meets the same trouble, and says it to somebody

    def _catch_up(self) -> bool:
        """Do what is pending, in order; False when something is left."""
        while self._pending and self._attempt(self._pending[0]):
            self._pending = self._pending[1:]
        return not self._pending

    def _attempt(self, statement: str) -> bool:
        """Run a statement that needs the file for itself; False when somebody does not let go of it in time."""
        connection = self._connection()
        until = time.monotonic() + _ATTEMPT_S
        try:
            connection.execute(f"PRAGMA busy_timeout={round(_ATTEMPT_S * 1_000)}")
            while not _run(connection, statement):  # at once, without waiting, when another checkpoint is running
                if time.monotonic() > until:
                    return False
                time.sleep(_RETRY_S)
            return True
        except sqlite3.OperationalError as error:
            if _code(error) not in _BUSY:
                raise
            return False
        finally:
            connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one under its name; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _still_wanted(jobs: Sequence[_Job]) -> list[_Job]:
    """The jobs that somebody waits for. From now on none of them is given up."""
    return [job for job in jobs if job[1].running() or job[1].set_running_or_notify_cancel()]


def _without_cursor(result: T) -> T | None:
    """
    The result, or None for a cursor. A cursor must end on the writer's thread: let go of on the caller's, it resets a
    statement that the writer may be running for somebody else by then.
    """
    if not isinstance(result, sqlite3.Cursor):
        return result
    result.close()
    return None


def _run(connection: sqlite3.Connection, statement: str) -> bool:
    """Run to the end; False when a checkpoint reports that it was kept from finishing."""
    rows = connection.execute(statement).fetchall()
    return not (rows and rows[0][0] == 1)
