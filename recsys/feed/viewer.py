"""
Who a page is for: the profile in force, the age band that counts, the place and the languages.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from recsys.languages import lookup_all
from recsys.messages import FeedRequest
from recsys.models.loaded import TrainedModels
from recsys.policy.effective import effective_band
from recsys.policy.schema import Market
from recsys.types import Fields, Viewer
from recsys.user.state import Profile, UserState


def profile_of(state: UserState, model: TrainedModels, user_id: str) -> Profile:
    """The profile that was put over the wire, as a whole; without one, the profile of the artifact's users table."""
    if state.person.is_put:
        return state.person.profile
    trained = {} if state.safety.is_erased else model.profiles.get(user_id, {})
    return Profile(
        country=trained.get("country"),
        region=trained.get("region"),
        languages=tuple(trained.get("languages") or ()),
        age_band=trained.get("age_band"),
        age_source=trained.get("age_source") or "none",
        guardian_id=trained.get("guardian_id"),
        consent=trained.get("consent"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The person behind a request: profile in force, effective age band, and whether the band is a minor's."""

    profile: Profile
    band: str
    is_minor: bool


def identify(request: FeedRequest, state: UserState, model: TrainedModels, market: Market) -> Identity:
    """Whose page this is. The band is the stricter of the stored one and the request's."""
    profile = profile_of(state, model, request.user_id)
    given = request.context.age_band
    band = effective_band(market, stored=profile.age_band, source=profile.age_source, given=given)
    return Identity(profile=profile, band=band, is_minor=market.ages[band].is_minor)


def viewer_of(
    request: FeedRequest, identity: Identity, state: UserState, market: Market, spoken: Container[str]
) -> Viewer:
    """
    The viewer before the limits are known: place and languages; `personalised` is settled by the limits.

    `spoken` are the languages of the catalogue, see `languages_of`.
    """
    country, region = home_of(request, identity.profile, market)
    stated = (languages_of(tags, market, spoken) for tags in stated_languages(request, identity, state))
    languages = next(filter(None, stated), usual_languages(market, region))
    return Viewer(
        user_id=request.user_id, country=country, region=region, languages=languages, age_band=identity.band,
        personalised=True,
    )  # fmt: skip


def stated_languages(request: FeedRequest, identity: Identity, state: UserState) -> list[tuple[str, ...]]:
    """The tags that were stated for a person, most binding first: by the request, in the controls, in the profile."""
    stated = (request.context.languages, state.person.controls.languages, identity.profile.languages)
    return [tuple(tags) for tags in stated if tags]


def languages_of(tags: Sequence[str], market: Market, spoken: Container[str]) -> tuple[str, ...]:
    """
    The languages that stated tags stand for; none when neither the market nor the catalogue has one of them.

    A language that nothing is in would leave every page empty.
    """
    languages = lookup_all(tags, market.language_ranges)
    return languages if any(name in market.languages or name in spoken for name in languages) else ()


def home_of(request: FeedRequest, profile: Profile, market: Market) -> tuple[str, str | None]:
    """
    Country and region whose creators are local to the person: those of the profile, also while the person travels.

    The region that the request names counts within that country. Without a profile the request's place counts.
    """
    context = request.context
    here = context.country or _country_of(context.region)
    home = profile.country or _country_of(profile.region)
    country = home or here or market.market
    if context.region and here == country:
        return country, context.region
    return country, profile.region if home == country else None


def _country_of(region: str | None) -> str | None:
    """The country of an ISO 3166-2 region."""
    return region.partition("-")[0] if region else None


def usual_languages(market: Market, region: str | None) -> tuple[str, ...]:
    """The languages of somebody who stated none: the market's, the region's commonest first."""
    known = market.regions.get(region or "")
    mix = known.languages if known else {}
    return tuple(sorted(market.languages, key=lambda name: -mix.get(name, 0.0)))


def experiment_attributes(viewer: Viewer, level: int, surface: str) -> Fields:
    """What the audience of an experiment may be told apart by."""
    return {
        "country": viewer.country,
        "region": viewer.region,
        "language": viewer.languages[0] if viewer.languages else None,
        "effective_age_band": viewer.age_band,
        "loop_level": level,
        "surface": surface,
    }


def languages_asked(request: FeedRequest, market: Market) -> tuple[str, ...] | None:
    """The only languages that a page may hold; None = the request does not say."""
    return None if request.languages_only is None else lookup_all(request.languages_only, market.language_ranges)
