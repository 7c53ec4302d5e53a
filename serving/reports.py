"""
Reports as structs: what a person holds and was shown, decision records and why, policies, and family pages.

What the engine stores in arrays by position, people read by name: those structs are made from the stored ones.
"""

import types
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from recsys.clock import Millis
from recsys.messages import FeedResponse, Reason, Wire
from recsys.user.state import (
    Controls,
    Delivery,
    InteractionHistory,
    Ledger,
    LoopState,
    Packed,
    Profile,
    Seen,
)
from recsys.vocabulary import PauseKind
from serving.responses import Answer, LatestReview

TypeHint = Any
LimitsByPath = Annotated[
    dict[str, int | float | bool | tuple[int | str, ...]],
    Meta(description="By policy path, such as windows.R2.rolling_24h.", examples=[{"windows.R2.rolling_24h": 6}]),
]


# ---- what is stored, by name ----


def _named(hint: TypeHint) -> TypeHint:
    """A type of a stored value as people read it: structs by name, everything else as it is."""
    origin: Any = get_origin(hint)
    inner = get_args(hint)
    if origin in (Union, types.UnionType):
        return reduce(or_, map(_named, inner))
    if origin in (tuple, dict):
        return types.GenericAlias(origin, tuple(part if part is Ellipsis else _named(part) for part in inner))
    is_stored = isinstance(hint, type) and issubclass(hint, Packed)
    return _by_name(hint) if is_stored else hint


@cache
def _by_name(struct: type[Packed]) -> type[Wire]:
    """A stored struct with the same fields, by name and all there."""
    return _made(f"{struct.__name__}ByName", _fields_of(struct), struct.__doc__ or "")


def _fields_of(struct: type[Packed], **other: TypeHint) -> dict[str, TypeHint]:
    return {name: other.get(name, _named(hint)) for name, hint in get_type_hints(struct).items() if name != "format"}


def _made(name: str, fields: dict[str, TypeHint], doc: str) -> type[Wire]:
    namespace = {"__doc__": " ".join(doc.split())}
    made = msgspec.defstruct(
        name, list(fields.items()), bases=(Wire,), namespace=namespace, module=__name__, frozen=True, kw_only=True
    )
    return cast(type[Wire], made)


class RaiseReason(Wire, frozen=True):
    """A signal that raised the loop level, in words."""

    signal: str
    text: str
    at: str


StoredLoop = _made("StoredLoop", _fields_of(LoopState, reasons=tuple[RaiseReason, ...]), LoopState.__doc__ or "")
StoredDelivery = _made(
    "StoredDelivery",
    _fields_of(Delivery) | {"item_id": str | None},
    f"{Delivery.__doc__} `item_id` is null where the catalogue does not hold the item.",
)


class StoredEvent(Wire, frozen=True, kw_only=True):
    """An event as it was reported, and when it was received. What was not reported is left out."""

    seq: int
    received_at: str
    event_id: str
    user_id: str
    kind: str
    at: Millis
    item_id: str | msgspec.UnsetType = msgspec.UNSET
    creator_id: str | msgspec.UnsetType = msgspec.UNSET
    query: str | msgspec.UnsetType = msgspec.UNSET
    value: str | msgspec.UnsetType = msgspec.UNSET
    watch_s: float | msgspec.UnsetType = msgspec.UNSET
    watch_fraction: float | msgspec.UnsetType = msgspec.UNSET
    request_id: str | msgspec.UnsetType = msgspec.UNSET
    position: int | msgspec.UnsetType = msgspec.UNSET
    is_attributed: bool
    is_history: bool


class TrainedReaction(Wire, frozen=True):
    """A reaction that the model in service was trained on."""

    item_id: str
    weight: float
    at: str


class StoredGuardian(Wire, frozen=True):
    """The limits of a guardian."""

    daily_minutes: int | None
    night: tuple[str, ...]
    calm_mode: bool
    max_tier: str | None
    labelled_only: bool


