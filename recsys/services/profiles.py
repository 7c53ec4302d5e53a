"""Profiles of people, and the one way to change a person's state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from recsys.clock import Millis
from recsys.errors import DataError, StoreError
from recsys.feed.engine import Engine
from recsys.feed.viewer import languages_of, profile_of
from recsys.services.fields import check_id, shorten
from recsys.types import Fields, JsonObject
from recsys.user.state import Profile, UserState
from recsys.vocabulary import AGE_BANDS, AGE_SOURCES

MAX_WRITE_TRIES: Final = 20


def get_profile(engine: Engine, user_id: str) -> JsonObject:
    """The profile in force; a field that was never given is null."""
    state = engine.stores.users.read(check_id("user_id", user_id)).state
    return {"user_id": user_id, **msgspec.to_builtins(_named(profile_of(state, engine.resources.model, user_id)))}


def _named(profile: Profile) -> JsonObject:
    return {name: getattr(profile, name) for name in profile.__struct_fields__}


def put_profile(engine: Engine, user_id: str, fields: Fields, at: Millis) -> JsonObject:
    """Replace the profile, and say what is in force. Moving to an older band frees nothing: the ledger stays."""
    replace_profile(engine, user_id, fields)
    return get_profile(engine, user_id)


def replace_profile(engine: Engine, user_id: str, fields: Fields) -> None:
    """Replace the profile."""
    check_id("user_id", user_id)
    profile = _profile(fields)
    check_languages(engine, profile.languages)

    def change(state: UserState) -> UserState:
        person = msgspec.structs.replace(state.person, profile=profile, is_put=True)
        return msgspec.structs.replace(state, person=person)

    update_state(engine, user_id, change)


def patch_profile(engine: Engine, user_id: str, fields: Fields) -> None:
    """Change these fields of the profile in force, in one write; null = unknown. Raises DataError."""
    check_id("user_id", user_id)
    check_languages(engine, fields.get("languages") or ())

    def change(state: UserState) -> UserState:
        before = _named(profile_of(state, engine.resources.model, user_id))
        person = msgspec.structs.replace(state.person, profile=_profile({**before, **fields}), is_put=True)
        return msgspec.structs.replace(state, person=person)

    update_state(engine, user_id, change)


def check_languages(engine: Engine, tags: Sequence[str]) -> None:
    """Raises DataError when tags are stated and neither the market nor the catalogue has a language of theirs."""
    resources = engine.resources
    market, spoken = resources.policy.market, resources.catalogue_cache.items.codes
    if tags and not languages_of(tags, market, spoken):
        raise DataError(
            f"languages: found {', '.join(tags)}, expected at least one that something is in, "
            f"such as {', '.join(market.languages)}"
        )


def _profile(fields: Fields) -> Profile:
    problems = [f"{name}: found an unknown field, expected one of {', '.join(Profile.__struct_fields__)}"
                for name in fields if name not in Profile.__struct_fields__]  # fmt: skip
    if fields.get("age_band") not in (None, *AGE_BANDS):
        problems.append(f"age_band: found {shorten(fields['age_band'])}, expected one of {', '.join(AGE_BANDS)}")
    if fields.get("age_source") not in (None, *AGE_SOURCES):
        problems.append(f"age_source: found {shorten(fields['age_source'])}, expected one of {', '.join(AGE_SOURCES)}")
    if problems:
        raise DataError(*problems)
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return _converted(given)
    except msgspec.ValidationError as error:
        raise DataError(f"profile: {error}") from error


def _converted(given: Fields) -> Profile:
    kinds: Mapping[str, type] = {"languages": tuple[str, ...], "consent": bool}
    values: JsonObject = {name: msgspec.convert(value, kinds.get(name, str)) for name, value in given.items()}
    return msgspec.structs.replace(Profile(), **values)


def update_state(engine: Engine, user_id: str, change: Callable[[UserState], UserState]) -> None:
    """Change a person's state by compare-and-swap. Raises StoreError when others keep winning."""
    for _ in range(MAX_WRITE_TRIES):
        read = engine.stores.users.read(user_id)
        if engine.stores.users.write_if(user_id, change(read.state), read.version):
            return
    raise StoreError(f"found {MAX_WRITE_TRIES} other writes of one person at once, expected fewer; try again")
