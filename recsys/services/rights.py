"""
People's controls and rights: what a person or a guardian sets, what is held, how to forget it and how to erase it.

Controls and guardian limits are layers of the policy, so they can only tighten. A guardian sees the limits they set,
never topics, tastes or cards.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Final, TypeVar

import msgspec

from recsys.clock import Millis, to_text
from recsys.errors import DataError, StoreError
from recsys.feed.answer import as_sent
from recsys.feed.engine import Engine
from recsys.feed.viewer import profile_of
from recsys.languages import lookup_all
from recsys.models.loaded import TrainedModels
from recsys.policy.effective import effective_limits, personal_limits
from recsys.policy.limits import WINDOWS, Limits, hours_of, span_text
from recsys.policy.schema import Market, parse_hours
from recsys.safety.ledger import FAMILY_COUNTERS, RUN, active_minutes, counts, placed, server_time, windows_of
from recsys.safety.loop.levels import describe_loop, raise_for_calm_mode
from recsys.safety.loop.state import retain_after_erasure
from recsys.safety.loop.wording import describe_reason, describe_signal
from recsys.services.compaction import band_of, standing
from recsys.services.fields import check_id
from recsys.services.profiles import MAX_WRITE_TRIES, check_languages, update_state
from recsys.stores.audit import LOCAL
from recsys.stores.protocols import Read
from recsys.stores.retention import SAFETY_RETENTION_MS
from recsys.types import Event, Fields, History, JsonObject
from recsys.user.state import Controls, Guardian, Ledger, Profile, SafetyState, UserState, pack
from recsys.vocabulary import COUNTERS, TIERS, TOPICS

T = TypeVar("T", Controls, Guardian)
MAX_MUTED: Final = {"muted_creators": 500, "muted_words": 100}


def get_controls(engine: Engine, user_id: str) -> JsonObject:
    """The person's controls, defaults filled in."""
    state = engine.stores.users.read(check_id("user_id", user_id)).state
    return {"user_id": user_id, **msgspec.to_builtins(_named(state.person.controls))}


def put_controls(engine: Engine, user_id: str, fields: Fields, at: Millis) -> JsonObject:
    """Replace the controls. Raises DataError with every problem."""
    check_id("user_id", user_id)
    controls = _read(Controls, fields)
    problems = _control_problems(controls)
    if problems:
        raise DataError(*problems)
    check_languages(engine, controls.languages or ())

    def change(state: UserState) -> UserState:
        is_new = controls.calm_mode and not state.person.controls.calm_mode
        state = _with_person(state, controls=controls)
        return raise_for_calm_mode(state, f"controls:{at}", at) if is_new else state

    update_state(engine, user_id, change)
    return get_controls(engine, user_id)


def get_guardian(engine: Engine, user_id: str) -> JsonObject:
    """The guardian's limits: nothing about what was watched."""
    state = engine.stores.users.read(check_id("user_id", user_id)).state
    return {"user_id": user_id, **_guardian_in_words(state.person.guardian or Guardian())}


def put_guardian(engine: Engine, user_id: str, fields: Fields, at: Millis) -> JsonObject:
    """
    Replace the guardian's limits: daily_minutes, night (hours such as 21:00-07:00), calm_mode, max_tier,
    labelled_only. They are met with everything else, so no value loosens anything; the answer states what is in force.

    Limits need a guardian whom the profile names and a minor, or the person's own consent (`guardian_consent` in the
    controls). Taking limits back needs neither. Raises DataError.
    """
    check_id("user_id", user_id)
    guardian = _read(Guardian, {**fields, "night": _nights(fields.get("night"))})
    if guardian.max_tier is not None and guardian.max_tier not in TIERS:
        raise DataError(f"max_tier: found {guardian.max_tier!r}, expected one of {', '.join(TIERS)}")
    _check_minutes(guardian.daily_minutes, least=0)
    if guardian != Guardian():
        _check_guarded(engine, user_id)

    def change(state: UserState) -> UserState:
        before = state.person.guardian
        is_new = guardian.calm_mode and not (before is not None and before.calm_mode)
        state = _with_person(state, guardian=guardian)
        return raise_for_calm_mode(state, f"guardian:{at}", at) if is_new else state

    update_state(engine, user_id, change)
    return {**get_guardian(engine, user_id), "in_force": _in_force(engine, user_id, at)}