class UserExport(Answer, frozen=True):
    """Everything that is held about a user. Times without a name of a day are milliseconds since 1970 UTC."""

    user_id: str
    exported_at: str
    profile: _by_name(Profile)  # type: ignore[valid-type]  # made from the stored struct
    controls: _by_name(Controls)  # type: ignore[valid-type]
    guardian: StoredGuardian | None
    ledger: _by_name(Ledger)  # type: ignore[valid-type]
    loop: StoredLoop  # type: ignore[valid-type]
    seen: _by_name(Seen)  # type: ignore[valid-type]
    interactions: _by_name(InteractionHistory)  # type: ignore[valid-type]
    deliveries: tuple[StoredDelivery, ...]  # type: ignore[valid-type]
    events: tuple[StoredEvent, ...]
    answers: tuple[FeedResponse, ...]
    trained_on: tuple[TrainedReaction, ...]


# ---- exposure ----


class WindowUse(Wire, frozen=True):
    """What a window counts and allows; null = no limit."""

    used: int
    allowed: int | None


class CounterUse(Wire, frozen=True):
    """One counter against its four windows."""

    last_20: WindowUse
    session: WindowUse
    rolling_24h: WindowUse
    rolling_7d: WindowUse


class TopicOff(Wire, frozen=True):
    """A topic or family of risk that the person switched off."""

    name: str
    off_until: str
    reduced_until: str


class LoopReport(Wire, frozen=True):
    """The loop level, why it rose, and when it loosens."""

    level: int
    reasons: tuple[RaiseReason, ...]
    expires_at: str | None
    topics_off: tuple[TopicOff, ...]


class UserExposure(Answer, frozen=True):
    """What was delivered to a user, beside each limit."""

    user_id: str
    at: str
    age_band: str
    is_night: bool
    counters: Annotated[dict[str, CounterUse], Meta(description="R1, R2, R1+R2, S4, and each family of R2.")]
    deliveries: int
    minutes_24h: float
    daily_minutes: int | None
    loop: LoopReport


class ItemCounts(Wire, frozen=True):
    """How many items a creator has, and how many of them are not hidden."""

    all: int
    shown: int


class Impressions(Wire, frozen=True):
    """Deliveries, by where the viewers live. Places with fewer than five are `few`, unknown ones `unknown`."""

    all: int
    last_7_days: int
    by_market: dict[str, int]
    by_region: dict[str, int]
    as_local: int


class SlotsWon(Wire, frozen=True):
    """Deliveries by how the slot was won."""

    floor: int
    exploration: int
    merit: int


class LabelReport(Wire, frozen=True):
    """The label of an item: where it comes from, its reason, how long it holds, and the latest review."""

    item_id: str
    tier: str
    family: str | None
    source: str | None
    evidence: str
    reason: str
    is_reviewed: bool
    is_hidden: bool
    expires_at: str | None
    until: str
    review: LatestReview | None


class CreatorExposureReport(Answer, frozen=True):
    """What was delivered of a creator. It names no viewer."""

    creator_id: str
    until: str
    items: ItemCounts
    impressions: Impressions
    slots: SlotsWon
    is_new: bool
    new_until_impressions: int
    days_to_new_until: int | None
    labels: tuple[LabelReport, ...]


# ---- explanations ----


class CandidateReport(Wire, frozen=True):
    """A candidate of a page."""

    item_id: str
    rank: int
    score: float | None
    tier: str
    family: str | None
    is_supportive: bool
    locality: str
    sources: tuple[str, ...]
    shown: bool
    position: int | None


class CatalogueSupply(Wire, frozen=True):
    """How many of any 20 places the catalogue could fill for the viewer, and the share of what is local."""

    supportive: int
    local: int
    local_share: float


class DecisionReport(Answer, frozen=True):
    """The decision record of a page: what it was chosen from, and under which rules. The best 100 candidates."""

    user_id: str
    at: str
    request: Annotated[dict[str, Any], Meta(description="The request, without the words of a search.")]
    model_version: str
    policy_version: str
    catalogue_revision: int
    experiments: dict[str, str]
    age_band: str
    loop_level: int
    is_night: bool
    degraded: tuple[str, ...]
    seed: Annotated[int, Meta(description="Of 64 bits.")]
    weights: dict[str, float]
    limits: LimitsByPath
    supply: CatalogueSupply
    removed: Annotated[dict[str, int], Meta(description="Candidates by the filter that removed them.")]
    floor_missed: tuple[str, ...]
    n_candidates: int
    candidates: tuple[CandidateReport, ...]
    answer: FeedResponse


