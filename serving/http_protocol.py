"""
Connections and heads of requests, within bounds that hold before anybody shows a key. What breaks them, and what is no
HTTP at all, is answered as a problem too: no middleware ever sees it.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving import deadline
from serving.admission import FEED, Admission, is_page
from serving.metrics import Metrics
from serving.problems import RETRY_AFTER_S, new_call_id, problem_response
from serving.request_body import BODY_LIMITS

MAX_HEAD_BYTES: Final = 32 * 2**10
MAX_HEADERS: Final = 100
HEAD_TIMEOUT_S: Final = 10.0
"""From the connection, or the first byte after a response, to the end of a head."""
KEEP_ALIVE_S: Final = 75
"""Between a response and the next head: longer than proxies and clients keep a connection, so that they close it."""
IDLE_S: Final = 5.0
"""So long nobody who has asked once makes place for a new connection."""
WRITE_TIMEOUT_S: Final = 20.0
"""For whoever asks and does not read the answer."""
MAX_PIPELINED: Final = 1_000
"""Requests that wait on a connection for the answer to an earlier one."""
FLUSH_TIMEOUT_S: Final = 60.0
"""From the end of an answer to its last byte, where the connection closes then."""

_NO_HTTP: Final = "Found bytes that are no HTTP request; send HTTP/1.1 without TLS, and a space in the address as %20."
_LARGE_HEAD: Final = f"Found a head of more than {MAX_HEAD_BYTES // 2**10} kB or {MAX_HEADERS} headers; send fewer."
_SLOW_HEAD: Final = f"Found a head that took more than {HEAD_TIMEOUT_S:g} s to arrive; send it again."
_SHED: Final = f"So many pages wait that this one would come too late; ask again in {RETRY_AFTER_S} s."
_NO_MEMORY: Final = f"No memory was left for this request; ask again in {RETRY_AFTER_S} s."
_FULL: Final = f"Too many connections are open; connect again in {RETRY_AFTER_S} s."


class _HeadError(Exception):
    """Stops the parser inside a head that is too large."""


class LimitedProtocol(HttpToolsProtocol):
    """
    One connection. A new one beyond `max_connections` takes the place of the one that has waited longest for its first
    request, else of the one that has been idle longest since a response. Where all are in use it is refused.
    """

    max_connections: int = 1_000
    admission: Admission = Admission(max_in_flight=64, deadline_s=1.0)
    metrics: Metrics | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting_since: float | None = None  # by the loop's time; None while a request is read or answered
        self._unread_since: float | None = None  # by the loop's time; None while the answers are read
        self._is_in_head = True
        self._is_shed = False  # the request that is read is refused already
        self._n_heads = 0
        self._head_since: float | None = None  # by the loop's time; None before its first byte
        self._pending_bytes = 0  # of a head that has not arrived in full
        self._field_bytes = 0  # of its address and headers that have
        self._problem = (400, _NO_HTTP)

    def connection_made(self, transport: Any) -> None:
        """Take a place among the connections."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections and not _make_place(self.connections):
            self.refuse(503, _FULL)
        self.waiting_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and count it where it is part of an unfinished head."""
        if self.transport.is_closing():
            return  # what follows a refusal
        was_in_head, n_heads = self._is_in_head, self._n_heads
        super().data_received(data)
        is_all_head = was_in_head and self._is_in_head and self._n_heads == n_heads
        if is_all_head and not self.transport.is_closing():
            self._head_since = self._head_since or self.loop.time()
            self._pending_bytes += len(data)
            if self._pending_bytes > MAX_HEAD_BYTES:
                self.refuse(431, _LARGE_HEAD)

    def on_url(self, url: bytes) -> None:
        """See HttpToolsProtocol. Raises _HeadError, which the parser reports as what is no HTTP."""
        super().on_url(url)
        self._count_in_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """See HttpToolsProtocol. Raises _HeadError."""
        super().on_header(name, value)
        self._count_in_head(len(name) + len(value))

    def _count_in_head(self, n_bytes: int) -> None:
        self._field_bytes += n_bytes
        if self._field_bytes > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self._problem = (431, _LARGE_HEAD)
            raise _HeadError

    def on_headers_complete(self) -> None:
        """See HttpToolsProtocol."""
        self._n_heads += 1
        self._is_in_head, self._head_since, self._pending_bytes, self._field_bytes = False, None, 0, 0
        self._is_shed = self._may_shed()
        if self._is_shed:
            return
        self.waiting_since = None
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()
            raise _HeadError

    def _may_shed(self) -> bool:
        """
        Whether a page is refused now, of which nothing but the head was read. What asks first, pipelines, sends a body
        of any length or a strange deadline goes the long way.
        """
        admission = self.admission
        if not (admission.is_full() or admission.is_late(deadline.MIN_DEADLINE_S)):
            return False
        if not is_page(self.url.decode("latin-1").partition("?")[0]) or self.expect_100_continue:
            return False
        if self.parser.get_method() == b"HEAD":  # its answer has no body
            return False
        if not (self.cycle is None or self.cycle.response_complete):
            return False
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"0")
        is_short = length.isdigit() and int(length[:9]) <= BODY_LIMITS[FEED].n_bytes
        given = headers.get(deadline.HEADER)
        seconds = admission.deadline_s if given is None else deadline.read_deadline_s(given)
        if not is_short or b"transfer-encoding" in headers or seconds is None:
            return False
        return admission.is_full() or admission.is_late(seconds)

    def on_body(self, body: bytes) -> None:
        """See HttpToolsProtocol. What the parser is told of a lack of memory must not be taken for what is no HTTP."""
        if self._is_shed:
            return
        try:
            super().on_body(body)
        except MemoryError:
            self._problem = (503, _NO_MEMORY)
            raise

    def on_message_complete(self) -> None:
        """See HttpToolsProtocol."""
        self._is_in_head = True
        if not self._is_shed:
            super().on_message_complete()
            return
        self._is_shed, is_kept = False, self.parser.should_keep_alive()
        self.transport.write(new_call_id().encode().join(_SHED_PARTS if is_kept else _LAST_PARTS))
        if self.metrics is not None:
            self.metrics.shed()
        if not is_kept:
            self.transport.close()
        super().on_response_complete()
        self.waiting_since = self.loop.time()

    def on_response_complete(self) -> None:
        """See HttpToolsProtocol. Whoever goes on sending a body that was refused has as long as for the next head."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.pipeline:
            self.waiting_since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close the connection: nobody knows where the next request would begin."""
        self.refuse(*self._problem)

    def refuse(self, status: int, detail: str) -> None:
        """Answer with a problem and close."""
        request_id = new_call_id()
        headers = {"X-Request-ID": request_id, "Connection": "close"}
        if status == 503:
            headers["Retry-After"] = str(RETRY_AFTER_S)
        answer = problem_response(status, detail, path="/", request_id=request_id, headers=headers)
        self.transport.write(_bytes_of(status, answer))
        self.transport.close()

    def pause_writing(self) -> None:
        """See HttpToolsProtocol: the client reads too slowly."""
        super().pause_writing()
        self._unread_since = self.loop.time()

    def resume_writing(self) -> None:
        """See HttpToolsProtocol."""
        super().resume_writing()
        self._unread_since = None

    def is_kept(self) -> bool:
        """Whether a client keeps the connection for its next request, of which nothing has come yet."""
        is_quiet = self._is_in_head and self._head_since is None
        return self._n_heads > 0 and is_quiet and not self.transport.is_closing()

    def close_if_slow(self, at: float) -> None:
        """
        Close a connection whose next head has not arrived in time, with a problem if it began, and one whose client
        does not read its answers.
        """
        if self._unread_since is not None and at - self._unread_since > WRITE_TIMEOUT_S:
            self.transport.abort()
            return
        waited_s = 0.0 if self.waiting_since is None else at - (self._head_since or self.waiting_since)
        if waited_s <= (KEEP_ALIVE_S if self.is_kept() else HEAD_TIMEOUT_S):
            return
        if self.transport.is_closing():  # but whoever is there does not read the last answer
            if waited_s > FLUSH_TIMEOUT_S:
                self.transport.abort()
        elif self._pending_bytes:
            self.refuse(408, _SLOW_HEAD)
        else:
            self.transport.close()


def limited_to(n_connections: int, admission: Admission, metrics: Metrics) -> type[LimitedProtocol]:
    """The protocol for so many connections: the server makes one of each class without asking."""
    values = {"max_connections": n_connections, "admission": admission, "metrics": metrics}
    return type("LimitedProtocol", (LimitedProtocol,), values)


def close_slow(connections: Iterable[object], at: float) -> None:
    """Close what has waited too long at `at`, by the loop's time."""
    for connection in list(connections):
        if isinstance(connection, LimitedProtocol):
            connection.close_if_slow(at)


def _bytes_of(status: int, answer: Response) -> bytes:
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    lines = [first, *(name + b": " + value for name, value in answer.raw_headers)]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])


def _shed_parts(**more: str) -> list[bytes]:
    """A refusal around the places of its id: what is refused most must cost least."""
    headers = {"X-Request-ID": _NO_ID, "Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store", **more}
    answer = problem_response(503, _SHED, path=FEED, request_id=_NO_ID, headers=headers)
    return _bytes_of(503, answer).split(_NO_ID.encode())


_NO_ID: Final = "0" * 16
_SHED_PARTS: Final = _shed_parts()
_LAST_PARTS: Final = _shed_parts(Connection="close")


def _make_place(connections: set[Any]) -> bool:
    """
    Close the connection that has waited longest for a head. False where every one has a request, or had one just now:
    a client that keeps its connections may be sending the next one.
    """
    waiting = [
        connection
        for connection in connections
        if connection.waiting_since is not None
        and not (connection.is_kept() and connection.loop.time() - connection.waiting_since < IDLE_S)
    ]
    if not waiting:
        return False
    longest = min(waiting, key=lambda connection: (connection.is_kept(), connection.waiting_since))
    connections.discard(longest)
    longest.transport.abort()
    return True