def _check_guarded(engine: Engine, user_id: str) -> None:
    """Raises DataError for a person whom no guardian may limit."""
    state = engine.stores.users.read(user_id).state
    profile, market = profile_of(state, engine.resources.model, user_id), engine.resources.policy.market
    is_minor = market.ages[band_of(engine, state, user_id)].is_minor
    if not (is_minor and profile.guardian_id) and not state.person.controls.guardian_consent:
        subject = "an adult" if not is_minor else "a profile that names no guardian"
        raise DataError(
            f"user_id: found {subject}, expected a minor whose profile names a guardian in guardian_id, "
            "or a person who set guardian_consent in their controls"
        )


def _in_force(engine: Engine, user_id: str, at: Millis) -> JsonObject:
    """The limits that hold for a person now, from all layers, as far as a guardian can set them."""
    state = engine.stores.users.read(user_id).state
    profile, band = profile_of(state, engine.resources.model, user_id), band_of(engine, state, user_id)
    personal = personal_limits(state, profile, personalised=True)
    limits = effective_limits(engine.resources.policy, state, personal, band, profile.country, at).limits
    return {
        "daily_minutes": limits.daily_minutes,
        "night": hours_of(limits.night),
        "max_tier": TIERS[min(limits.blocked_tiers, default=len(TIERS)) - 1],
        "labelled_only": limits.labelled_only,
        "loop_level": state.safety.loop.level,
    }


def reset(engine: Engine, user_id: str, at: Millis) -> JsonObject:
    """Forget tastes; the ledger, the loop level, controls and mutes stay. Training leaves out what came before."""
    check_id("user_id", user_id)
    engine.stores.cutoffs.forget(user_id, at)

    def change(state: UserState) -> UserState:
        emptied = msgspec.structs.replace(state.interactions, items=(), weights=(), at=(), event_ids=(), reset_at=at)
        return msgspec.structs.replace(state, interactions=emptied)

    update_state(engine, user_id, change)
    return {"user_id": user_id, "reset_at": to_text(at), "kept": ["ledger", "loop level", "controls", "follows"]}


def exposure(engine: Engine, user_id: str, at: Millis) -> JsonObject:
    """Every counter against every window now, the loop level with reasons and expiry, minutes used."""
    check_id("user_id", user_id)
    state = standing(engine, engine.stores.users.read(user_id), user_id, at)
    ledger, policy = state.safety.ledger, engine.resources.policy
    at = server_time(ledger, at)
    band = band_of(engine, state, user_id)
    profile = profile_of(state, engine.resources.model, user_id)
    personal = personal_limits(state, profile, personalised=True)
    effective = effective_limits(policy, state, personal, band, profile.country, at)
    limits = effective.limits
    return {
        "user_id": user_id,
        "at": to_text(at),
        "age_band": band,
        "is_night": effective.is_bound_by_night,
        "counters": {name: _against(ledger, limits, name, at) for name in (*COUNTERS, *FAMILY_COUNTERS)},
        "deliveries": ledger.n_delivered,
        "minutes_24h": round(active_minutes(ledger, at), 1),
        "daily_minutes": limits.daily_minutes,
        "loop": describe_loop(
            state,
            policy.market,
            is_minor=policy.market.ages[band].is_minor,
            languages=_languages(state, profile, policy.market),
        ),
    }


def _languages(state: UserState, profile: Profile, market: Market) -> tuple[str, ...]:
    """The languages that a person is told things in, best first."""
    return lookup_all(state.person.controls.languages or profile.languages, market.language_ranges)


