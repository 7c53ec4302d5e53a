"""How many people of a users table each experiment can reach, before anybody is assigned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from recsys.clock import Millis, from_datetime
from recsys.experiments.assignment import draw_variants
from recsys.experiments.audience import admits, conditions_of
from recsys.experiments.payload import Experiments, make_payload, parse_features
from recsys.experiments.schema import Experiment, Registry
from recsys.feed.viewer import Identity, experiment_attributes, viewer_of
from recsys.messages import FeedRequest
from recsys.policy.effective import effective_band
from recsys.policy.schema import Market
from recsys.types import Fields
from recsys.user.state import Profile, UserState

AUDIENCE_COLUMNS: Final = ("user_id", "country", "region", "languages", "age_band", "age_source")
"""The columns of a users table that an audience depends on."""

_OF_A_REQUEST: Final = "surface"  # no person has one: it depends on what is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class AudienceCount:
    """
    The people of one experiment: how many meet its conditions, and how many get each variant at the last step of the
    ramp. `n_needed` are those that its analysis needs for each variant.
    """

    key: str
    n_people: int
    n_audience: int
    variants: Mapping[str, int]
    n_needed: int

    @property
    def problem(self) -> str | None:
        """A sentence when nobody is in it, or in one of its variants."""
        if not self.n_audience:
            return (
                f"{self.key}: found nobody of {self.n_people:,} people in the audience, expected some; widen targeting"
            )
        empty = [variant for variant, n in self.variants.items() if not n]
        if empty:
            return (
                f"{self.key}: found nobody in {', '.join(empty)} of {self.n_audience:,} people in the audience, "
                "expected some; widen targeting, slice or ramp"
            )
        return None

    @property
    def note(self) -> str | None:
        """A sentence when a variant has fewer people than the analysis needs."""
        smallest = min(self.variants.values())
        if smallest >= self.n_needed:
            return None
        return (
            f"{self.key}: its smallest variant has {smallest:,} people here, and min_users_per_variant is "
            f"{self.n_needed:,}"
        )


def count_audiences(experiments: Experiments, people: Iterable[Fields], market: Market) -> tuple[AudienceCount, ...]:
    """
    Counts each experiment by itself, also drafts, as if its ramp had reached its end and everybody were calm.

    `people` are rows of a users table with `AUDIENCE_COLUMNS`. Conditions on the surface are taken as met.
    """
    registry = experiments.registry
    if registry is None:
        return ()
    known = [(str(row["user_id"]), _attributes(row, market)) for row in people]
    return tuple(_count(experiments, experiment, registry, known) for experiment in experiments.experiments)


def _attributes(row: Fields, market: Market) -> Fields:
    """What a request of this person for a plain page is told apart by."""
    profile = Profile(country=row["country"], region=row["region"], languages=tuple(row["languages"] or ()))
    source = row["age_source"] or "none"
    band = effective_band(market, stored=row["age_band"], source=source, given=None)
    identity = Identity(profile=profile, band=band, is_minor=market.ages[band].is_minor)
    request = FeedRequest(user_id=str(row["user_id"]))
    viewer = viewer_of(request, identity, UserState(), market, market.languages)
    return experiment_attributes(viewer, 0, request.surface)


def _count(
    experiments: Experiments, experiment: Experiment, registry: Registry, people: list[tuple[str, Fields]]
) -> AudienceCount:
    conditions = {k: v for k, v in conditions_of(experiment, registry).items() if k != _OF_A_REQUEST}
    audience = [
        (user_id, attributes)
        for user_id, attributes in people
        if all(admits(condition, attributes.get(name)) for name, condition in conditions.items())
    ]
    targeting = {name: wanted for name, wanted in experiment.targeting.items() if name != _OF_A_REQUEST}
    running = replace(experiment, status="running", kill_switch=False, targeting=targeting)
    at: Millis = from_datetime(experiment.ramp[-1].at)
    features = parse_features(make_payload(replace(experiments, experiments=(running,)), at))
    counts = {variant.key: 0 for variant in experiment.variants}
    for user_id, attributes in audience:
        for drawn in draw_variants(features, {**attributes, "id": user_id}):
            counts[drawn.variant] += 1
    return AudienceCount(
        key=experiment.key,
        n_people=len(people),
        n_audience=len(audience),
        variants=counts,
        n_needed=experiment.analysis.min_users_per_variant,
    )
