"""
Errors over HTTP as problem details (RFC 9457): what was found, what was expected, what to do.

A client sees sentences only: no stack trace, no file, no name of a class.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from fastapi import Response
from starlette.exceptions import HTTPException

from recsys.errors import Conflict, DataError, Gone, SanadError, StoreError
from recsys.types import Fields
from serving.responses import FieldError, ProblemDetail

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1
CLOCK_RETRY_AFTER_S: Final = 60  # a clock waits for an operator
SLASH_OF_ID: Final = "\ue000"
"""Stands for a slash inside an id, between the path and the route. No id holds it, because it does not print."""
_MAX_SHOWN: Final = 80  # characters of a wrong value
MAX_ERRORS: Final = 100  # errors in one answer
_SENTENCE: Final = re.compile(r"(?P<name>\w+): found (?P<found>.+?), expected (?P<expected>.+)", re.DOTALL)
_REWORDINGS: Final = (
    ("Input should be ", ""),
    ("Value error, expected ", ""),
    ("String should have ", "text of "),
    ("String should match pattern ", "text that matches "),
    ("List should have ", "a list of "),
)
_KINDS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("not-json", "The request is not JSON in UTF-8"),
    401: ("no-key", "A service key is needed"),
    403: ("not-local", "Only local calls are accepted"),
    404: ("not-found", "There is nothing here"),
    405: ("method", "This method is not offered here"),
    408: ("slow-body", "The request did not arrive in time"),
    409: ("conflict", "This request_id was used for another request"),
    410: ("gone", "This cursor has expired"),
    413: ("too-large", "The request is too large"),
    415: ("media-type", "The request must be application/json"),
    422: ("invalid", "The request breaks the contract"),
    500: ("internal", "Something failed inside the service"),
    503: ("unavailable", "The service cannot do this now"),
}


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


_INTERNAL: Final = "The service failed while it worked on this request; its log has the details under this request_id."


def _parse_sentence(text: str) -> FieldError:
    """The parts of a sentence such as `size: found 0, expected 1 or more`; other sentences stay whole."""
    parts = _SENTENCE.fullmatch(text)
    if parts is None:
        return FieldError(loc=("body",), msg=text, found=None, expected=None)
    return FieldError(loc=("body", parts["name"]), msg=text, found=parts["found"], expected=parts["expected"])


def internal_error_response(path: str, request_id: str) -> Response:
    """The response to an unexpected error. Only the log says what happened."""
    return problem_response(500, _INTERNAL, path=path, request_id=request_id)


def field_errors(errors: Iterable[Fields]) -> tuple[FieldError, ...]:
    """Errors of pydantic as field errors, at most `MAX_ERRORS`."""
    return tuple(_field_error(error) for error in list(errors)[:MAX_ERRORS])


def _field_error(error: Fields) -> FieldError:
    kind, loc = str(error["type"]), tuple(error["loc"])
    name = ".".join(str(part) for part in loc[1:]) or "the request"
    value = "nothing" if kind == "missing" else _shorten(error.get("input"))
    expected = _expected(kind, str(error["msg"]), name)
    return FieldError(loc=loc, msg=f"{name}: found {value}, expected {expected}", found=value, expected=expected)


def _expected(kind: str, message: str, name: str) -> str:
    if kind == "missing":
        return "a value"
    if kind == "extra_forbidden":
        return f"no field {name}; the fields are listed in /openapi.json"
    if kind in ("model_attributes_type", "model_type", "dict_type"):
        return "a JSON object"
    for opening, replacement in _REWORDINGS:
        if message.startswith(opening):
            return replacement + message.removeprefix(opening).partition(" after validation")[0]
    return message[:1].lower() + message[1:]


def _shorten(value: object) -> str:
    """A wrong value, shortened, with control and direction characters escaped."""
    text = ascii(value[: _MAX_SHOWN + 1]) if isinstance(value, str) else ascii(_outline(value))
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def _outline(value: object) -> object:
    """A large container by its outline, because only its beginning is shown."""
    if isinstance(value, Mapping):
        return {str(key)[:_MAX_SHOWN]: "..." for key in list(value)[:8]}
    if isinstance(value, list | tuple):
        return [f"{len(value)} values"]
    return value


def summarise(problems: Sequence[FieldError]) -> str:
    """The first problem as one line, and how many more there are: the detail of a 422."""
    more = f"; and {len(problems) - 1} more, see errors" if len(problems) > 1 else ""
    return f"{problems[0].msg}{more}" if problems else "The request breaks the contract."