def _loop_in_words(state: UserState, languages: tuple[str, ...]) -> JsonObject:
    loop = state.safety.loop
    return {
        **msgspec.to_builtins(_named(loop)),
        "reasons": [describe_reason(reason, languages) for reason in loop.reasons],
        "active_signals": [describe_signal(letter, languages)[0] for letter in loop.active_signals],
    }


def _guardian_in_words(guardian: Guardian) -> JsonObject:
    return {**msgspec.to_builtins(_named(guardian)), "night": [span_text(*pair) for pair in guardian.night]}


def _against(ledger: Ledger, limits: Limits, counter: str, at: Millis) -> JsonObject:
    windows, now = windows_of(limits, counter), counts(ledger, counter, at)
    recent = sum(counter in names for place, names in placed(ledger) if place >= -RUN)
    used = {"last_20": recent, **{name: getattr(now, name) for name in WINDOWS[1:]}}
    return {name: {"used": used[name], "allowed": getattr(windows, name)} for name in WINDOWS}


def export(engine: Engine, user_id: str, at: Millis) -> JsonObject:
    """Everything held about a person, for the person."""
    state = engine.stores.users.read(check_id("user_id", user_id)).state
    trained = None if state.safety.is_erased else engine.resources.model.histories.get(user_id)
    ids = engine.resources.catalogue_cache.items.item_ids
    profile = profile_of(state, engine.resources.model, user_id)
    return {
        "user_id": user_id,
        "exported_at": to_text(at),
        "profile": msgspec.to_builtins(_named(profile)),
        "controls": msgspec.to_builtins(_named(state.person.controls)),
        "guardian": None if state.person.guardian is None else _guardian_in_words(state.person.guardian),
        "ledger": msgspec.to_builtins(_named(state.safety.ledger)),
        "loop": _loop_in_words(state, _languages(state, profile, engine.resources.policy.market)),
        "seen": msgspec.to_builtins(_named(state.seen)),
        "interactions": msgspec.to_builtins(_named(state.interactions)),
        "deliveries": [
            {**msgspec.to_builtins(_named(d)), "item_id": ids[d.item_no] if 0 < d.item_no < len(ids) else None}
            for d in engine.stores.users.deliveries(user_id, 0)
        ],
        "events": [
            {"seq": entry.seq, "received_at": to_text(entry.received_at), **_event(entry.event)}
            for entry in engine.stores.events.since(user_id, 0)
        ],
        "answers": [
            msgspec.json.decode(as_sent(stored, engine.key)) for stored in engine.stores.decisions.of_user(user_id)
        ],
        "trained_on": [] if trained is None else _trained(trained, engine.resources.model),
    }


def _trained(history: History, model: TrainedModels) -> list[JsonObject]:
    """The reactions that the model in service was trained on, oldest first."""
    item_ids = model.rows.ids
    rows = zip(history.items.tolist(), history.weights.tolist(), history.at.tolist(), strict=True)
    return [{"item_id": item_ids[row], "weight": round(weight, 3), "at": to_text(at)} for row, weight, at in rows]


def _event(event: Event) -> JsonObject:
    return {name: value for name, value in asdict(event).items() if value is not None}


def erase(engine: Engine, user_id: str, at: Millis, who: str = LOCAL) -> JsonObject:
    """
    Erase a person everywhere; the receipt says what went.

    Only counters that bound exposure stay, for 8 days under a keyed hash: erasing must not be a way around a cap.
    """
    check_id("user_id", user_id)
    for _ in range(MAX_WRITE_TRIES):
        read = engine.stores.users.read(user_id)
        if not _is_known(engine, read, user_id):
            return _receipt(user_id, at, dict.fromkeys(("users", "deliveries", "decisions", "events"), 0))
        state = standing(engine, read, user_id, at)
        remaining = SafetyState(
            ledger=_bare(state.safety.ledger), loop=retain_after_erasure(state.safety.loop), is_erased=True
        )
        tombstone = pack(UserState(safety=remaining))[1]
        rows = engine.stores.users.erase(user_id, at, tombstone, read.version, state.interactions.log_seq, who)
        if rows is not None:
            return _receipt(user_id, at, rows)
    raise StoreError(f"found {MAX_WRITE_TRIES} other writes of one person at once, expected fewer; try again")


