"""
The checks around every request: who may call, how large a request may be, how many at once; and errors as problems.

Pure ASGI, because it sees a request before any part of it is parsed.
"""

import logging
import re
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.columns import MAX_ID_LENGTH
from serving import deadline, problems
from serving.admission import Admission, is_page
from serving.auth.gate import Gate, RequestHeaders
from serving.calls import Call, Follower
from serving.deadline import DEADLINE, NO_DEADLINE, Deadline
from serving.logs import is_followed
from serving.metrics import Metrics
from serving.problems import SLASH_OF_ID, Problem, new_call_id, shed
from serving.request_body import BodyReader
from serving.settings import Settings

log = logging.getLogger("sanad.serving")

_OPEN_PATHS: Final = ("/health/live", "/health/ready")
_REQUEST_ID: Final = re.compile(rf"[\x21-\x7e]{{1,{MAX_ID_LENGTH}}}")
_LONE_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MARKS: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""On every response."""


@dataclass(slots=True)
class RequestGuard:
    """The outermost layer of the service."""

    app: ASGIApp
    settings: Settings
    gate: Gate
    metrics: Metrics
    admission: Admission
    follower: Follower
    _bodies: BodyReader = field(default_factory=BodyReader, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(reversed(scope["headers"]))  # of a header that comes twice the first one counts
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        marks = [(b"x-request-id", request_id.encode()), *_MARKS]
        call = self.follower.begin(request_id, headers)
        started, status = time.perf_counter(), 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += marks
            await send(message)

        try:
            await self._admit(scope, headers, receive, send_marked)
        except Problem as problem:
            answer = problems.problem_response(
                problem.status_code, problem.detail, path=scope["path"], request_id=request_id, headers=problem.headers
            )
            await answer(scope, receive, send_marked)
        except Exception as error:
            log.exception("call failed", extra={"method": scope["method"], "route": _route_of(scope)})
            if status:
                raise  # the connection is closed: half an answer must not look like a whole one
            await problems.unexpected_error_response(error, scope["path"], request_id)(scope, receive, send_marked)
        finally:
            self._ended(call, scope, status, time.perf_counter() - started)

    def _ended(self, call: Call, scope: Scope, status: int, seconds: float) -> None:
        route = _route_of(scope)
        self.metrics.answered(route, status, seconds)
        if call.trace is not None:
            call.trace.end(scope["method"], route, status)
        if is_followed():
            fields = {"method": scope["method"], "route": route, "status": status, "took_ms": round(1_000 * seconds, 2)}
            log.info("call answered", extra={**fields, "who": scope["state"].get("who")})

    async def _admit(self, scope: Scope, headers: RequestHeaders, receive: Receive, send: Send) -> None:
        """Pass an allowed request on. Raises Problem for the others."""
        if scope["path"] in _OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        key = self.gate.identify(scope, headers)
        if not _is_unescaped(scope):
            _check_encoding(scope)
            _protect_slashes(scope)
        if key is not None:
            self.gate.allow(key, scope["method"], scope["path"])
        arriving = time.perf_counter()
        body = await self._bodies.read(scope["path"], receive)
        self.metrics.took("body", time.perf_counter() - arriving)
        if self.admission.is_full():
            raise shed(f"{self.admission.in_flight} requests are being answered already")
        self.admission.in_flight += 1
        DEADLINE.set(NO_DEADLINE)  # a request that was pipelined begins in the context of the one before it
        self.metrics.in_flight(self.admission.in_flight)
        try:
            if is_page(scope["path"]):
                await self._page(scope, headers, _whole(body, receive), send)
            else:
                await self.app(scope, _whole(body, receive), send)
        finally:
            self.admission.in_flight -= 1
            self.metrics.in_flight(self.admission.in_flight)

    async def _page(self, scope: Scope, headers: RequestHeaders, receive: Receive, send: Send) -> None:
        """A page, if it can be made in time. Raises Problem."""
        seconds = self._seconds(headers)
        if self.admission.is_late(seconds):
            raise shed("So many pages wait that this one would come too late")
        DEADLINE.set(Deadline(time.perf_counter(), seconds))
        self.admission.begin_page()
        try:
            await self.app(scope, receive, send)
        finally:
            self.admission.end_page()

    def _seconds(self, headers: RequestHeaders) -> float:
        """The time of a page. Raises Problem for a deadline that is none."""
        given = headers.get(deadline.HEADER)
        seconds = self.admission.deadline_s if given is None else deadline.read_deadline_s(given)
        if seconds is None:
            found = (given or b"").decode("latin-1")[:40]
            expected = f"a whole number of milliseconds from 1 to {deadline.MAX_DEADLINE_MS}"
            raise Problem(400, f"Found X-Sanad-Deadline-Ms {found!a}, expected {expected}; correct it or leave it out.")
        return seconds


def _route_of(scope: Scope) -> str:
    """The address as the description names it, or `none`: what callers make up must not make new counters."""
    route: str = scope["state"].get("route") or getattr(scope.get("route"), "path", "none")
    return route


def _request_id(headers: RequestHeaders) -> str:
    """The caller's `X-Request-ID` when it is plain ASCII, else a new id. It names a call, not a page."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else new_call_id()


def _is_unescaped(scope: Scope) -> bool:
    """Whether an address is plain ASCII without any percent sign, as nearly all are."""
    address = (scope.get("raw_path") or b"") + scope["query_string"]
    return scope["path"].isascii() and address.isascii() and b"%" not in address


def _check_encoding(scope: Scope) -> None:
    """A lone percent sign is refused: `/v1/users/50%25` is about the user `50%`; a guess could mean another."""
    address = scope.get("raw_path") or b""
    if _LONE_PERCENT.search(address) or _LONE_PERCENT.search(scope["query_string"]):
        raise Problem(
            400, "Found % without two hexadecimal digits behind it in the address; write a percent sign as %25."
        )
    try:
        unquote_to_bytes(scope.get("raw_path") or b"").decode()
        unquote_to_bytes(scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise Problem(400, "Found bytes in the address that are not UTF-8; encode it as UTF-8, then percent.") from None


def _protect_slashes(scope: Scope) -> None:
    """
    An id may hold a slash, which is %2F in the path. If it were decoded here, it would split the id: a request about
    the user `u/export` would be one about the user `u`.
    """
    if SLASH_OF_ID in scope["path"]:
        raise Problem(404, "Found U+E000 in the address, expected an id of printable characters; correct it.")
    parts = (scope.get("raw_path") or b"").split(b"/")
    if any(b"%" in part for part in parts):
        scope["path"] = "/".join(unquote_to_bytes(part).decode().replace("/", SLASH_OF_ID) for part in parts)


def _whole(body: bytes, receive: Receive) -> Receive:
    """A body in one message, then what follows it."""
    is_replayed = False

    async def replay() -> Message:
        nonlocal is_replayed
        if is_replayed:
            return await receive()
        is_replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
