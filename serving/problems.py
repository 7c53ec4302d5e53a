"""
Every error over HTTP is a problem detail (RFC 9457): what was found, what was expected, what to do.

A client sees sentences and nothing of the inside: no stack trace, no path, no name of a class.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from fastapi import Response
from starlette.exceptions import HTTPException

from recsys.errors import Conflict, DataError, Gone, SanadError, StoreError
from serving.responses import FieldError, ProblemDetail

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1
SLASH_OF_ID: Final = "\ue000"
"""A slash inside an id, on its way from an address to a route. Not printable, so no id holds this letter itself."""
_SHOWN: Final = 80  # characters of a wrong value
MAX_ERRORS: Final = 100  # errors in one answer
_SENTENCE: Final = re.compile(r"(?P<name>\w+): found (?P<found>.+?), expected (?P<expected>.+)", re.DOTALL)
_REWORDED: Final = (
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
    """An error with its HTTP status, raised where no error of the engine fits."""


def answer(
    status: int,
    detail: str,
    *,
    path: str,
    request_id: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem as a response. `type` is a name to compare with, `instance` the path that was asked."""
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


def of_error(error: SanadError) -> tuple[int, str, tuple[FieldError, ...], Mapping[str, str]]:
    """Status, detail, errors and headers for an error of the engine."""
    if isinstance(error, DataError):
        problems = tuple(_of_sentence(text) for text in error.problems[:MAX_ERRORS])
        return 422, sentence(problems), problems, {}
    if isinstance(error, Conflict):
        return 409, str(error), (), {}
    if isinstance(error, Gone):
        return 410, str(error), (), {}
    if isinstance(error, StoreError):
        detail = "The state cannot be written or read now; nothing of this request was kept. Ask again later."
        return 503, detail, (), {"Retry-After": str(RETRY_AFTER_S)}
    return 500, _INTERNAL, (), {}


_INTERNAL: Final = "The service failed while it worked on this request; its log has the details under this request_id."


def _of_sentence(text: str) -> FieldError:
    """The engine says `size: found 0, expected 1 or more`; its other sentences stay whole."""
    parts = _SENTENCE.fullmatch(text)
    if parts is None:
        return FieldError(loc=("body",), msg=text, found=None, expected=None)
    return FieldError(loc=("body", parts["name"]), msg=text, found=parts["found"], expected=parts["expected"])


def internal(path: str, request_id: str) -> Response:
    """The answer to an error that nobody expected. What happened stands in the log only."""
    return answer(500, _INTERNAL, path=path, request_id=request_id)


def field_errors(found: Iterable[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """The errors of pydantic in our four fields."""
    return tuple(_field_error(error) for error in list(found)[:MAX_ERRORS])


def _field_error(error: Mapping[str, Any]) -> FieldError:
    kind, loc = str(error["type"]), tuple(error["loc"])
    name = ".".join(str(part) for part in loc[1:]) or "the request"
    found = "nothing" if kind == "missing" else _short(error.get("input"))
    expected = _expected(kind, str(error["msg"]), name)
    return FieldError(loc=loc, msg=f"{name}: found {found}, expected {expected}", found=found, expected=expected)


def _expected(kind: str, message: str, name: str) -> str:
    if kind == "missing":
        return "a value"
    if kind == "extra_forbidden":
        return f"no field {name}; the fields are listed in /openapi.json"
    if kind in ("model_attributes_type", "model_type", "dict_type"):
        return "a JSON object"
    for opening, ours in _REWORDED:
        if message.startswith(opening):
            return ours + message.removeprefix(opening).partition(" after validation")[0]
    return message[:1].lower() + message[1:]


def _short(value: object) -> str:
    """A wrong value, shortened, with control and direction characters escaped."""
    text = ascii(value[: _SHOWN + 1]) if isinstance(value, str) else ascii(_outline(value))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _outline(value: object) -> object:
    """Large containers are not printed whole to be cut afterwards."""
    if isinstance(value, Mapping):
        return {str(key)[:_SHOWN]: "..." for key in list(value)[:8]}
    if isinstance(value, list | tuple):
        return [f"{len(value)} values"]
    return value


def sentence(problems: Sequence[FieldError]) -> str:
    """The detail of a 422: what is wrong, in one line."""
    more = f"; and {len(problems) - 1} more, see errors" if len(problems) > 1 else ""
    return f"{problems[0].msg}{more}" if problems else "The request breaks the contract."
