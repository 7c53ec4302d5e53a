"""
The limits that hold for one person at one instant: the market's layers met with those of the guardian, the person and
the experiments. Pure; whatever a layer says, it can only tighten.
"""

from dataclasses import dataclass

from recsys.clock import Millis
from recsys.policy.compiled import CompiledPolicy, guardian_limits, is_night, person_limits
from recsys.policy.limits import Limits, meet
from recsys.user.state import PersonState, Profile, UserState


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


def personal_limits(state: UserState, profile: Profile, *, personalised: bool) -> Limits:
    """
    The layers of the guardian and of the person, with the creators that the person hid.

    `personalised` is what the request asks for. Without the profile's consent a page is never personalised.
    """
    return meet(
        guardian_limits(state.person.guardian),
        person_limits(state.person.controls, personalised=personalised and profile.consent is not False),
        Limits(blocked_creators=frozenset(creator for creator, _ in state.interactions.hidden)),
    )


def effective_limits(
    policy: CompiledPolicy, state: UserState, personal: Limits, band: str, country: str | None, at: Millis
) -> EffectiveLimits:
    """
    The market's layers for a band at the person's loop level, met with `personal`: all layers but the market's.

    It is night when the local clock says so in the market or in `country`, where the person is.
    """
    level = state.safety.loop.level
    by_day = meet(policy.limits[band, level, False], personal)
    night = is_night(at, policy.zones(country), by_day.night)
    is_bound = night and must_keep_nights(policy, state.person, band)
    limits = meet(policy.limits[band, level, True], personal) if is_bound else by_day
    return EffectiveLimits(limits=limits, is_night=night, is_bound_by_night=is_bound)


def must_keep_nights(policy: CompiledPolicy, person: PersonState, band: str) -> bool:
    """Whether the night rules hold for a person: always, unless the band may switch them off and the person did."""
    has_guarded_night = person.guardian is not None and bool(person.guardian.night)
    return person.controls.night_rules or has_guarded_night or not policy.market.ages[band].night.is_optional
