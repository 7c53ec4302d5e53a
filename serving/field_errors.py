"""
What pydantic finds in a body or a query, as sentences: what was found, what was expected, and for a field that nobody
knows the name that was probably meant.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from fastapi.routing import APIRoute
from pydantic import BaseModel

from recsys.columns import COUNTRY, LANGUAGE, PLACE, REGION
from recsys.types import Fields
from serving.responses import FieldError

MAX_ERRORS: Final = 100  # errors in one answer
_MAX_SHOWN: Final = 80  # characters of a wrong value
_JSON_OBJECT: Final = "a JSON object"
_BY_KIND: Final[Mapping[str, str]] = {
    "missing": "a value",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "model_attributes_type": _JSON_OBJECT,
    "model_type": _JSON_OBJECT,
    "dict_type": _JSON_OBJECT,
    "literal_error": "{expected}",
}
"""By the type of pydantic's error; the names in braces are what the error knows."""

_BY_PATTERN: Final[Mapping[str, str]] = {
    COUNTRY: "a country of ISO 3166-1, such as MA",
    REGION: "a region of ISO 3166-2, such as MA-06",
    PLACE: "a country or a region of ISO 3166, such as MA or MA-06",
    LANGUAGE: "a language tag (BCP 47), such as ary or fr-MA",
}
_REWORDINGS: Final = (
    ("Input should be ", ""),
    ("Value error, expected ", ""),
    ("String should have ", "text of "),
    ("String should match pattern ", "text that matches "),
    ("List should have ", "a list of "),
)


def field_errors(errors: Iterable[Fields], route: object = None) -> tuple[FieldError, ...]:
    """Errors of pydantic as field errors, at most `MAX_ERRORS`. The route knows which fields there are."""
    return tuple(_field_error(error, route) for error in list(errors)[:MAX_ERRORS])


def _field_error(error: Fields, route: object) -> FieldError:
    kind, loc = str(error["type"]), tuple(error["loc"])
    name = ".".join(str(part) for part in loc[1:]) or "the request"
    if kind == "extra_forbidden":
        expected = _known_fields(str(loc[-1]), error.get("ctx", {}).get("fields") or field_names(route, loc))
        sentence = f"{name}: unknown field, expected {expected}"
        return FieldError(loc=loc, msg=sentence, found=shorten(error.get("input")), expected=expected)
    expected = _expected(kind, str(error["msg"]), error.get("ctx", {}))
    if kind == "missing":
        sentence = f"{name}: is missing, expected {expected}"
        return FieldError(loc=loc, msg=sentence, found="nothing", expected=expected)
    value = shorten(error.get("input"))
    return FieldError(loc=loc, msg=f"{name}: found {value}, expected {expected}", found=value, expected=expected)


def _known_fields(unknown: str, names: Sequence[str]) -> str:
    near = get_close_matches(unknown, names, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"one of {', '.join(names)}{meant}" if names else "no such field; the fields are listed in /openapi.json"


def field_names(route: object, loc: Sequence[object]) -> tuple[str, ...]:
    """The fields that stand where a route found an unknown one; none where that cannot be told."""
    model = _model_of(route, loc)
    for part in loc[1:-1]:
        if model is not None and not isinstance(part, int):
            field = model.model_fields.get(str(part))
            model = None if field is None else _model_in(field.annotation)
    return () if model is None else tuple(model.model_fields)


def _model_of(route: object, loc: Sequence[object]) -> type[BaseModel] | None:
    if not isinstance(route, APIRoute) or not loc:
        return None
    fields = [route.body_field] if loc[0] == "body" else route.dependant.query_params
    models = [_model_in(field.field_info.annotation) for field in fields if field is not None]
    return next((model for model in models if model is not None), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a type is, or holds: of `Body | None` or `list[Body]` it is `Body`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)


def _expected(kind: str, message: str, known: Fields) -> str:
    if kind in _BY_KIND:
        return _BY_KIND[kind].format(**known)
    if kind == "string_pattern_mismatch" and known.get("pattern") in _BY_PATTERN:
        return _BY_PATTERN[str(known["pattern"])]
    for opening, replacement in _REWORDINGS:
        if message.startswith(opening):
            return replacement + message.removeprefix(opening).partition(" after validation")[0]
    return message[:1].lower() + message[1:]


def shorten(value: object) -> str:
    """A wrong value, shortened, with control and direction characters escaped."""
    text = ascii(value[: _MAX_SHOWN + 1]) if isinstance(value, str) else _outline(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def _outline(value: object) -> str:
    """A large container by its outline, because only its beginning is shown; other values as JSON spells them."""
    if isinstance(value, Mapping):
        return ascii({str(key)[:_MAX_SHOWN]: "..." for key in list(value)[:8]})
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return _JSON_WORDS.get(str(value)) or ascii(value)


_JSON_WORDS: Final[Mapping[str, str]] = {"None": "null", "True": "true", "False": "false"}
