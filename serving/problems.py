"""
Errors over HTTP as problem details (RFC 9457): what was found, what was expected, what to do.

A client sees sentences only: no stack trace, no file, no name of a class.
"""

import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final

import msgspec
from fastapi import Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from recsys.errors import Conflict, DataError, Gone, SanadError, StoreError
from serving.field_errors import MAX_ERRORS
from serving.responses import FieldError, ProblemDetail

log = logging.getLogger("sanad.serving")

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1
CLOCK_RETRY_AFTER_S: Final = 60  # a clock waits for an operator
SLASH_OF_ID: Final = "\ue000"
"""Stands for a slash inside an id, between the path and the route. No id holds it, because it does not print."""
_SENTENCE: Final = re.compile(r"(?P<name>[\w.]+): found (?P<found>.+?), expected (?P<expected>.+)", re.DOTALL)
_KINDS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("unreadable", "The request cannot be read"),
    401: ("no-key", "A service key is needed"),
    403: ("forbidden", "This caller may not do this"),
    404: ("not-found", "There is nothing here"),
    405: ("method", "This method is not offered here"),
    408: ("slow-body", "The request did not arrive in time"),
    409: ("conflict", "This request_id was used for another request"),
    410: ("gone", "This cursor has expired"),
    413: ("too-large", "The request is too large"),
    415: ("media-type", "The request must be application/json"),
    422: ("invalid", "The request breaks the contract"),
    429: ("rate", "This key has asked too often"),
    431: ("large-head", "The head of the request is too large"),
    500: ("internal", "Something failed inside the service"),
    503: ("unavailable", "The service cannot do this now"),
}


_CALLS: Final = count(secrets.randbits(63))


def new_call_id() -> str:
    """
    An id of a call that names none. It is counted, not drawn: a system call would let go of the interpreter, and get
    it back only after a page.
    """
    return f"{next(_CALLS):016x}"


class Problem(HTTPException):
    """An error with an HTTP status, for cases that no error of the engine covers."""


def waiting_for_clock(what: str) -> Problem:
    """503 for what must not be dated by a clock that is not believed."""
    return Problem(
        503,
        f"{what} wait until the server's clock is corrected or confirmed; nothing of this request was stored. "
        "Send it again later.",
        {"Retry-After": str(CLOCK_RETRY_AFTER_S)},
    )


def shed(why: str) -> Problem:
    """503 for what is refused before any work is done for it."""
    return Problem(503, f"{why}; ask again in {RETRY_AFTER_S} s.", {"Retry-After": str(RETRY_AFTER_S)})


def problem_response(
    status: int,
    detail: str,
    *,
    path: str,
    request_id: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem as a response. `type` is a name to compare with, `instance` is the path of the request."""
    kind, title = _KINDS.get(status, ("other", "The request was refused"))
    body = ProblemDetail(
        type=f"urn:sanad:problem:{kind}",
        title=title,
        status=status,
        detail=detail,
        instance=path.replace(SLASH_OF_ID, "%2F"),
        request_id=request_id,
        errors=tuple(errors) if status == 422 else msgspec.UNSET,
    )
    return Response(msgspec.json.encode(body), status, headers, MEDIA_TYPE)


def describe_error(error: SanadError) -> tuple[int, str, tuple[FieldError, ...], Mapping[str, str]]:
    """Status, detail, field errors and headers for an error of the engine."""
    if isinstance(error, DataError):
        problems = tuple(_parse_sentence(text) for text in error.problems[:MAX_ERRORS])
        return 422, summarise(problems), problems, {}
    if isinstance(error, Conflict):
        return 409, str(error), (), {}
    if isinstance(error, Gone):
        return 410, str(error), (), {}
    if isinstance(error, StoreError):
        detail = "The state cannot be written or read now; nothing of this request was stored. Try again later."
        return 503, detail, (), {"Retry-After": str(RETRY_AFTER_S)}
    return 500, _INTERNAL, (), {}


def error_response(error: SanadError, scope: Scope) -> Response:
    """The response to an error of the engine. What is the service's own fault is logged."""
    status, detail, errors, headers = describe_error(error)
    if isinstance(error, StoreError) and scope["method"] != "GET" and scope["path"].startswith(_OF_MANY_ROWS):
        detail = _PARTLY_STORED
    request_id = scope["state"]["request_id"]
    if status >= 500:
        log.error("%s: %s", type(error).__name__, error)
    return problem_response(status, detail, path=scope["path"], request_id=request_id, errors=errors, headers=headers)


_OF_MANY_ROWS: Final = ("/v1/bulk/", "/api/feedback", "/api/items", "/api/users")  # each is written in several commits
_PARTLY_STORED: Final = (
    "The state cannot be written or read now; some rows of this request may be stored. Send all of them again later: "
    "none counts twice."
)
_INTERNAL: Final = "The service failed while it worked on this request; its log has the details under this request_id."


def _parse_sentence(text: str) -> FieldError:
    """The parts of a sentence such as `size: found 0, expected 1 or more`; other sentences stay whole."""
    parts = _SENTENCE.fullmatch(text)
    if parts is None:
        return FieldError(loc=("body",), msg=text, found=None, expected=None)
    return FieldError(loc=("body", parts["name"]), msg=text, found=parts["found"], expected=parts["expected"])


def unexpected_error_response(error: Exception, path: str, request_id: str) -> Response:
    """The response to an unexpected error, or to a lack of memory. Only the log says what happened."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return problem_response(503, _NO_MEMORY, path=path, request_id=request_id, headers=headers)
    return problem_response(500, _INTERNAL, path=path, request_id=request_id)


_NO_MEMORY: Final = f"No memory was left for this request; ask again in {RETRY_AFTER_S} s."


def summarise(problems: Sequence[FieldError]) -> str:
    """The first problem as one line, and how many more there are: the detail of a 422."""
    more = f"; and {len(problems) - 1} more, see errors" if len(problems) > 1 else ""
    return f"{problems[0].msg}{more}" if problems else "The request breaks the contract."
