"""
The age band and the limits that hold for one person at one instant: the market's layers met with those of the guardian,
the person and the experiments. Pure; whatever a layer says, it can only tighten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from recsys.clock import Millis
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.limits import NOTHING, Limits, meet, minutes
from recsys.policy.nights import is_night
from recsys.policy.schema import Market, tier_number
from recsys.user.state import Controls, Guardian, PersonState, Profile, UserState
from recsys.vocabulary import EFFECTIVE_BANDS


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimits:
    """
    The meet of every layer, and the night it was met for.

    `is_night` tells the local clock. `is_bound_by_night` is False for a person who may switch the night rules off and
    did; then `limits` are those of the day.
    """

    limits: Limits
    is_night: bool
    is_bound_by_night: bool


def effective_band(market: Market, *, stored: str | None, source: str, given: str | None) -> str:
    """
    The band that counts: the stricter of what is stored and what a request says; doubtful is 13-15.

    A verified band counts as stored; a declared 18+ counts only where the market trusts declarations.
    """
    if stored == "under_13" or (source == "verified" and stored in EFFECTIVE_BANDS):
        known = stored
    elif source == "declared" and stored == "18+" and market.trust_declared_age:
        known = "18+"
    else:
        known = "13-15"
    asked = known if given is None else {"unknown": "13-15"}.get(given, given)
    return min(known, asked, key=EFFECTIVE_BANDS.index)


def guardian_limits(guardian: Guardian | None) -> Limits:
    """What a guardian set."""
    if guardian is None:
        return NOTHING
    allowed = 5 if guardian.max_tier is None else tier_number(guardian.max_tier) + 1
    return Limits(
        daily_minutes=guardian.daily_minutes,
        night=minutes(guardian.night),
        blocked_tiers=frozenset(range(allowed, 5)),
        labelled_only=guardian.labelled_only,
    )


def person_limits(controls: Controls, *, personalised: bool) -> Limits:
    """What the person set, and every other "no" to personalisation."""
    is_set = controls.daily_minutes is not None or controls.muted_topics or controls.muted_creators
    if personalised and controls.personalised and not (is_set or controls.muted_words):
        return NOTHING
    return Limits(
        daily_minutes=controls.daily_minutes,
        blocked_topics=frozenset(controls.muted_topics),
        blocked_creators=frozenset(controls.muted_creators),
        blocked_words=frozenset(controls.muted_words),
        non_personalised=not (controls.personalised and personalised),
    )


def personal_limits(state: UserState, profile: Profile, *, personalised: bool) -> Limits:
    """
    The layers of the guardian and of the person, with the creators that the person hid.

    `personalised` is what the request asks for. Without the profile's consent a page is never personalised.
    """
    return meet(
        guardian_limits(state.person.guardian),
        person_limits(state.person.controls, personalised=personalised and profile.consent is not False),
        _without_hidden(state.interactions.hidden),
    )


def _without_hidden(hidden: Sequence[tuple[str, str]]) -> Limits:
    return Limits(blocked_creators=frozenset(creator for creator, _ in hidden)) if hidden else NOTHING


def effective_limits(
    policy: CompiledPolicy, state: UserState, personal: Limits, band: str, country: str | None, at: Millis
) -> EffectiveLimits:
    """
    The market's layers for a band at the person's loop level, met with `personal`: all layers but the market's.

    It is night when the local clock says so in the market or in `country`, where the person is.
    """
    level = state.safety.loop.level
    by_day = _met(policy.limits[band, level, False], personal)
    night = is_night(at, policy.zones(country), by_day.night)
    is_bound = night and must_keep_nights(policy, state.person, band)
    limits = _met(policy.limits[band, level, True], personal) if is_bound else by_day
    return EffectiveLimits(limits=limits, is_night=night, is_bound_by_night=is_bound)


def _met(layers: Limits, personal: Limits) -> Limits:
    """The meet of a market's layers, which are one meet already, with those of a person: most people have none."""
    return layers if personal is NOTHING else meet(layers, personal)


def must_keep_nights(policy: CompiledPolicy, person: PersonState, band: str) -> bool:
    """Whether the night rules hold for a person: always, unless the band may switch them off and the person did."""
    has_guarded_night = person.guardian is not None and bool(person.guardian.night)
    return person.controls.night_rules or has_guarded_night or not policy.market.ages[band].night.is_optional