def _is_known(engine: Engine, read: Read, user_id: str) -> bool:
    """Whether anything is held about a person, here or in the model in service."""
    model = engine.resources.model
    is_trained = user_id in model.histories or user_id in model.profiles
    return read.version > 0 or is_trained or bool(read.logged)


def _bare(ledger: Ledger) -> Ledger:
    """The ledger with what bounds exposure, and nothing of what was delivered."""
    last = tuple(msgspec.structs.replace(d, item_no=0, creator_no=0, topics=0) for d in ledger.last)
    return msgspec.structs.replace(ledger, last=last)


def _receipt(user_id: str, at: Millis, rows: Mapping[str, int]) -> JsonObject:
    return {
        "user_id": user_id,
        "erased_at": to_text(at),
        "rows": dict(rows),
        "kept": {
            "what": "exposure counters and loop level under a keyed hash of the id",
            "until": to_text(at + SAFETY_RETENTION_MS),
            "hash": "the bare hash stays as long as a model in service was trained with the person in it",
        },
        "training": f"the next training run leaves out everything before {to_text(at)}",
        "trained_model": "the model in service no longer uses the person's history or profile",
    }


def _with_person(state: UserState, **changes: object) -> UserState:
    return msgspec.structs.replace(state, person=msgspec.structs.replace(state.person, **changes))


def _named(value: msgspec.Struct) -> JsonObject:
    """A stored value by the names of its fields, and so every struct in it."""
    return {name: _in_names(getattr(value, name)) for name in value.__struct_fields__ if name != "format"}


def _in_names(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return _named(value)
    return [_in_names(part) for part in value] if isinstance(value, tuple) else value


def _read(kind: type[T], fields: Fields) -> T:
    """A struct from named fields; problems as sentences, all at once."""
    known = kind.__struct_fields__
    hints = kind.__annotations__
    problems = [
        f"{name}: found an unknown field, expected one of {', '.join(known)}" for name in fields if name not in known
    ]
    values: JsonObject = {}
    for name in known:
        if fields.get(name) is None:
            continue
        try:
            values[name] = msgspec.convert(fields[name], hints[name])
        except msgspec.ValidationError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise DataError(*problems)
    return msgspec.structs.replace(kind(), **values)


def _control_problems(controls: Controls) -> list[str]:
    problems = []
    unknown = sorted(set(controls.muted_topics) - set(TOPICS))
    if unknown:
        problems.append(f"muted_topics: found {', '.join(unknown)}, expected some of {', '.join(TOPICS)}")
    for name, most in MAX_MUTED.items():
        values = getattr(controls, name)
        if len(values) > most or any(not 0 < len(value.strip()) <= len(value) <= 128 for value in values):
            described = f"{len(values)}, or an empty or long one"
            problems.append(f"{name}: found {described}, expected at most {most} of 1 to 128 characters")
    if controls.local_weight is not None and not 0 <= controls.local_weight <= 2:
        problems.append(f"local_weight: found {controls.local_weight}, expected a number from 0 to 2")
    try:
        _check_minutes(controls.daily_minutes, least=1)
    except DataError as error:
        problems += error.problems
    return problems


def _check_minutes(minutes: int | None, *, least: int) -> None:
    if minutes is not None and not least <= minutes <= 1_440:
        raise DataError(f"daily_minutes: found {minutes}, expected a whole number from {least} to 1440, or null")


def _nights(hours: Iterable[object] | None) -> list[tuple[int, int]] | None:
    if hours is None:
        return None
    try:
        return [parse_hours(str(text)) for text in hours]
    except (ValueError, TypeError) as error:
        raise DataError(f"night: {str(error).removeprefix('hours: ')}") from error
