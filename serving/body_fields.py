"""
Fields of request bodies, made from the structs in `recsys.messages` and from the columns of the data contract.

Those two are the only places where a field, a bound or a word is spelled. Here they become what pydantic checks and
what the description of the interface shows.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial, reduce
from operator import or_
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from recsys import messages
from recsys.clock import from_text
from recsys.columns import COUNTRY, LANGUAGE, PLACE, REGION, Column, Table
from recsys.instants import read_instant
from recsys.services.fields import plain_value

TypeHint = Any
"""A type as a value: a class, or what `typing` makes of classes."""
BodyFields = dict[str, Any]
"""Name -> (type, pydantic's field with the default and the description)."""
Body = TypeVar("Body", bound=BaseModel)
_YEAR_3000: Final = from_text("3000-01-01T00:00:00Z")


class ClientBody(BaseModel):
    """A value from a client: its fields and no others, of their types, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def with_fields(fields: BodyFields) -> Callable[[type[Body]], type[Body]]:
    """Gives a body its fields: a decorator, so that a body's documentation and rules stand in its class."""

    def complete(body: type[Body]) -> type[Body]:
        model: type[Body] = create_model(
            body.__name__, __base__=body, __doc__=body.__doc__, __module__=body.__module__, **fields
        )
        return model

    return complete


# ---- from structs ----


def struct_fields(struct: type[msgspec.Struct]) -> BodyFields:
    """The fields of a struct, with its defaults."""
    hints = get_type_hints(struct, include_extras=True)
    return {
        field.name: (checked_type(hints[field.name]), Field() if field.required else Field(default=_default(field)))
        for field in msgspec.structs.fields(struct)
    }


def _default(field: msgspec.structs.FieldInfo) -> object:
    """The default of a struct's field, as a body holds it."""
    if field.default is msgspec.NODEFAULT:
        return {}  # the only kind of default that is made anew
    if isinstance(field.default, msgspec.Struct):
        return _body_of(type(field.default))()
    return list(field.default) if isinstance(field.default, tuple) else field.default


@cache
def _body_of(struct: type[msgspec.Struct]) -> type[ClientBody]:
    """The body of a struct that is a field of another one."""
    fields = struct_fields(struct)
    return create_model(f"{struct.__name__}Body", __base__=ClientBody, __doc__=struct.__doc__, **fields)


def checked_type(hint: TypeHint) -> TypeHint:
    """A type hint of a struct as pydantic checks it: with its bounds, tuples as lists, structs as bodies."""
    origin: Any = get_origin(hint)
    inner = get_args(hint)
    if origin is Annotated:
        return Annotated[(checked_type(inner[0]), *checks_of(hint))]
    if origin in (Union, types.UnionType):
        return reduce(or_, map(checked_type, inner))
    if origin is dict:
        return types.GenericAlias(dict, (checked_type(inner[0]), checked_type(inner[1])))
    if origin is tuple:
        return types.GenericAlias(list, (checked_type(inner[0]),))
    is_struct = isinstance(hint, type) and issubclass(hint, msgspec.Struct)
    return _body_of(hint) if is_struct else hint


def checks_of(hint: TypeHint) -> Sequence[object]:
    """The bounds and words that stand in an annotated type, in pydantic's terms."""
    return [check for meta in get_args(hint)[1:] for check in _checks(meta)]


def _checks(meta: Meta) -> Sequence[object]:
    names = ("ge", "le", "min_length", "max_length", "pattern", "description", "examples")
    field = Field(**_given({name: getattr(meta, name) for name in names}), json_schema_extra=meta.extra_json_schema)
    return [field, AfterValidator(_printable)] if (meta.extra or {}).get("is_id") else [field]


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Only what says something: pydantic takes a None for a bound."""
    return {name: value for name, value in arguments.items() if value is not None}


def _printable(text: str) -> str:
    if not text.isprintable() or text.isspace():  # no control characters, no marks that turn the reading direction
        raise ValueError("expected printable characters only")
    return text


def _instant(value: object) -> object:
    at = read_instant(value)
    if at is None or not 0 <= at < _YEAR_3000:
        raise ValueError("expected an instant such as 2026-11-20T18:00:00Z")
    return value


Id = Annotated[str, *checks_of(messages.Id)]
Country = Annotated[str, *checks_of(messages.Country)]
Region = Annotated[str, *checks_of(messages.Region)]
Place = Annotated[str, *checks_of(messages.Place)]
Language = Annotated[str, *checks_of(messages.Language)]
Languages = Annotated[list[Language], *checks_of(messages.Languages)]
Size = Annotated[int, *checks_of(messages.Size)]
Instant = Annotated[str, Field(max_length=40, description="RFC 3339.", examples=["2026-11-20T18:00:00Z"]),
                    AfterValidator(_instant)]  # fmt: skip
_MOMENT: Final = [
    {"type": "string", "maxLength": 40, "description": "RFC 3339.", "examples": ["2026-11-20T18:00:00Z"]},
    {"type": "number", "description": "Milliseconds since 1970-01-01 UTC."},
]
Moment = Annotated[Any, AfterValidator(_instant), WithJsonSchema({"anyOf": _MOMENT})]
"""An instant of a row. One type for text and numbers, so that errors name the field and not a kind of it."""


# ---- from columns ----


def row_fields(table: Table, *, leave_out: Sequence[str] = (), required: Sequence[str] = ()) -> BodyFields:
    """The columns of a table in order. Null means unknown, except where a value is `required`."""
    return {
        column.name: row_field(column, is_required=column.name in required)
        for column in table.columns
        if column.name not in leave_out
    }


def row_field(column: Column, *, is_required: bool = False) -> tuple[TypeHint, Any]:
    """One column."""
    about = _given({"description": column.about or None})
    if is_required:
        return value_type(column), Field(**about)
    return Annotated[value_type(column) | None, BeforeValidator(partial(plain_value, column))], Field(
        default=None, **about
    )


def value_type(column: Column) -> TypeHint:
    """What a value of a column is over HTTP."""
    if column.dtype == "time":
        return Moment
    if column.dtype == "bool":
        return bool
    if column.dtype in ("int", "float"):
        number = int if column.dtype == "int" else float
        return Annotated[number, Field(**_given({"ge": column.minimum, "le": column.maximum}))]
    if column.dtype == "list":
        texts = types.GenericAlias(list, (_text_type(column),))
        return Languages if column.pattern == LANGUAGE else Annotated[texts, Field(max_length=column.max_items)]
    return _text_type(column)


def _text_type(column: Column) -> TypeHint:
    """What one text of a column is."""
    if column.one_of is not None:
        return Literal[column.one_of]
    if column.is_id:
        return Id
    if column.pattern in _BY_PATTERN:
        return _BY_PATTERN[column.pattern]
    bounds = {"pattern": column.pattern} if column.pattern else {"max_length": column.max_length}
    return Annotated[str, Field(**bounds)]


_BY_PATTERN: Final[Mapping[str | None, TypeHint]] = {
    COUNTRY: Country, REGION: Region, PLACE: Place, LANGUAGE: Language,
}  # fmt: skip