class ReplayDifference(Wire, frozen=True):
    """Items, positions, propensities and reasons as they were sent, and as the record gives them."""

    kind: str
    sent: tuple[tuple[str, int, float, tuple[Reason, ...]], ...]
    replayed: tuple[tuple[str, int, float, tuple[Reason, ...]], ...]


class RetrievalChange(Wire, frozen=True):
    """What the same request would give now: versions of then and now, items that came and went."""

    model_version: tuple[str, ...]
    policy_version: tuple[str, ...]
    added: tuple[str, ...]
    gone: tuple[str, ...]


class Replay(Answer, frozen=True):
    """The page selected again from its record. `retrieval` is null for a search, whose words are not kept."""

    identical: bool
    differences: tuple[ReplayDifference, ...]
    retrieval: RetrievalChange | None


class ScorePart(Wire, frozen=True):
    """A part of a score, its weight, and how exactly the record holds it."""

    name: str
    value: float | None
    weight: float
    precision: str | msgspec.UnsetType = msgspec.UNSET


class AppliedRule(Wire, frozen=True):
    """A rule that touched an item; `slots`: how often it kept the item out; `judged`: now, not then."""

    rule: str
    slots: int | msgspec.UnsetType = msgspec.UNSET
    judged: Literal["now"] | msgspec.UnsetType = msgspec.UNSET


class CopyOf(Wire, frozen=True):
    """An item that binds this one as a copy, by which evidence, and the tier to which it raises it."""

    item_id: str
    evidence: str
    tier: str | None


class Why(Answer, frozen=True):
    """Why an item is on a page, or is not."""

    item_id: str
    shown: bool
    position: int | None
    score_parts: tuple[ScorePart, ...]
    rules: tuple[AppliedRule, ...]
    removed_by: str | None
    counterfactual: str | None
    language: str
    sentences: tuple[str, ...]
    copy_of: tuple[CopyOf, ...]


# ---- policies and families ----


class LimitsOfBand(Wire, frozen=True):
    """The limits of an age band at a loop level, by day or night."""

    age_band: str
    loop_level: int
    is_night: bool
    limits: LimitsByPath


class PolicyInForce(Answer, frozen=True):
    """The policy in force; `signed_off` names who signed it, null = nobody."""

    market: str
    version: str
    signed_off: str | None
    limits: tuple[LimitsOfBand, ...]


class ChangedPage(Wire, frozen=True):
    """A page that would differ, by its items."""

    request_id: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class PolicyPreview(Answer, frozen=True):
    """What another policy would have changed of the newest pages."""

    n_requests: int
    changed: tuple[ChangedPage, ...]
    tiers_before: dict[str, int]
    tiers_after: dict[str, int]
    missing_before: int
    missing_after: int


class SharedItem(Wire, frozen=True):
    """An item of a family page."""

    item_id: str
    creator_id: str
    position: int
    tier: str
    topics: tuple[str, ...]
    language: str | None


class SharedPause(Wire, frozen=True):
    """Why a family page ends."""

    kind: PauseKind
    text: dict[str, str]


class FamilyPage(Answer, frozen=True):
    """One page for a child and a guardian. `because`: why places are empty."""

    guardian_id: str
    child_id: str
    together_id: str
    served_at: str
    items: tuple[SharedItem, ...]
    missing: int
    because: dict[str, int]
    pause: SharedPause | None
    degraded: tuple[str, ...]


class KilledBy(Wire, frozen=True):
    """When an experiment was killed, and who did it: the name of a service key, or `local`."""

    at: str
    who: str


class ExperimentInForce(Wire, frozen=True):
    """
    An experiment as this service has it. `is_live`: somebody may be in it. `coverage` is the share of its slice that
    takes part now. `killed` is null for one that nobody killed over HTTP or with `sanad experiment kill`.
    """

    key: str
    status: str
    layer: str
    is_live: bool
    coverage: float
    killed: KilledBy | None


class ExperimentList(Wire, frozen=True):
    """The experiments in force, and the version of them all that decision records name."""

    request_id: str
    version: str
    experiments: tuple[ExperimentInForce, ...]


class ExperimentAssignment(Wire, frozen=True):
    """The variant of one person in one experiment; null = none."""

    request_id: str
    key: str
    user_id: str
    variant: str | None
